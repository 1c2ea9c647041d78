// One transaction of a dry run: look up, apply, remember. COMMIT is the lane's.
//
// In: a loaded batch and a range of its items. Out: the outcomes that the real run would have. One
// dry run's thread.
//
// What the import would change is kept in a temporary table of its connection, and looked up there
// first. Every transaction is read-only to PostgreSQL, which lets it write temporary tables and
// nothing else (SET TRANSACTION); no row of another table is ever locked.

internal import Contacts
internal import Postgres

final class DryRunUpsert: BatchStore {
    private let connection: Connection
    private let lookUp: RowLookUp
    private let begin: TransactionBegin
    private var chunk: [UInt8] = []

    /// Prepares a connection that was just opened.
    init(_ connection: Connection, _ begin: TransactionBegin) throws(PostgresError) {
        self.connection = connection
        self.begin = begin
        lookUp = RowLookUp(connection)
        try connection.execute(Self.imagined)
        try connection.prepare("forget", "DELETE FROM imagined WHERE id = ANY ($1::uuid[])")
        try connection.prepare(
            "fields",
            """
            (SELECT fields, field_kinds FROM imagined WHERE id = $2)
            UNION ALL
            (SELECT fields, field_kinds FROM contacts WHERE workspace_id = $1 AND id = $2)
            LIMIT 1
            """)
    }

    static let imagined = """
        CREATE TEMPORARY TABLE imagined (LIKE contacts, lists bytea);
        ALTER TABLE imagined DROP COLUMN created_at, DROP COLUMN updated_at;
        CREATE INDEX ON imagined (id);
        CREATE INDEX ON imagined (email);
        CREATE INDEX ON imagined (phone);
        CREATE INDEX ON imagined (external_id)
        """

    /// As `ContactStatements.lookUp`, but a contact that the dry run has seen is found as it would
    /// stand, and only by the identifiers that it would have. OFFSET keeps the planner from making
    /// a join of the subquery.
    static func lookUp(_ identifier: Identifier) -> String {
        let column = identifier.name
        let limit = RowLookUp.fieldsByteLimit
        let columns = """
            id, '0'::xid, '(0,0)'::tid, email, phone, external_id, name, first_name, last_name,
            CASE WHEN pg_column_size(fields) <= \(limit) THEN fields END,
            CASE WHEN pg_column_size(fields) <= \(limit) THEN field_kinds END, now()
            """
        return """
            SELECT k.ord::int4, c.*
            FROM unnest($2::\(identifier.type)[]) WITH ORDINALITY AS k (key, ord)
            CROSS JOIN LATERAL (
                (SELECT \(columns), lists FROM imagined
                WHERE \(column) >= k.key AND \(column) <= k.key
                ORDER BY \(column) LIMIT 1)
                UNION ALL
                (SELECT \(columns), \(ContactStatements.lists(of: "c.id")) FROM contacts c
                WHERE \(ContactStatements.probe(identifier))
                    AND NOT EXISTS (SELECT FROM imagined i WHERE i.id = c.id OFFSET 0)
                ORDER BY \(column) LIMIT 1)
                LIMIT 1
            ) c
            """
    }

    func run(_ batch: UpsertBatch, _ range: Range<Int>, contended: Bool) throws -> Int {
        batch.begin(range)
        batch.arrange(range, keysOnly: false)
        try begin.run(batch, readOnly: true)
        try lookUp.run(batch) { ("look_up_\($0.name)", Self.lookUp($0)) }
        let end = try apply(batch, range) { try fetchFields(batch, $0) }
        try remember(batch)
        return end
    }

    func takeGuessBack(_ batch: UpsertBatch) -> Bool { false }

    func committed(_ batch: UpsertBatch) {}

    private func fetchFields(_ batch: UpsertBatch, _ slot: Int32) throws {
        let slotValue = batch.slots[Int(slot)]
        var parameters = Parameters()
        parameters.append(int32: slotValue.workspace.id)
        parameters.append(uuid: RowLayout.id(of: batch.memory.base + slotValue.row).uuid)
        let found = try connection.execute(prepared: "fields", parameters)
        guard found.rowCount == 1, let fields = found.bytes(0, 0) else { throw LostRace() }
        batch.setFields(of: slot, fields: fields, kinds: found.bytes(0, 1))
    }

    private func remember(_ batch: UpsertBatch) throws {
        let slots = batch.slotsInKeyOrder().map { batch.slots[Int($0)] }
            .filter { $0.isNew || $0.isChanged }
        guard !slots.isEmpty else { return }
        var changed = BinaryArray(of: .uuid)
        for slot in slots where !slot.isNew {
            changed.append(uuid: RowLayout.id(of: batch.memory.base + slot.row).uuid)
        }
        if changed.count > 0 {
            var parameters = Parameters()
            parameters.append(changed)
            _ = try connection.execute(prepared: "forget", parameters)
        }
        var copy = try connection.copyIn(
            """
            COPY imagined (workspace_id, id, unique_by, email, phone, external_id, name, \
            first_name, last_name, fields, field_kinds, lists) FROM STDIN (FORMAT binary)
            """)
        chunk.removeAll(keepingCapacity: true)
        chunk.append(contentsOf: CopyIn.header)
        for slot in slots {
            append(slot, batch.memory)
            try copy.writeIfFull(&chunk)
        }
        try copy.finish(&chunk)
    }

    /// The lists follow the table's columns in the form that COPY takes for a bytea.
    private func append(_ slot: UpsertBatch.Slot, _ memory: WorkMemory) {
        let row = memory.base + slot.row
        let start = chunk.count
        chunk.append(contentsOf: UnsafeRawBufferPointer(start: row, count: RowView(row).byteCount))
        chunk[start + 1] = UInt8(RowLayout.columnCount + 1)
    }
}
