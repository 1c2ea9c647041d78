// The events of a transaction, written last.
//
// In: a batch that was applied. Out: rows of `events`, and a notification. One lane's thread.
//
// The counter of a workspace's offsets stays locked until the COMMIT, so that whoever sees an event
// sees all before it. Nothing else is waited for while it is held.

internal import Contacts
internal import Postgres

struct EventWriter {
    /// Whom WatchEvents listens to; the payload is the workspace's id.
    static let channel = "contacts_events"

    private let connection: Connection
    private let copyEvents: String
    private let lookUp: RowLookUp

    init(_ connection: Connection, _ security: RowSecurity) throws(PostgresError) {
        self.connection = connection
        copyEvents = security.copy(
            """
            COPY events (workspace_id, event_offset, type, import_id, contact_id, email, phone, \
            external_id, name, first_name, last_name, fields, field_kinds, list_ids, created_at) \
            FROM STDIN (FORMAT binary)
            """)
        lookUp = RowLookUp(connection)
        try connection.prepare(
            "event_offsets",
            """
            INSERT INTO event_offsets (workspace_id, last_offset) VALUES ($1, $2)
            ON CONFLICT (workspace_id) DO UPDATE
            SET last_offset = event_offsets.last_offset + EXCLUDED.last_offset
            RETURNING last_offset, now(), pg_notify('\(Self.channel)', $1::text)
            """)
    }

    /// - Parameter importID: Of an item.
    func write(_ batch: UpsertBatch, importID: (Int) -> String) throws {
        guard !batch.events.isEmpty else { return }
        try connection.settle()
        var counts: [Int32: Int] = [:]
        for event in batch.events { counts[workspaceID(event, batch), default: 0] += 1 }
        var offsets: [Int32: Int64] = [:]
        var now: Int64 = 0
        for (workspaceID, count) in counts.sorted(by: { $0.key < $1.key }) {
            (offsets[workspaceID], now) = try reserve(count, workspaceID)
        }
        try confirm(batch)
        var copy = try connection.copyIn(copyEvents)
        var rows = CopyRows()
        for event in batch.events {
            let workspaceID = workspaceID(event, batch)
            let offset = offsets[workspaceID, default: 1]
            offsets[workspaceID] = offset + 1
            rows.append(
                event, batch, workspaceID: workspaceID, offset: offset,
                importID: importID(event.item), now: now)
            try copy.writeIfFull(&rows.bytes)
        }
        try copy.finish(&rows.bytes)
    }

    /// What is written to the table is proved by its indexes. But a contact may have taken an
    /// identifier and given it up again within the transaction, and its event says so: nobody else
    /// may have told of it between the look-up and the offsets that are reserved now.
    private func confirm(_ batch: UpsertBatch) throws {
        let taken = batch.order.filter { batch.identifiers.wasTakenForATime($0) }
        guard !taken.isEmpty else { return }
        let isTaken = try lookUp.finds(taken, of: batch) {
            ("taken_\($0.name)", ContactStatements.taken($0))
        }
        if isTaken { throw LostRace() }
    }

    private func workspaceID(_ event: UpsertBatch.Event, _ batch: UpsertBatch) -> Int32 {
        batch.slots[Int(event.slot)].workspace.id
    }

    /// - Returns: The first of so many offsets, and the transaction's time.
    private func reserve(_ count: Int, _ workspaceID: Int32) throws -> (Int64, Int64) {
        var parameters = Parameters()
        parameters.append(int32: workspaceID)
        parameters.append(int64: Int64(count))
        let reserved = try connection.execute(prepared: "event_offsets", parameters)
        guard reserved.rowCount == 1, let last = reserved.int64(0, 0),
            let now = reserved.int64(0, 1)
        else { throw LostRace() }
        return (last - Int64(count) + 1, now)
    }
}

extension CopyRows {
    fileprivate mutating func append(
        _ event: UpsertBatch.Event, _ batch: UpsertBatch, workspaceID: Int32, offset: Int64,
        importID: String, now: Int64
    ) {
        let row = RowView(batch.memory.base + event.row)
        let slot = batch.slots[Int(event.slot)]
        begin(columnCount: 15)
        field(workspaceID)
        field(offset)
        field(Int16(event.type.rawValue))
        text(importID)
        integer(Int32(16))
        copy(row.row + RowLayout.idOffset, 16)
        // The texts, fields and field_kinds stand in the same order and form.
        copy(row.row + RowLayout.columnsOffset, row.tableByteCount - RowLayout.columnsOffset)
        lists(ListBytes(row.lists))
        field(slot.isNew ? now : slot.createdAt)
    }

    /// An array of one dimension (array_recv in src/backend/utils/adt/arrayfuncs.c).
    private mutating func lists(_ lists: ListBytes) {
        let int8: Int32 = 20
        integer(Int32(lists.count == 0 ? 12 : 20 + 12 * lists.count))
        integer(Int32(lists.count == 0 ? 0 : 1))
        integer(Int32(0))
        integer(int8)
        guard lists.count > 0 else { return }
        integer(Int32(lists.count))
        integer(Int32(1))
        for place in 0..<lists.count { field(lists[place]) }
    }
}
