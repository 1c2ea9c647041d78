// One transaction: look up, apply, write, commit. All SQL of the upsert stands in this file.
//
// In: a loaded batch and a range of its items. Out: their outcomes, committed. One lane's thread.
//
// New contacts are copied straight into the table; changed ones go to a staging table and from
// there by UPDATE; unchanged ones are not touched. Nothing is locked between the look-up and the
// write. Instead the write proves that what was looked up still stands: an UPDATE must meet the
// xmin that was seen, and a unique index refuses a contact that another transaction made
// meanwhile. A lost race rolls back and runs again, now with row locks and ON CONFLICT.

internal import Contacts
internal import Postgres

/// Another transaction wrote one of the contacts between the look-up and the write.
struct LostRace: Error {}

/// The contacts that a transaction has to look up do not fit into its memory; fewer at once will.
struct TooLarge: Error {}

struct ContactUpsert {
    /// Settings of a lane's connection. Plans are chosen once and must stay right while the table
    /// grows from nothing, so every way but the index is switched off; jit costs more than it gives
    /// for statements this short.
    static let settings: [(String, String)] = [
        ("jit", "off"),
        ("enable_seqscan", "off"),
        ("enable_bitmapscan", "off"),
        ("enable_sort", "off"),
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
        ("plan_cache_mode", "force_generic_plan"),
        ("synchronous_commit", "on"),
        ("statement_timeout", "60s"),
        ("idle_in_transaction_session_timeout", "30s"),
        ("timezone", "UTC"),
    ]

    /// Custom fields larger than this are looked up one by one when they are needed, so that a
    /// transaction over ten thousand large contacts does not hold them all.
    private static let fieldsByteLimit = 1000
    /// Identifiers looked up by one query: its result stays small, and the next one may not be
    /// needed when the contacts found are large.
    private static let keysPerLookUp = 1000
    /// A transaction that looks up more than this is cut before it begins.
    private static let lookUpByteLimit = 32 * 1024 * 1024
    /// A transaction whose rows have grown past this is cut where it stands.
    private static let memoryByteLimit = 64 * 1024 * 1024

    private let connection: Connection
    private var parameters = Parameters()
    private var keys = BinaryArray(of: .text)
    private var chunk: [UInt8] = []

    /// Prepares a connection that was just opened.
    init(_ connection: Connection) throws(PostgresError) {
        self.connection = connection
        try connection.execute(
            """
            CREATE TEMPORARY TABLE staged (
                LIKE contacts, version xid
            ) ON COMMIT DELETE ROWS;
            ALTER TABLE staged DROP COLUMN created_at, DROP COLUMN updated_at
            """)
        for field in [TextField.email, .phone, .externalID] {
            let name = field.wireName
            let bit = 1 << field.rawValue
            try connection.prepare(
                "look_up_\(name)", Self.lookUp(column: name, uniqueBit: bit, locking: false))
            try connection.prepare(
                "lock_\(name)", Self.lookUp(column: name, uniqueBit: bit, locking: true))
        }
        try connection.prepare(
            "fields",
            """
            SELECT fields, field_kinds FROM contacts
            WHERE workspace_id = $1 AND id = $2 AND xmin = $3::text::xid
            """)
        try connection.prepare("insert", Self.insert)
    }

    /// One probe of the identifier's index for each key, in the order of the keys.
    ///
    /// The planner must have no other choice. On a table that it believes to be empty or full of
    /// small workspaces, the primary key would do as well: it then reads all of a workspace for each
    /// key. So the key is a range of one value and the order is asked for, which only the
    /// identifier's index has without a sort (and sorts are switched off); LIMIT keeps the join from
    /// being turned round.
    private static func lookUp(column: String, uniqueBit: Int, locking: Bool) -> String {
        """
        SELECT k.ord::int4, c.*
        FROM unnest($2::text[]) WITH ORDINALITY AS k (key, ord)
        CROSS JOIN LATERAL (
            SELECT id, xmin, email, phone, external_id, name, first_name, last_name,
                CASE WHEN pg_column_size(fields) <= \(fieldsByteLimit) THEN fields END,
                CASE WHEN pg_column_size(fields) <= \(fieldsByteLimit) THEN field_kinds END
            FROM contacts
            WHERE workspace_id = $1 AND \(column) >= k.key AND \(column) <= k.key
                AND unique_by & \(uniqueBit) <> 0
            ORDER BY \(column) LIMIT 1
            \(locking ? "FOR UPDATE" : "")
        ) c
        """
    }

