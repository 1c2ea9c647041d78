// One transaction on the table: look up, apply, write. COMMIT is the lane's.
//
// In: a loaded batch and a range of its items. Out: their outcomes, written. One lane's thread.
//
// New contacts are copied straight into the table; changed ones are updated where they were seen;
// unchanged ones are not touched. Nothing is locked between the look-up and the write. Instead the
// write proves that what was looked up still stands: an UPDATE must meet the xmin that was seen,
// and a unique index refuses a contact that another transaction made meanwhile. A lost race rolls
// back and runs again, now with row locks and ON CONFLICT. Joining a list counts as a change of the
// contact, so the same proof covers its lists.
//
// Where the last look-ups found nothing, the next contacts are taken to be new and not looked up
// at all: a unique index refuses what stands, and the transaction runs again with a look-up.

internal import Contacts
internal import Postgres

/// Another transaction wrote one of the contacts between the look-up and the write.
struct LostRace: Error {}

/// A transaction was not looked up, and has to be.
struct WrongGuess: Error {}

/// The contacts that a transaction has to look up do not fit into its memory; fewer at once will.
struct TooLarge: Error {}

/// Where a lane's batches go: the table, or a dry run's copy of what it would change.
protocol BatchStore: AnyObject {
    /// Runs one transaction up to its COMMIT.
    ///
    /// - Parameters:
    ///   - contended: Whether a first try lost a race.
    /// - Returns: The end of the items that were applied; the range may be cut.
    func run(_ batch: UpsertBatch, _ range: Range<Int>, contended: Bool) throws -> Int

    /// Called when a transaction was refused for what stands in the database. Whether it had been
    /// written without a look-up; then the next try looks first.
    func takeGuessBack(_ batch: UpsertBatch) -> Bool

