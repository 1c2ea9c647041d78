// One transaction on the table: look up, apply, write. COMMIT is the lane's.
//
// In: a loaded batch and a range of its items. Out: their outcomes, written. One lane's thread.
//
// New contacts are copied straight into the table; changed ones go to a staging table and from
// there by UPDATE; unchanged ones are not touched. Nothing is locked between the look-up and the
// write. Instead the write proves that what was looked up still stands: an UPDATE must meet the
// xmin that was seen, and a unique index refuses a contact that another transaction made
// meanwhile. A lost race rolls back and runs again, now with row locks and ON CONFLICT. Joining a
// list counts as a change of the contact, so the same proof covers its lists.

internal import Contacts
internal import Postgres

/// Another transaction wrote one of the contacts between the look-up and the write.
struct LostRace: Error {}

/// The contacts that a transaction has to look up do not fit into its memory; fewer at once will.
struct TooLarge: Error {}

/// A workspace has other unique identifiers than when the contacts were taken, or is gone.
struct SettingsChanged: Error {
    /// The workspaces of which it is not so.
    let standing: Set<Workspace>
}

/// Where a lane's batches go: the table, or a dry run's copy of what it would change.
protocol BatchStore: AnyObject {
    /// Runs one transaction up to its COMMIT.
    ///
    /// - Parameters:
    ///   - contended: Whether a first try lost a race.
    /// - Returns: The end of the items that were applied; the range may be cut.
    func run(_ batch: UpsertBatch, _ range: Range<Int>, contended: Bool) throws -> Int
}

extension BatchStore {
    /// A transaction whose rows have grown past this is cut where it stands.
    private static var memoryByteLimit: Int { 64 * 1024 * 1024 }
    /// And one that joins more lists than can be written in some seconds.
    private static var joinLimit: Int { 100_000 }

    /// Applies items in order.
    ///
    /// - Returns: The end of those that were applied.
    func apply(
        _ batch: UpsertBatch, _ range: Range<Int>, fetchFields: (Int32) throws -> Void
    ) throws -> Int {
        for index in range {
            if case .needsFields(let slot) = batch.apply(index) {
                try fetchFields(slot)
                _ = batch.apply(index)
            }
            if batch.memory.count > Self.memoryByteLimit || batch.joinedCount > Self.joinLimit {
                return index + 1
            }
        }
        return range.upperBound
    }
}

final class ContactUpsert: BatchStore {
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

    private let connection: Connection
    private let lookUp: RowLookUp
    private let begin: TransactionBegin
    private var parameters = Parameters()
    private var chunk: [UInt8] = []

    /// Prepares a connection that was just opened.
    init(_ connection: Connection) throws(PostgresError) {
        self.connection = connection
        lookUp = RowLookUp(connection)
        begin = try TransactionBegin(connection)
        try connection.execute(Self.staging)
        try connection.prepare(
            "fields",
            """
            SELECT fields, field_kinds FROM contacts
            WHERE workspace_id = $1 AND id = $2 AND xmin = $3::text::xid
            """)
        try connection.prepare("insert", Self.insert)
    }

    static let staging = """
        CREATE TEMPORARY TABLE staged (LIKE contacts, version xid) ON COMMIT DELETE ROWS;
        ALTER TABLE staged DROP COLUMN created_at, DROP COLUMN updated_at
        """

    /// One probe of the identifier's index for each key, in the order of the keys.
    ///
    /// The planner must have no other choice. On a table that it believes to be empty or full of
    /// small workspaces, the primary key would do as well: it then reads all of a workspace for each
    /// key. So the key is a range of one value and the order is asked for, which only the
    /// identifier's index has without a sort (and sorts are switched off); LIMIT keeps the join from
    /// being turned round.
    static func lookUp(_ identifier: Identifier, isWhole: Bool) -> String {
        let limit = RowLookUp.fieldsByteLimit
        return """
            SELECT k.ord::int4, c.*\(isWhole ? ", \(lists(of: "c.id"))" : "")
            FROM unnest($2::\(identifier.type)[]) WITH ORDINALITY AS k (key, ord)
            CROSS JOIN LATERAL (
                SELECT id, xmin, email, phone, external_id, name, first_name, last_name,
                    CASE WHEN pg_column_size(fields) <= \(limit) THEN fields END,
                    CASE WHEN pg_column_size(fields) <= \(limit) THEN field_kinds END
                    \(isWhole ? ", created_at" : "")
                FROM contacts WHERE \(probe(identifier))
                ORDER BY \(identifier.name) LIMIT 1
            ) c
            """
    }

    /// Locks what `lookUp` would find. A statement of its own: one that waits for a lock goes on
    /// with the newest version of the row, but sees everything else as it stood when it began.
    static func lock(_ identifier: Identifier) -> String {
        """
        SELECT count(*)
        FROM unnest($2::\(identifier.type)[]) AS k (key)
        CROSS JOIN LATERAL (
            SELECT id FROM contacts WHERE \(probe(identifier))
            ORDER BY \(identifier.name) LIMIT 1 FOR UPDATE
        ) c
        """
    }

