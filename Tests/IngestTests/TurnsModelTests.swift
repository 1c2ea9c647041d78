// Lanes that take turns over a table in memory, one step of one lane at a time, in random order:
// the answers and the table must be those of one batch after another.

import Testing
import TestSupport

@testable import Ingest

@Suite struct TurnsModelTests {
    @Test(arguments: UInt64(0)..<20)
    func anyOrderOfStepsGivesTheSame(group: UInt64) {
        for seed in group * 50..<(group + 1) * 50 { compare(seed) }
    }

    private func compare(_ seed: UInt64) {
        var world = World(seed: seed)
        world.run()
        var table = Table()
        for (number, batch) in world.batches.enumerated() {
            // What is given up in the middle has not happened from there on.
            let answers = batch.prefix(world.writtenCounts[number]).enumerated().map {
                table.apply($0.element, refused: world.refused.contains([number, $0.offset]))
            }
            #expect(world.answers[number] == answers, "seed \(seed), batch \(number)")
        }
        #expect(world.table == table, "seed \(seed)")
        #expect(world.lostRaces == 0, "seed \(seed)")
    }
}

/// A contact as it is sent: matched by one of two identifiers, of which the other one is set,
/// cleared (0) or left.
private struct Change {
    /// Of the contact, if it is new.
    let id: Int
    let matched: Int
    let key: Int
    let other: Int?
    let name: Int
}

private struct Row: Equatable {
    var values: [Int?] = [nil, nil]
    var name = 0
    var version = 0
}

private struct Table: Equatable {
    /// By id.
    var rows: [Int: Row] = [:]

    static func == (left: Table, right: Table) -> Bool {
        left.rows.mapValues { $0.values + [$0.name] }
            == right.rows.mapValues { $0.values + [$0.name] }
    }

    func owner(_ field: Int, _ value: Int?) -> Int? {
        guard let value else { return nil }
        return rows.first { $0.value.values[field] == value }?.key
    }

    mutating func apply(_ change: Change, refused: Bool = false) -> String {
        let owner = owner(change.matched, change.key)
        let old = owner.flatMap { rows[$0] }
        var new = old ?? Row()
        new.values[change.matched] = change.key
        let field = 1 - change.matched
        if let other = change.other { new.values[field] = other == 0 ? nil : other }
        new.name = change.name
        if let owner, old == new { return "unchanged \(owner)" }
        if let holder = self.owner(field, new.values[field]), holder != owner {
            return "taken by \(holder)"
        }
        if refused { return "refused" }
        rows[owner ?? change.id] = new
        return owner.map { "updated \($0)" } ?? "created \(change.id)"
    }
}

/// Where a lane stands with its batch.
private enum Step {
    case free
    case taken
    case mayLookUp
    case lookedUp(Table)
    case mayWrite(Table)
}

private struct World {
    var random: SeededRandom
    var turns: Turns
    var table = Table()
    var batches: [[Change]] = []
    var answers: [[String]] = []
    /// Contacts of each batch that are decided.
    var writtenCounts: [Int] = []
    var refused: Set<[Int]> = []
    var known: Set<[Int]> = []
    var lostRaces = 0
    private var steps: [Step]
    private var numbers: [UInt64]
    private var next = 0
    /// Contacts of each lane's transaction: fewer than the batch once it was cut.
    private var sizes: [Int]

    init(seed: UInt64) {
        random = SeededRandom(seed: seed)
        let laneCount = Int.random(in: 2...4, using: &random)
        turns = Turns(limit: laneCount)
        steps = Array(repeating: .free, count: laneCount)
        numbers = Array(repeating: 0, count: laneCount)
        sizes = Array(repeating: .max, count: laneCount)
        let keyCount = Int.random(in: 4...20, using: &random)
        for number in 0..<30 {
            let matched = Int.random(in: 0...1, using: &random)
            batches.append(
                (0..<Int.random(in: 1...3, using: &random)).map { place in
                    let other = [nil, 0, Int.random(in: 1...keyCount, using: &random)]
                        .randomElement(using: &random)
                    return Change(
                        id: number * 10 + place, matched: matched,
                        key: Int.random(in: 1...keyCount, using: &random), other: other ?? nil,
                        name: Int.random(in: 0...1, using: &random))
                })
            if Int.random(in: 0..<10, using: &random) == 0 { refused.insert([number, 0]) }
        }
        answers = batches.map { _ in [] }
        writtenCounts = batches.map { _ in 0 }
    }