    /// Contacts that give an identifier up lose it first, since a unique index is checked row by
    /// row and another contact of the transaction may take it.
    static func vacate(_ field: TextField) -> String {
        """
        UPDATE contacts c SET \(field.wireName) = NULL
        FROM staged s
        WHERE s.version IS NOT NULL AND c.workspace_id = s.workspace_id AND c.id = s.id
            AND c.xmin IN (s.version, pg_current_xact_id()::xid)
            AND c.\(field.wireName) IS DISTINCT FROM s.\(field.wireName)
        """
    }

    /// Like `vacate` planned each time, by the sizes that the tables have: kept from a time when the
    /// table was empty, the plan would go through all of it for each staged row.
    static let update = """
        UPDATE contacts c
        SET email = s.email, phone = s.phone, external_id = s.external_id,
            name = s.name, first_name = s.first_name, last_name = s.last_name,
            fields = s.fields, field_kinds = s.field_kinds, updated_at = now()
        FROM staged s
        WHERE s.version IS NOT NULL AND c.workspace_id = s.workspace_id AND c.id = s.id
            AND c.xmin IN (s.version, pg_current_xact_id()::xid)
        """

    private static let columns = """
        workspace_id, id, unique_by, email, phone, external_id,
        name, first_name, last_name, fields, field_kinds
        """

    private static let insert = """
        INSERT INTO contacts (\(columns))
        SELECT \(columns) FROM staged WHERE version IS NULL
        ORDER BY workspace_id, email, phone, external_id
        ON CONFLICT DO NOTHING
        """

    /// Runs one transaction up to its COMMIT, which is the caller's.
    ///
    /// - Parameters:
    ///   - contended: Whether a first try lost a race.
    /// - Returns: The end of the items that were applied; the range may be cut.
    mutating func run(
        _ batch: UpsertBatch, _ range: Range<Int>, contended: Bool
    ) throws -> Int {
        batch.begin(range)
        try connection.execute("BEGIN")
        try lookUp(batch, locking: contended)
        let end = try apply(batch, range)
        try write(batch, contended: contended)
        return end
    }

    private mutating func apply(_ batch: UpsertBatch, _ range: Range<Int>) throws -> Int {
        for index in range {
            if case .needsFields(let slot) = batch.apply(index) {
                try fetchFields(batch, slot)
                _ = batch.apply(index)
            }
            if batch.memory.count > Self.memoryByteLimit { return index + 1 }
        }
        return range.upperBound
    }

    // MARK: Look up

