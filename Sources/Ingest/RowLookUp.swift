// The contacts that stand in the database, found by the identifiers of a transaction.
//
// In: a batch that has begun. Out: a slot of it for each contact found. One lane's thread.

internal import Contacts
internal import Postgres

final class RowLookUp {
    /// Custom fields larger than this are looked up one by one when they are needed, so that a
    /// transaction over ten thousand large contacts does not hold them all.
    static let fieldsByteLimit = 1000
    /// Identifiers looked up by one query: its result stays small, and the next one may not be
    /// needed when the contacts found are large.
    private static let keysPerLookUp = 1000
    /// A transaction that looks up more than this is cut before it begins.
    private static let byteLimit = 32 * 1024 * 1024

    private let connection: Connection
    private var prepared: Set<String> = []
    private var parameters = Parameters()
    // Touched for each key; see UpsertBatch.
    @exclusivity(unchecked) private var texts = BinaryArray(of: .text)
    @exclusivity(unchecked) private var uuids = BinaryArray(of: .uuid)

    init(_ connection: Connection) {
        self.connection = connection
    }

    /// Looks the identifiers up, one query for each workspace and identifier.
    ///
    /// - Parameter statement: The name and the text of the query for an identifier: $1 the
    ///   workspace, $2 the keys. Its columns: the key's place from 1, id, xmin, ctid, the six texts,
    ///   fields, field_kinds; of whole contacts also created_at and the lists as a row has them.
    func run(
        _ batch: UpsertBatch, statement: (Identifier) -> (name: String, sql: String)
    ) throws {
        try each(batch, batch.order, statement) { found, start, workspaceID in
            try add(found, to: batch, from: start, workspaceID: workspaceID)
            guard batch.memory.count <= Self.byteLimit || batch.isSingle else { throw TooLarge() }
        }
    }

    /// Runs a query with the same parameters as a look-up, for what it does.
    func lock(
        _ batch: UpsertBatch, statement: (Identifier) -> (name: String, sql: String)
    ) throws {
        try each(batch, batch.order, statement) { _, _, _ in }
    }

    /// Whether a contact has one of some identifiers, which are in order.
    func finds(
        _ identifiers: [Int32], of batch: UpsertBatch,
        statement: (Identifier) -> (name: String, sql: String)
    ) throws -> Bool {
        var isFound = false
        try each(batch, identifiers, statement) { found, _, _ in
            if found.int64(0, 0) != 0 { isFound = true }
        }
        return isFound
    }

    private func each(
        _ batch: UpsertBatch, _ order: [Int32],
        _ statement: (Identifier) -> (name: String, sql: String),
        _ body: (QueryResult, _ start: Int, _ workspaceID: Int32) throws -> Void
    ) throws {
        var start = 0
        while start < order.count {
            let first = batch.identifiers.entries[Int(order[start])]
            let end = takeKeys(batch, order, from: start)
            let (name, sql) = statement(first.field)
            if prepared.insert(name).inserted {
                try connection.settle()
                try connection.prepare(name, sql)
            }
            try connection.enqueue(prepared: name, parameters)
            if let found = try connection.settle().last {
                try body(found, start, first.workspaceID)
            }
            start = end
        }
    }

    /// Makes the parameters of as many keys as one query takes.
    private func takeKeys(_ batch: UpsertBatch, _ order: [Int32], from start: Int) -> Int {
        let first = batch.identifiers.entries[Int(order[start])]
        var end = start
        texts.removeAll()
        uuids.removeAll()
        while end < order.count, end - start < Self.keysPerLookUp {
            let entry = batch.identifiers.entries[Int(order[end])]
            guard entry.field == first.field, entry.workspaceID == first.workspaceID else { break }
            let key = UnsafeRawBufferPointer(
                start: batch.memory.base + entry.offset, count: entry.count
            ).bytes
            if first.field == .id { uuids.append(key) } else { texts.append(key) }
            end += 1
        }
        parameters.removeAll()
        parameters.append(int32: first.workspaceID)
        parameters.append(first.field == .id ? uuids : texts)
        return end
    }

    private func add(
        _ found: QueryResult, to batch: UpsertBatch, from start: Int, workspaceID: Int32
    ) throws(LostRace) {
        guard found.rowCount > 0,
            let workspace = batch.plans.first(where: { $0.workspace.id == workspaceID })?.workspace
        else { return }
        // The fields lie in the result.
        defer { withExtendedLifetime(found) {} }
        var fields = FoundFields(repeating: .null)
        for row in 0..<found.rowCount {
            var span = fields.mutableSpan
            found.locate(row, &span)
            guard let ordinalStart = fields[0].start, let idStart = fields[1].start,
                let versionStart = fields[2].start
            else { continue }
            let ordinal = RowLayout.load(ordinalStart, 0, as: Int32.self)
            let entry = batch.order[start + Int(ordinal) - 1]
            let version = RowLayout.load(versionStart, 0, as: UInt32.self)
            let id = ContactID(
                high: RowLayout.load(idStart, 0, as: UInt64.self),
                low: RowLayout.load(idStart, 8, as: UInt64.self))
            if try batch.finds(id, version: version, owning: entry) { continue }
            let place = FoundRow.write(
                fields.span, hasLists: found.columnCount > 12, id: id, workspace, batch.memory)
            var slot = UpsertBatch.Slot(
                row: place, byteCount: batch.memory.count - place, workspace: workspace,
                version: version, isNew: false)
            slot.place = RowPlace(tid: ColumnBytes(fields[3]))
            slot.lacksFields = fields[10].start == nil
            if found.columnCount > 12, let createdAt = fields[12].start {
                slot.createdAt = RowLayout.load(createdAt, 0, as: Int64.self)
            }
            batch.addExisting(slot, id: id, owning: entry)
        }
    }
}

/// The columns of a contact that was found, with room for those of a whole one.
typealias FoundFields = InlineArray<14, QueryResult.Field>

/// A row that was found, in the layout of all rows.
enum FoundRow {
    /// The six texts, fields and field_kinds.
    private static let columns = 4..<12
    private static let lists = 13

    /// - Returns: Where the row is in the work memory.
    static func write(
        _ fields: Span<QueryResult.Field>, hasLists: Bool, id: ContactID, _ workspace: Workspace,
        _ memory: WorkMemory
    ) -> Int {
        var byteCount = RowLayout.columnsOffset + 4 * RowLayout.variableColumnCount
        for column in columns { byteCount += fields[column].count }
        if hasLists { byteCount += fields[lists].count }
        let offset = memory.append(byteCount: byteCount)
        RowLayout.writePrefix(memory.base + offset, workspace: workspace, id: id)
        var writer = ColumnWriter(row: memory.base + offset)
        for column in columns { writer.column(ColumnBytes(fields[column])) }
        writer.column(hasLists ? ColumnBytes(fields[lists]) : .null)
        return offset
    }
}

extension ColumnBytes {
    init(_ field: QueryResult.Field) {
        self.init(start: field.start, count: field.count)
    }
}
