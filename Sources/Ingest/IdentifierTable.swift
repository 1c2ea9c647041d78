// The identifiers that a transaction's contacts mention, each once, and who has them.
//
// In: identifiers as places in the work memory. Out: an entry each, and the order of their keys. An
// open-addressing table over the hash. One lane's thread; kept from transaction to transaction.

internal import Contacts
internal import Glibc

/// What finds a contact.
enum Identifier: Int, CaseIterable, Sendable {
    case email = 0
    case phone
    case externalID
    case id

    /// The column, which is also the name on the wire.
    var name: String {
        switch self {
        case .email: "email"
        case .phone: "phone"
        case .externalID: "external_id"
        case .id: "id"
        }
    }

    /// PostgreSQL's type of the column.
    var type: String { self == .id ? "uuid" : "text" }

    /// All but the id, which is always unique and never changes.
    static let settable: [Identifier] = [.email, .phone, .externalID]
}

struct IdentifierTable {
    struct Entry {
        let hash: UInt64
        /// The identifier's bytes in the work memory.
        let offset: Int
        let count: Int
        let workspaceID: Int32
        let field: Identifier
        /// The slot of the contact that has the identifier; negative: nobody.
        var owner: Int32 = -1
        /// A contact has it in the database.
        var wasFound = false
        /// Nobody had it there, and a contact of the transaction took it.
        var isTaken = false
    }

    private(set) var entries: [Entry] = []
    private var buckets: [Int32]

    init() {
        buckets = Array(repeating: -1, count: 1024)
    }

    mutating func reset(expecting count: Int) {
        entries.removeAll(keepingCapacity: true)
        var size = 1024
        while size < 2 * count { size *= 2 }
        if size == buckets.count {
            for index in buckets.indices { buckets[index] = -1 }
        } else {
            buckets = Array(repeating: -1, count: size)
        }
    }

    /// The owner of an entry.
    subscript(owner entry: Int32) -> Int32 {
        get { entries[Int(entry)].owner }
        set { entries[Int(entry)].owner = newValue }
    }

    /// Whether nobody has one of the identifiers.
    var hasUnowned: Bool { entries.contains { $0.owner < 0 } }

    /// Gives an identifier that is free to a contact of the transaction.
    mutating func take(_ entry: Int32, for slot: Int32) {
        entries[Int(entry)].owner = slot
        entries[Int(entry)].isTaken = !entries[Int(entry)].wasFound
    }

    /// Gives an identifier to the contact that has it in the database.
    mutating func find(_ entry: Int32, owner slot: Int32) {
        entries[Int(entry)].owner = slot
        entries[Int(entry)].wasFound = true
    }

    /// Whether a contact of the transaction took an identifier that nobody had, and none has it in
    /// the end: the only use of an identifier that no index of the table has seen.
    func wasTakenForATime(_ entry: Int32) -> Bool {
        entries[Int(entry)].isTaken && entries[Int(entry)].owner < 0
    }

    /// The entry of an identifier, made if there is none.
    mutating func intern(
        _ key: ColumnBytes, hash: UInt64, workspaceID: Int32, field: Identifier,
        in memory: WorkMemory
    ) -> Int32 {
        let (bucket, found) = locate(
            key, hash: hash, workspaceID: workspaceID, field: field, in: memory)
        if let found { return found }
        guard let start = key.start else { return -1 }
        if 2 * (entries.count + 1) > buckets.count {
            grow()
            return intern(key, hash: hash, workspaceID: workspaceID, field: field, in: memory)
        }
        let entry = Int32(entries.count)
        entries.append(
            Entry(
                hash: hash, offset: start - UnsafeRawPointer(memory.base), count: key.count,
                workspaceID: workspaceID, field: field))
        buckets[bucket] = entry
        return entry
    }

    /// The entry of an identifier, if the transaction mentions it.
    func find(
        _ key: ColumnBytes, workspaceID: Int32, field: Identifier, in memory: WorkMemory
    ) -> Int32? {
        locate(
            key, hash: KeyHash.of(key.buffer), workspaceID: workspaceID, field: field, in: memory
        ).found
    }

    private func locate(
        _ key: ColumnBytes, hash: UInt64, workspaceID: Int32, field: Identifier,
        in memory: WorkMemory
    ) -> (bucket: Int, found: Int32?) {
        let mask = buckets.count - 1
        var bucket = self.bucket(hash, field)
        while buckets[bucket] >= 0 {
            let index = buckets[bucket]
            let entry = entries[Int(index)]
            if entry.hash == hash && entry.field == field && entry.workspaceID == workspaceID
                && ColumnBytes(start: memory.base + entry.offset, count: entry.count) == key
            {
                return (bucket, index)
            }
            bucket = (bucket + 1) & mask
        }
        return (bucket, nil)
    }

    private func bucket(_ hash: UInt64, _ field: Identifier) -> Int {
        Int(truncatingIfNeeded: hash &+ UInt64(field.rawValue)) & (buckets.count - 1)
    }

    private mutating func grow() {
        buckets = Array(repeating: -1, count: buckets.count * 2)
        for (index, entry) in entries.enumerated() {
            var bucket = bucket(entry.hash, entry.field)
            while buckets[bucket] >= 0 { bucket = (bucket + 1) & (buckets.count - 1) }
            buckets[bucket] = Int32(index)
        }
    }

    /// The entries of some fields in the order of field, workspace and key bytes, as the indexes
    /// have them. Rows are looked up, locked and written in this order: two transactions that share keys queue
    /// instead of deadlocking, and neighbours in the index are touched together.
    func sorted(_ fields: Set<Identifier>, in memory: WorkMemory) -> [Int32] {
        var fieldBits: UInt8 = 0
        for field in fields { fieldBits |= 1 << UInt8(field.rawValue) }
        var keys: [SortKey] = []
        keys.reserveCapacity(entries.count)
        for (index, entry) in entries.enumerated() {
            guard fieldBits & 1 << UInt8(entry.field.rawValue) != 0 else { continue }
            let group =
                UInt64(entry.field.rawValue) << 32 | UInt64(UInt32(bitPattern: entry.workspaceID))
            keys.append(
                SortKey(group: group, prefix: prefix(entry, memory), entry: Int32(index)))
        }
        let base = UnsafeRawPointer(memory.base)
        entries.withUnsafeBufferPointer { entries in
            keys.sort { left, right in
                if left.group != right.group { return left.group < right.group }
                if left.prefix != right.prefix { return left.prefix < right.prefix }
                let leftEntry = entries[Int(left.entry)]
                let rightEntry = entries[Int(right.entry)]
                let count = min(leftEntry.count, rightEntry.count)
                let compared = memcmp(base + leftEntry.offset, base + rightEntry.offset, count)
                return compared != 0 ? compared < 0 : leftEntry.count < rightEntry.count
            }
        }
        return keys.map(\.entry)
    }

    /// Field and workspace, then the first eight bytes, which decide most comparisons.
    private struct SortKey {
        let group: UInt64
        let prefix: UInt64
        let entry: Int32
    }

    private func prefix(_ entry: Entry, _ memory: WorkMemory) -> UInt64 {
        if entry.count >= 8 {
            return RowLayout.load(memory.base, entry.offset, as: UInt64.self)
        }
        var prefix: UInt64 = 0
        for index in 0..<8 {
            let byte =
                index < entry.count
                ? memory.base.load(fromByteOffset: entry.offset + index, as: UInt8.self) : 0
            prefix = prefix << 8 | UInt64(byte)
        }
        return prefix
    }
}
