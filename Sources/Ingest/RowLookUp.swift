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
    private var texts = BinaryArray(of: .text)
    private var uuids = BinaryArray(of: .uuid)

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
        for row in 0..<found.rowCount {
            guard let ordinal = found.int32(row, 0), let uuid = found.uuid(row, 1) else { continue }
            let id = ContactID(uuid)
            let version = found.withBytes(row, 2) {
                RowLayout.load(
                    $0.baseAddress ?? UnsafeRawPointer(batch.memory.base), 0, as: UInt32.self)
            }
            try batch.addExisting(
                owning: batch.order[start + Int(ordinal) - 1], id: id, version: version
            ) {
                Self.slot(found, row, id, version, workspace, batch.memory)
            }
        }
    }

    private static func slot(
        _ found: QueryResult, _ row: Int, _ id: ContactID, _ version: UInt32,
        _ workspace: Workspace, _ memory: WorkMemory
    ) -> UpsertBatch.Slot {
        let place = writeRow(found, row, id, workspace, memory)
        var slot = UpsertBatch.Slot(
            row: place, firstRow: place, workspace: workspace, version: version, isNew: false)
        slot.place = found.withBytes(row, 3) { RowPlace(tid: $0) }
        slot.lacksFields = found.isNull(row, 10)
        if found.columnCount > 12 {
            slot.createdAt = found.int64(row, 12) ?? 0
        }
        return slot
    }

    /// Writes a row that was found in the layout of all rows.
    private static func writeRow(
        _ found: QueryResult, _ row: Int, _ id: ContactID, _ workspace: Workspace,
        _ memory: WorkMemory
    ) -> Int {
        let hasLists = found.columnCount > 12
        var byteCount = RowLayout.columnsOffset + 4 * RowLayout.variableColumnCount
        for column in 4..<12 { byteCount += found.byteCount(row, column) }
        if hasLists { byteCount += found.byteCount(row, 13) }
        let offset = memory.append(byteCount: byteCount)
        RowLayout.writePrefix(memory.base + offset, workspace: workspace, id: id)
        var writer = ColumnWriter(row: memory.base + offset)
        for column in 4..<12 { copy(found, row, column, &writer) }
        if hasLists { copy(found, row, 13, &writer) } else { writer.null() }
        return offset
    }

    private static func copy(
        _ found: QueryResult, _ row: Int, _ column: Int, _ writer: inout ColumnWriter
    ) {
        guard !found.isNull(row, column) else { return writer.null() }
        found.withBytes(row, column) {
            writer.column(ColumnBytes(start: $0.baseAddress, count: $0.count))
        }
    }
}