    /// Called when a transaction is committed.
    func committed(_ batch: UpsertBatch)
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
        // A backend that waits for a lock ends when nobody waits for it any more.
        ("client_connection_check_interval", "2s"),
        ("timezone", "UTC"),
    ]

    /// New contacts of a transaction that go with its other statements in one round trip. A COPY
    /// takes less time for each, and two round trips of its own.
    private static let insertLimit = 100

    private let connection: Connection
    private let copyContacts: String
    private let copyMembers: String
    private let lookUp: RowLookUp
    private let begin: TransactionBegin
    private let paths: PathCounters
    private var guess = NewContactsGuess()
    /// The transaction at work was not looked up.
    private var isGuess = false
    private var guessedRange = 0..<0
    private var isContended = false
    private var parameters = Parameters()
    // Touched for each contact; see UpsertBatch.
    @exclusivity(unchecked) private var rows: RowArray
    @exclusivity(unchecked) private var chunk: [UInt8] = []

    /// Prepares a connection that was just opened.
    init(
        _ connection: Connection, _ security: RowSecurity, _ begin: TransactionBegin,
        _ paths: PathCounters
    ) throws(PostgresError) {
        self.connection = connection
        copyContacts = security.copy(
            "COPY contacts (\(ContactStatements.columns)) FROM STDIN (FORMAT binary)")
        copyMembers = security.copy(
            "COPY list_members (workspace_id, contact_id, list_id) FROM STDIN (FORMAT binary)")
        self.begin = begin
        self.paths = paths
        lookUp = RowLookUp(connection)
        rows = try RowArray(connection)
        try connection.prepare(
            "fields",
            """
            SELECT fields, field_kinds FROM contacts
            WHERE workspace_id = $1 AND id = $2 AND xmin = $3::text::xid
            """)
        try connection.prepare(Self.update, ContactStatements.update)
        try connection.prepare(Self.updateMoved, ContactStatements.updateMoved)
        try connection.prepare(Self.insert, ContactStatements.insert)
        try connection.prepare(Self.insertContended, ContactStatements.insertContended)
        for identifier in Identifier.settable {
            try connection.prepare(
                "vacate_\(identifier.name)", ContactStatements.vacate(identifier))
        }
    }

    private static let update = "update"
    private static let updateMoved = "update_moved"
    private static let insert = "insert"
    private static let insertContended = "insert_contended"

    /// Statements that fail when another transaction was faster.
    static let raced: Set<String> = [update, updateMoved, insertContended]

    func run(_ batch: UpsertBatch, _ range: Range<Int>, contended: Bool) throws -> Int {
        batch.begin(range)
        isGuess = !contended && batch.mayAllBeNew && guess.expectsNew(batch.workspaces)
        batch.arrange(range, keysOnly: isGuess)
        try begin.run(batch)
        if !isGuess {
            try find(batch, contended: contended)
            batch.turn?.lookedUp(batch, range)
        }
        let end = try apply(batch, range) { try fetchFields(batch, $0) }
        // Nothing but a look-up shows whether an identifier was free that is free in the end.
        if isGuess, batch.hasUnprovenIdentifier { throw WrongGuess() }
        // What is written without a look-up proves that all its identifiers were free, so that no
        // contact that an earlier turn matches had any of them.
        if !isGuess { try batch.turn?.enterWrite(holdsRows: contended) }
        try write(batch, contended: contended)
        guessedRange = range.lowerBound..<end
        if isGuess, range.count > Self.insertLimit { try proveGuess(batch) }
        isContended = contended
        return end
    }

    /// Whether what failed was not looked up; the next try will be.
    func takeGuessBack(_ batch: UpsertBatch) -> Bool {
        guard isGuess else { return false }
        isGuess = false
        guess.failed(batch.workspaces)
        paths.count(.wrongGuess)
        return true
    }

    /// Tells the turns behind that there was nothing to be looked up.
    private func proveGuess(_ batch: UpsertBatch) throws {
        guard let turn = batch.turn else { return }
        try connection.settle()
        turn.lookedUp(batch, guessedRange)
    }

    func committed(_ batch: UpsertBatch) {
        let standing = batch.slots.contains { !$0.isNew }
        if isGuess {
            batch.turn?.lookedUp(batch, guessedRange)
            guess.held(batch.workspaces)
            paths.count(.straight)
        } else {
            guess.lookedUp(batch.workspaces, foundAny: standing)
        }
        if isContended { paths.count(.onConflict) }
        if standing, !batch.slots.contains(where: { $0.isNew || $0.isChanged }) {
            paths.count(.compareOnly)
        }
    }

    // MARK: Look-up

    private func find(_ batch: UpsertBatch, contended: Bool) throws {
        let isWhole = batch.needsWholeContacts
        if contended {
            try lookUp.lock(batch) { ("lock_\($0.name)", ContactStatements.lock($0)) }
        }
        try lookUp.run(batch) { identifier in
            (
                "look_up_\(isWhole ? "whole_" : "")\(identifier.name)",
                ContactStatements.lookUp(identifier, isWhole: isWhole)
            )
        }
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
        let slots = batch.slotsInKeyOrder()
        let isAnyChanged = batch.slots.contains { $0.isChanged && !$0.isNew }
        if isAnyChanged { try update(batch, slots) }
        let newCount = batch.slots.count { $0.isNew }
        if contended || newCount <= Self.insertLimit {
            let name = contended ? Self.insertContended : Self.insert
            try send(batch, slots, to: name, isCounted: contended) { $0.isNew }
        } else {
            try copy(batch, slots)
        }
        if !batch.mentionedLists.isEmpty { try joinLists(batch, slots) }
    }

    private func update(_ batch: UpsertBatch, _ slots: [Int32]) throws {
        var moved: UInt8 = 0
        for slot in batch.slots { moved |= slot.movedIdentifiers }
        if moved != 0 {
            for identifier in Identifier.settable where moved & 1 << identifier.rawValue != 0 {
                let name = "vacate_\(identifier.name)"
                try send(batch, slots, to: name, isCounted: false) { $0.movedIdentifiers != 0 }
            }
            try send(batch, slots, to: Self.updateMoved, isCounted: true) {
                $0.movedIdentifiers != 0
            }
        }
        try send(batch, slots, to: Self.update, isCounted: true) {
            $0.isChanged && !$0.isNew && $0.movedIdentifiers == 0
        }
    }

    /// Queues a statement for the rows of some slots, in the order of their keys.
    private func send(
        _ batch: UpsertBatch, _ slots: [Int32], to statement: String, isCounted: Bool,
        where isTaken: (UpsertBatch.Slot) -> Bool
    ) throws {
        rows.removeAll()
        for slot in slots where isTaken(batch.slots[Int(slot)]) {
            rows.append(batch.slots[Int(slot)], batch.memory)
            if rows.isFull { try send(to: statement, isCounted: isCounted) }
        }
        if rows.count > 0 { try send(to: statement, isCounted: isCounted) }
    }

    private func send(to statement: String, isCounted: Bool) throws {
        parameters.removeAll()
        parameters.append(binary: rows.bytes)
        if isCounted { parameters.append(int64: Int64(rows.count)) }
        try connection.enqueue(prepared: statement, parameters)
        rows.removeAll()
    }

    /// Copies the new contacts straight into the table, in the order of their keys.
    private func copy(_ batch: UpsertBatch, _ slots: [Int32]) throws {
        try connection.settle()
        var copy = try connection.copyIn(copyContacts)
        chunk.removeAll(keepingCapacity: true)
        chunk.append(contentsOf: CopyIn.header)
        for index in slots where batch.slots[Int(index)].isNew {
            let row = batch.memory.base + batch.slots[Int(index)].row
            chunk.append(
                contentsOf: UnsafeRawBufferPointer(
                    start: row, count: RowLayout.tableByteCount(row)))
            try copy.writeIfFull(&chunk)
        }
        FailurePoint.beforeCopyEnds.pass()
        try copy.finish(&chunk)
    }

    /// Writes the memberships that are new. Nobody else can write one of them meanwhile: its
    /// contact is new, or was updated by this transaction.
    private func joinLists(_ batch: UpsertBatch, _ slots: [Int32]) throws {
        try connection.settle()
        var copy = try connection.copyIn(copyMembers)
        chunk.removeAll(keepingCapacity: true)
        chunk.append(contentsOf: CopyIn.header)
        for slotIndex in slots {
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