    mutating func run() {
        while next < batches.count || !turns.isEmpty {
            step(Int.random(in: 0..<steps.count, using: &random))
        }
    }

    private mutating func step(_ lane: Int) {
        // Batches are counted from 0, turns from 1.
        let number = numbers[lane]
        let batch = Int(number) - 1
        switch steps[lane] {
        case .free:
            guard next < batches.count, turns.canBegin else { return }
            next += 1
            numbers[lane] = turns.begin()
            sizes[lane] = .max
            steps[lane] = .taken
        case .taken:
            turns.load(number, mentions(batches[batch]), workspaces: [1])
            steps[lane] = .mayLookUp
        case .mayLookUp:
            guard turns.mayLookUp(number) else { return }
            steps[lane] = .lookedUp(table)
        case .lookedUp(let seen):
            let part = part(lane, batch)
            turns.lookedUp(
                number, standing(part, seen), isWhole: part.endIndex == batches[batch].count)
            steps[lane] = .mayWrite(seen)
        case .mayWrite(let seen):
            switch turns.mayWrite(number) {
            case .free: write(lane, batch, seen)
            case .again: steps[lane] = .mayLookUp
            case .wait:
                guard Int.random(in: 0..<10, using: &random) == 0 else { return }
                turns.giveWay(number)
                steps[lane] = .mayLookUp
            }
        }
    }

    private func part(_ lane: Int, _ batch: Int) -> ArraySlice<Change> {
        batches[batch][writtenCounts[batch]...].prefix(sizes[lane])
    }

    private mutating func write(_ lane: Int, _ batch: Int, _ seen: Table) {
        steps[lane] = .mayLookUp
        let part = part(lane, batch)
        if let index = part.indices.first(where: { isRefused(batch, $0, part, seen) }) {
            // Cut down until it stands alone, then it is known.
            if part.count > 1 {
                sizes[lane] = max(1, part.count / 2)
            } else {
                known.insert([batch, index])
            }
            return
        }
        switch Int.random(in: 0..<12, using: &random) {
        case 0: return
        case 1: return end(lane)
        case 2: sizes[lane] = max(1, part.count / 2)
        default: commit(lane, batch, part, seen)
        }
    }

    /// Whether the table refuses a contact that the batch takes for good.
    private func isRefused(_ batch: Int, _ index: Int, _ part: ArraySlice<Change>, _ seen: Table)
        -> Bool
    {
        guard refused.contains([batch, index]), !known.contains([batch, index]) else {
            return false
        }
        var table = seen
        for other in part.indices where other < index { _ = table.apply(part[other]) }
        return table.apply(part[index], refused: true) == "refused"
    }

    private mutating func commit(
        _ lane: Int, _ batch: Int, _ part: ArraySlice<Change>, _ seen: Table
    ) {
        var new = seen
        for index in part.indices {
            answers[batch].append(new.apply(part[index], refused: known.contains([batch, index])))
        }
        // Only what differs is written, and the proof is asked for as the indexes ask it.
        for (id, row) in new.rows where seen.rows[id] != row {
            if table.rows[id]?.version != seen.rows[id]?.version { lostRaces += 1 }
            table.rows[id] = Row(values: row.values, name: row.name, version: row.version + 1)
        }
        for field in 0...1 {
            let values = table.rows.values.compactMap { $0.values[field] }
            if Set(values).count < values.count { lostRaces += 1 }
        }
        writtenCounts[batch] += part.count
        if writtenCounts[batch] == batches[batch].count { end(lane) }
    }

    private mutating func end(_ lane: Int) {
        turns.end(numbers[lane])
        steps[lane] = .free
    }

    private func mentions(_ batch: [Change]) -> Footprint {
        var footprint = Footprint()
        for change in batch {
            footprint.insert(Self.hash(change.matched, change.key))
            if let other = change.other, other != 0 {
                footprint.insert(Self.hash(1 - change.matched, other))
            }
        }
        return footprint
    }

    private func standing(_ batch: ArraySlice<Change>, _ seen: Table) -> Footprint {
        var footprint = Footprint()
        for change in batch {
            guard let owner = seen.owner(change.matched, change.key) else { continue }
            for (field, value) in (seen.rows[owner]?.values ?? []).enumerated() {
                if let value { footprint.insert(Self.hash(field, value)) }
            }
        }
        return footprint
    }

    private static func hash(_ field: Int, _ value: Int) -> UInt64 {
        KeyHash.mix(UInt64(value << 1 | field), 0x9E37_79B9_7F4A_7C15)
    }
}
