// In: what kind of contacts a run sends and how many. Out: which contact of which version stands at
// each place, what must become of it, and the table that must result. All of it follows from the
// kind, the count and the seed. Pure; any thread.

import Contacts

/// The contact at one place of a run.
struct Item: Sendable {
    var number: Int
    var version: Int
    var isBad = false
}

struct Workload: Sendable {
    enum Kind: String, Sendable {
        /// Contacts that are not there.
        case new
        /// Contacts that are there, as they stand.
        case unchanged
        /// Contacts that are there, with another first name and score.
        case changed
        /// Half new, a quarter changed, a quarter unchanged; of these 2 % repeat a key, 1 % are bad.
        case mixed
    }

    let kind: Kind
    let count: Int
    /// The number of the first new contact.
    let firstNumber: Int
    private let seed: UInt64
    /// Of a mixed workload.
    private let statuses: [UpsertStatus]

    /// Repeats take the key of one of so many contacts before them, so that both copies are often
    /// in one transaction.
    private static let repeatDistance = 5000

    init(_ kind: Kind, count: Int, firstNumber: Int = 0, seed: UInt64 = 1) {
        self.kind = kind
        self.count = count
        self.firstNumber = firstNumber
        self.seed = RandomKeys.mixed(seed &+ 0x5EED)
        statuses = []
    }

    private init(_ workload: Workload, statuses: [UpsertStatus]) {
        kind = workload.kind
        count = workload.count
        firstNumber = workload.firstNumber
        seed = workload.seed
        self.statuses = statuses
    }

    /// Half of it is new, a quarter each changed and unchanged of a base of `count` contacts.
    static func mixed(count: Int, seed: UInt64) -> Workload {
        let workload = Workload(.mixed, count: count, seed: seed)
        var versions = workload.versionsBefore
        var statuses: [UpsertStatus] = []
        statuses.reserveCapacity(count)
        for index in 0..<count {
            let item = workload.item(index)
            statuses.append(workload.apply(item, to: &versions))
        }
        return Workload(workload, statuses: statuses)
    }

    /// Whether the run starts from the base: `count` contacts of version 0.
    var needsBase: Bool { kind != .new }

    /// Whether two places may have one key.
    var repeatsKeys: Bool { kind == .mixed }

    /// The end of the first of the two halves that psql's connections take. No key is in both.
    var middle: Int { (count + 1) / 2 }

    /// The contact at a place.
    func item(_ index: Int) -> Item {
        switch kind {
        case .new: return Item(number: firstNumber + index, version: 0)
        case .unchanged: return Item(number: index, version: 0)
        case .changed: return Item(number: index, version: 1)
        case .mixed: break
        }
        let random = random(index)
        if isBad(random) { return Item(number: index, version: 0, isBad: true) }
        if isRepeat(random), let earlier = repeated(index, random) {
            return Item(number: plain(earlier).number, version: 2 + index)
        }
        return plain(index)
    }

    /// What the service must answer.
    func status(_ index: Int) -> UpsertStatus {
        switch kind {
        case .new: .created
        case .unchanged: .unchanged
        case .changed: .updated
        case .mixed: statuses[index]
        }
    }

    // MARK: The table

    /// One more than the largest number.
    var numberLimit: Int {
        switch kind {
        case .new: firstNumber + count
        case .unchanged, .changed: count
        case .mixed: 2 * count
        }
    }

    /// By number, the version that must stand in the table in the end; -1: no such contact. All
    /// below the first number count as there.
    var versionsAfter: [Int32] {
        switch kind {
        case .new, .unchanged: return Array(repeating: 0, count: numberLimit)
        case .changed: return Array(repeating: 1, count: numberLimit)
        case .mixed:
            var versions = versionsBefore
            for index in 0..<count { _ = apply(item(index), to: &versions) }
            return versions
        }
    }

    private var versionsBefore: [Int32] {
        Array(repeating: 0, count: count) + Array(repeating: -1, count: count)
    }

    private func apply(_ item: Item, to versions: inout [Int32]) -> UpsertStatus {
        if item.isBad { return .failed }
        let before = versions[item.number]
        versions[item.number] = Int32(item.version)
        return before < 0 ? .created : before == item.version ? .unchanged : .updated
    }

    // MARK: Mixed

    private func random(_ index: Int) -> UInt64 { RandomKeys.mixed(UInt64(index) ^ seed) }

    private func isBad(_ random: UInt64) -> Bool { random % 100 == 0 }

    private func isRepeat(_ random: UInt64) -> Bool { random / 100 % 100 < 2 }

    private func plain(_ index: Int) -> Item {
        switch index & 3 {
        case 0, 1: Item(number: count + index, version: 0)
        case 2: Item(number: index, version: 1)
        default: Item(number: index, version: 0)
        }
    }

    /// The place of an earlier contact of the same half, neither bad nor a repeat itself.
    private func repeated(_ index: Int, _ random: UInt64) -> Int? {
        let distance = min(Self.repeatDistance, index < middle ? index : index - middle)
        guard distance > 0 else { return nil }
        for attempt in 1...8 {
            let step = RandomKeys.mixed(random &+ UInt64(attempt)) % UInt64(distance)
            let earlier = index - 1 - Int(step)
            let its = self.random(earlier)
            if !isBad(its), !isRepeat(its) { return earlier }
        }
        return nil
    }
}