    /// How many contacts have one of the identifiers.
    static func taken(_ identifier: Identifier) -> String {
        """
        SELECT count(*)
        FROM unnest($2::\(identifier.type)[]) AS k (key)
        CROSS JOIN LATERAL (
            SELECT id FROM contacts WHERE \(probe(identifier))
            ORDER BY \(identifier.name) LIMIT 1
        ) c
        """
    }

    /// The condition that one index entry meets.
    static func probe(_ identifier: Identifier) -> String {
        let column = identifier.name
        let unique = identifier == .id ? "" : "AND unique_by & \(1 << identifier.rawValue) <> 0"
        return "workspace_id = $1 AND \(column) >= k.key AND \(column) <= k.key \(unique)"
    }

    /// The lists of a contact as a row has them, by one probe of the primary key.
    static func lists(of id: String) -> String {
        """
        (SELECT string_agg(int8send(m.list_id), ''::bytea) FROM (
            SELECT list_id FROM list_members
            WHERE workspace_id = $1 AND contact_id >= \(id) AND contact_id <= \(id)
            ORDER BY contact_id, list_id
        ) m WHERE EXISTS (SELECT FROM lists l WHERE l.workspace_id = $1 AND l.id = m.list_id))
        """
    }

    /// Contacts that give an identifier up lose it first, since a unique index is checked row by
    /// row and another contact of the transaction may take it.
    static func vacate(_ identifier: Identifier) -> String {
        """
        UPDATE contacts c SET \(identifier.name) = NULL
        FROM staged s
        WHERE s.version IS NOT NULL AND c.workspace_id = s.workspace_id AND c.id = s.id
            AND c.xmin IN (s.version, pg_current_xact_id()::xid)
            AND c.\(identifier.name) IS DISTINCT FROM s.\(identifier.name)
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

    func run(_ batch: UpsertBatch, _ range: Range<Int>, contended: Bool) throws -> Int {
        batch.begin(range)
        try begin.run(batch)
        let isWhole = batch.needsWholeContacts
        if contended { try lookUp.lock(batch) { ("lock_\($0.name)", Self.lock($0)) } }
        try lookUp.run(batch) { identifier in
            (
                "look_up_\(isWhole ? "whole_" : "")\(identifier.name)",
                Self.lookUp(identifier, isWhole: isWhole)
            )
        }
        batch.turn?.lookedUp(batch, range)
        let end = try apply(batch, range) { try fetchFields(batch, $0) }
        try batch.turn?.enterWrite(holdsRows: contended)
        try write(batch, contended: contended)
        return end
    }

    private func fetchFields(_ batch: UpsertBatch, _ slot: Int32) throws {
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

    private func write(_ batch: UpsertBatch, contended: Bool) throws {
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
        if !batch.mentionedLists.isEmpty { try joinLists(batch) }
    }

    private func vacate(_ batch: UpsertBatch) throws {
        var moved: UInt8 = 0
        for slot in batch.slots { moved |= slot.movedIdentifiers }
        for identifier in Identifier.settable where moved & 1 << identifier.rawValue != 0 {
            _ = try connection.query(Self.vacate(identifier))
        }
    }

    /// Copies the rows of some slots, in the order of their keys.
    private func copy(
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
            try copy.writeIfFull(&chunk)
        }
        try copy.finish(&chunk)
    }

    private func append(_ slot: UpsertBatch.Slot, _ memory: WorkMemory, isStaging: Bool) {
        let row = memory.base + slot.row
        let start = chunk.count
        chunk.append(
            contentsOf: UnsafeRawBufferPointer(start: row, count: RowView(row).tableByteCount))
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

    /// Writes the memberships that are new. Nobody else can write one of them meanwhile: its
    /// contact is new, or was updated by this transaction.
    private func joinLists(_ batch: UpsertBatch) throws {
        var copy = try connection.copyIn(
            "COPY list_members (workspace_id, contact_id, list_id) FROM STDIN (FORMAT binary)")
        chunk.removeAll(keepingCapacity: true)
        chunk.append(contentsOf: CopyIn.header)
        for slotIndex in batch.slotsInKeyOrder() {
            let slot = batch.slots[Int(slotIndex)]
            guard slot.isNew || slot.isChanged else { continue }
            appendMembers(slot, batch.memory)
            try copy.writeIfFull(&chunk)
        }
        try copy.finish(&chunk)
    }

    private func appendMembers(_ slot: UpsertBatch.Slot, _ memory: WorkMemory) {
        let row = RowView(memory.base + slot.row)
        let lists = ListBytes(row.lists)
        let standing = ListBytes(slot.isNew ? .null : RowView(memory.base + slot.firstRow).lists)
        for place in 0..<lists.count where !standing.contains(lists[place]) {
            chunk.append(contentsOf: [0, 3, 0, 0, 0, 4])
            withUnsafeBytes(of: slot.workspace.id.bigEndian) { chunk.append(contentsOf: $0) }
            chunk.append(contentsOf: [0, 0, 0, 16])
            chunk.append(
                contentsOf: UnsafeRawBufferPointer(start: row.row + RowLayout.idOffset, count: 16))
            chunk.append(contentsOf: [0, 0, 0, 8])
            withUnsafeBytes(of: lists[place].bigEndian) { chunk.append(contentsOf: $0) }
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
