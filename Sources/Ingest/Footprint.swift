// What a batch of contending contacts has to do with, as hashes.
//
// In: a batch. Out: the identifiers that its contacts mention, and those that stand in the contacts
// it may change. One lane's thread makes them; then they are values.

internal import Contacts

/// A set of hashes that are spread well already. Two identifiers of one hash count as the same,
/// which makes a batch wait in vain and does no harm.
struct Footprint {
    /// A power of two of places; 0 is an empty one.
    private var places: [UInt64]
    private(set) var count = 0

    init(expecting count: Int = 0) {
        places = []
        if count > 0 { places = Self.empty(Self.size(for: count)) }
    }

    private static func size(for count: Int) -> Int {
        var size = 16
        while size < 2 * count { size *= 2 }
        return size
    }

    private static func empty(_ size: Int) -> [UInt64] { Array(repeating: 0, count: size) }

    var isEmpty: Bool { count == 0 }

    mutating func insert(_ hash: UInt64) {
        if 2 * (count + 1) > places.count { grow() }
        let hash = hash == 0 ? 1 : hash
        let place = place(of: hash)
        guard places[place] == 0 else { return }
        places[place] = hash
        count += 1
    }

    func contains(_ hash: UInt64) -> Bool {
        guard count > 0 else { return false }
        return places[place(of: hash == 0 ? 1 : hash)] != 0
    }

    mutating func formUnion(_ other: Footprint) {
        for hash in other.places where hash != 0 { insert(hash) }
    }

    func intersects(_ other: Footprint) -> Bool {
        let (few, many) = places.count < other.places.count ? (self, other) : (other, self)
        guard few.count > 0, many.count > 0 else { return false }
        for hash in few.places where hash != 0 && many.contains(hash) { return true }
        return false
    }

    /// Where a hash is, or would be.
    private func place(of hash: UInt64) -> Int {
        let mask = places.count - 1
        var place = Int(truncatingIfNeeded: hash) & mask
        while places[place] != 0 && places[place] != hash { place = (place + 1) & mask }
        return place
    }

    private mutating func grow() {
        let old = places
        places = Self.empty(Self.size(for: 2 * (count + 1)))
        for hash in old where hash != 0 { places[place(of: hash)] = hash }
    }

    /// The hash of an identifier.
    static func hash(_ workspaceID: Int32, _ identifier: Identifier, _ keyHash: UInt64) -> UInt64 {
        KeyHash.mix(
            keyHash ^ UInt64(identifier.rawValue) << 32 ^ UInt64(UInt32(bitPattern: workspaceID)),
            0x9E37_79B9_7F4A_7C15)
    }
}

extension UpsertBatch {
    /// The unique identifiers that any contact of the batch mentions, and what they are matched by.
    func mentions() -> Footprint {
        var footprint = Footprint(expecting: items.count * identifiersPerItem)
        for item in items {
            let plan = plans[item.plan]
            let workspaceID = plan.workspace.id
            footprint.insert(Footprint.hash(workspaceID, plan.key, item.keyHash))
            guard !item.isReplay else { continue }
            let row = UnsafeRawPointer(memory.base + item.row)
            for identifier in Identifier.settable where plan.workspace.uniqueBy.contains(identifier)
            {
                let key = RowLayout.column(identifier.rawValue, of: row)
                guard identifier != plan.key, key.start != nil else { continue }
                footprint.insert(Footprint.hash(workspaceID, identifier, KeyHash.of(key.buffer)))
            }
        }
        return footprint
    }

    /// The unique identifiers, as they were looked up, of the contacts that items of a range match.
    ///
    /// That is all that the items can take from anybody, whichever of them fail in the end: what a
    /// contact is matched by does not change hands within a transaction.
    ///
    /// - Parameter mentions: Left out.
    func standing(_ range: Range<Int>, besides mentions: Footprint) -> Footprint {
        var footprint = Footprint()
        for index in range {
            let item = items[index]
            guard !item.isReplay, !isDropped(item.work), !isRejected(index) else { continue }
            let plan = plans[item.plan]
            let owner = identifiers[owner: item.entries[plan.key.rawValue]]
            // A contact that is new has nothing but what is mentioned.
            guard owner >= 0, !slots[Int(owner)].isNew else { continue }
            let stands = UnsafeRawPointer(memory.base + slots[Int(owner)].firstRow)
            let row = UnsafeRawPointer(memory.base + item.row)
            for identifier in Identifier.settable where plan.workspace.uniqueBy.contains(identifier)
            {
                let key = RowLayout.column(identifier.rawValue, of: stands)
                guard key.start != nil, !(key == RowLayout.column(identifier.rawValue, of: row))
                else { continue }
                let hash = Footprint.hash(plan.workspace.id, identifier, KeyHash.of(key.buffer))
                if !mentions.contains(hash) { footprint.insert(hash) }
            }
        }
        return footprint
    }

    /// The numbers of the workspaces whose contacts it has.
    var workspaceIDs: Set<Int32> { Set(plans.map(\.workspace.id)) }
}