    /// Looks the identifiers up, one query for each workspace and field.
    private mutating func lookUp(_ batch: UpsertBatch, locking: Bool) throws {
        var start = 0
        while start < batch.order.count {
            let first = batch.identifiers.entries[Int(batch.order[start])]
            var end = start
            keys.removeAll()
            while end < batch.order.count {
                let entry = batch.identifiers.entries[Int(batch.order[end])]
                guard entry.field == first.field, entry.workspaceID == first.workspaceID,
                    end - start < Self.keysPerLookUp
                else { break }
                keys.append(
                    UnsafeRawBufferPointer(
                        start: batch.memory.base + entry.offset, count: entry.count
                    ).bytes)
                end += 1
            }
            parameters.removeAll()
            parameters.append(int32: first.workspaceID)
            parameters.append(keys)
            let name = "\(locking ? "lock" : "look_up")_\(first.field.wireName)"
            let found = try connection.execute(prepared: name, parameters)
            try add(found, to: batch, from: start, workspaceID: first.workspaceID)
            guard batch.memory.count <= Self.lookUpByteLimit || batch.isSingle else {
                throw TooLarge()
            }
            start = end
        }
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
                owning: batch.order[start + Int(ordinal) - 1], id: id, version: version,
                workspace: workspace, lacksFields: found.isNull(row, 9)
            ) {
                Self.writeRow(found, row, id, workspace, batch.memory)
            }
        }
    }

    /// Writes a row that was found in the layout of all rows.
    private static func writeRow(
        _ found: QueryResult, _ row: Int, _ id: ContactID, _ workspace: Workspace,
        _ memory: WorkMemory
    ) -> Int {
        var byteCount = RowLayout.columnsOffset + 4 * RowLayout.variableColumnCount
        for column in 3..<11 { byteCount += found.byteCount(row, column) }
        let offset = memory.append(byteCount: byteCount)
        RowLayout.writePrefix(memory.base + offset, workspace: workspace, id: id)
        var writer = ColumnWriter(row: memory.base + offset)
        for column in 3..<11 {
            if found.isNull(row, column) {
                writer.null()
            } else {
                found.withBytes(row, column) {
                    writer.column(ColumnBytes(start: $0.baseAddress, count: $0.count))
                }
            }
        }
        return offset
    }

    private mutating func fetchFields(_ batch: UpsertBatch, _ slot: Int32) throws {
        let slotValue = batch.slots[Int(slot)]
        parameters.removeAll()
        parameters.append(int32: slotValue.workspace.id)
        parameters.append(uuid: RowLayout.id(of: batch.memory.base + slotValue.row).uuid)
        parameters.append(text: String(slotValue.version))
        let found = try connection.execute(prepared: "fields", parameters)
        guard found.rowCount == 1, let fields = found.bytes(0, 0) else { throw LostRace() }
        batch.setFields(of: slot, fields: fields, kinds: found.bytes(0, 1))
    }

    // MARK: Write

    private mutating func write(_ batch: UpsertBatch, contended: Bool) throws {
        let changed = batch.slots.count { !$0.isNew && $0.isChanged }
        let new = batch.slots.count { $0.isNew }
        if changed > 0 || (contended && new > 0) {
            try copy(batch, into: "staged (\(Self.columns), version)", isStaging: true) { slot in
                slot.isNew ? contended : slot.isChanged
            }
        }
        if changed > 0 {
            try vacate(batch)
            let updated = try connection.query(Self.update)
            guard updated.affectedRowCount == changed else { throw LostRace() }
        }
        if new > 0, contended {
            parameters.removeAll()
            let inserted = try connection.execute(prepared: "insert", parameters)
            guard inserted.affectedRowCount == new else { throw LostRace() }
        } else if new > 0 {
            try copy(batch, into: "contacts (\(Self.columns))", isStaging: false) { $0.isNew }
        }
    }

    private mutating func vacate(_ batch: UpsertBatch) throws {
        var moved: UInt8 = 0
        for slot in batch.slots { moved |= slot.movedIdentifiers }
        for field in [TextField.email, .phone, .externalID] where moved & 1 << field.rawValue != 0 {
            _ = try connection.query(Self.vacate(field))
        }
    }

    /// Copies the rows of some slots, in the order of their keys.
    private mutating func copy(
        _ batch: UpsertBatch, into target: String, isStaging: Bool,
        where isTaken: (UpsertBatch.Slot) -> Bool
    ) throws {
        var copy = try connection.copyIn("COPY \(target) FROM STDIN (FORMAT binary)")
        chunk.removeAll(keepingCapacity: true)
        chunk.append(contentsOf: CopyIn.header)
        for slotIndex in batch.slotsInKeyOrder() {
            let slot = batch.slots[Int(slotIndex)]
            guard isTaken(slot) else { continue }
            append(slot, batch.memory, isStaging: isStaging)
            if chunk.count >= CopyIn.chunkByteLimit {
                try copy.write(chunk)
                chunk.removeAll(keepingCapacity: true)
            }
        }
        chunk.append(contentsOf: CopyIn.trailer)
        try copy.write(chunk)
        _ = try copy.finish()
    }

    private mutating func append(
        _ slot: UpsertBatch.Slot, _ memory: WorkMemory, isStaging: Bool
    ) {
        let row = memory.base + slot.row
        let start = chunk.count
        chunk.append(
            contentsOf: UnsafeRawBufferPointer(start: row, count: RowView(row).byteCount))
        guard isStaging else { return }
        // One more column: the version looked up, or NULL for a new contact.
        chunk[start + 1] = UInt8(RowLayout.columnCount + 1)
        if slot.isNew {
            chunk.append(contentsOf: [0xFF, 0xFF, 0xFF, 0xFF])
        } else {
            chunk.append(contentsOf: [0, 0, 0, 4])
            withUnsafeBytes(of: slot.version.bigEndian) { chunk.append(contentsOf: $0) }
        }
    }
}

extension ContactID {
    init(_ uuid: UInt128) {
        self.init(
            high: UInt64(truncatingIfNeeded: uuid >> 64), low: UInt64(truncatingIfNeeded: uuid))
    }

    var uuid: UInt128 { UInt128(high) << 64 | UInt128(low) }
}
