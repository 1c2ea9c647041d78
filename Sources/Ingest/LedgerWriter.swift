// The imports' part of a transaction: what it decided is written with it.
//
// In: the progress of the calls whose contacts a transaction has. Out: their rows, or the calls
// that another call of the same import has replaced. One lane's thread.

internal import Contacts
internal import Postgres

struct LedgerWriter {
    /// What a transaction has to say of one call.
    struct Entry {
        let ledger: ImportLedger
        var progress: LaneProgress
        /// Contacts that failed for what stands in the database.
        var failures: [(sequence: UInt64, error: ContactError)] = []
        /// How the import ends with this transaction, if it does.
        var ending: ImportState?
    }

    private let connection: Connection
    private let lane: Int

    init(_ connection: Connection, lane: Int) throws(PostgresError) {
        self.connection = connection
        self.lane = lane
        try connection.prepare(Self.insert, Self.insertImports)
        try connection.prepare(Self.fence, Self.fenced)
        try connection.prepare("import_progress", Self.insertProgress)
        try connection.prepare("import_end", Self.end)
        try connection.prepare("import_add_failures", Self.insertFailures)
        try connection.prepare("import_failures", Self.findFailures)
    }

    private static let insert = "import_insert"
    private static let fence = "import_fence"

    /// Statements that fail when another call goes on with one of the imports.
    static let fences: Set<String> = [insert, fence]

    /// Makes imports, or finds that another lane of the same call has. $2 is their number.
    private static let insertImports = """
        WITH made AS (
            INSERT INTO imports (workspace_id, id, options, call, server, state)
            SELECT * FROM unnest(
                $1::int4[], $3::text[], $4::bytea[], $5::int8[], $6::int8[], $7::int2[])
            ON CONFLICT (workspace_id, id) DO UPDATE SET updated_at = now()
            WHERE imports.call = EXCLUDED.call
            RETURNING 1
        ) \(ContactStatements.all(of: "made"))
        """

    /// The imports whose last call is the one named; they stay so until the COMMIT. For why it is
    /// written so see `ContactStatements.lookUp`.
    static let standing = """
        SELECT k.ord::int4
        FROM unnest($1::int4[], $3::text[], $4::int8[]) WITH ORDINALITY AS k (workspace, id, call, ord)
        CROSS JOIN LATERAL (
            SELECT call FROM imports
            WHERE workspace_id = k.workspace AND id >= k.id AND id <= k.id
            ORDER BY id LIMIT 1 FOR KEY SHARE
        ) i
        WHERE i.call = k.call
        """

    static let fenced = "WITH fenced AS (\(standing)) \(ContactStatements.all(of: "fenced"))"

    static let end = """
        UPDATE imports SET state = $3, updated_at = now()
        WHERE workspace_id = $1 AND id = $2 AND call = $4
        """

    private static let insertProgress = """
        INSERT INTO import_progress
            (workspace_id, import_id, call, lane, decided_through, decided, counts)
        SELECT workspace, id, call, $7::int4, decided_through, decided, counts::bigint[]
        FROM unnest($1::int4[], $2::text[], $3::int8[], $4::int8[], $5::bytea[], $6::text[])
            AS k (workspace, id, call, decided_through, decided, counts)
        ON CONFLICT (workspace_id, import_id, call, lane) DO UPDATE
        SET decided_through = EXCLUDED.decided_through, decided = EXCLUDED.decided,
            counts = EXCLUDED.counts, updated_at = now()
        """

    private static let insertFailures = """
        INSERT INTO import_failures (workspace_id, import_id, sequence, reason, field, message,
            retryable, conflicting_id)
        SELECT $1::int4, $2::text, * FROM unnest(
            $3::int8[], $4::text[], $5::text[], $6::text[], $7::bool[], $8::text[])
        """

    static let findFailures = """
        SELECT k.ord::int4, f.reason, f.field, f.message, f.retryable, f.conflicting_id
        FROM unnest($3::int8[]) WITH ORDINALITY AS k (sequence, ord)
        CROSS JOIN LATERAL (
            SELECT * FROM import_failures
            WHERE workspace_id = $1 AND import_id = $2
                AND sequence >= k.sequence AND sequence <= k.sequence
            ORDER BY sequence LIMIT 1
        ) f
        """

    /// Which of the contacts that an import has decided before had failed, by their place.
    func failures(
        among sequences: [UInt64], of ledger: ImportLedger
    ) throws -> [Int: ContactError] {
        var array = BinaryArray(of: .int64)
        for sequence in sequences { array.append(int64: Int64(clamping: sequence)) }
        var parameters = Parameters()
        parameters.append(int32: ledger.workspaceID)
        parameters.append(text: ledger.importID)
        parameters.append(array)
        let found = try connection.execute(prepared: "import_failures", parameters)
        var errors: [Int: ContactError] = [:]
        for row in 0..<found.rowCount {
            errors[Int(found.int32(row, 0) ?? 1) - 1] = ContactError(
                reasonText: found.text(row, 1) ?? "", field: found.text(row, 2) ?? "",
                message: found.text(row, 3) ?? "", retryable: found.bool(row, 4) ?? false,
                conflictingID: found.text(row, 5) ?? "")
        }
        return errors
    }

    private static let failuresPerStatement = 1000

    private func writeFailures(of entry: Entry) throws {
        for start in stride(from: 0, to: entry.failures.count, by: Self.failuresPerStatement) {
            let end = min(start + Self.failuresPerStatement, entry.failures.count)
            try writeFailures(entry.failures[start..<end], of: entry.ledger)
        }
    }

    private func writeFailures(
        _ failures: ArraySlice<(sequence: UInt64, error: ContactError)>, of ledger: ImportLedger
    ) throws {
        var sequences = BinaryArray(of: .int64)
        var texts = [BinaryArray](repeating: BinaryArray(of: .text), count: 4)
        var retryable = BinaryArray(of: .bool)
        for (sequence, error) in failures {
            sequences.append(int64: Int64(clamping: sequence))
            let values = [error.reasonText, error.field, error.message, error.conflictingID]
            for (place, value) in values.enumerated() { texts[place].append(text: value) }
            retryable.append(bool: error.retryable)
        }
        var parameters = Parameters()
        parameters.append(int32: ledger.workspaceID)
        parameters.append(text: ledger.importID)
        parameters.append(sequences)
        for text in texts[..<3] { parameters.append(text) }
        parameters.append(retryable)
        parameters.append(texts[3])
        try connection.enqueue(prepared: "import_add_failures", parameters)
    }

    /// Whether a transaction that wrote these entries was committed. It is over, and no later one of
    /// the lane has begun.
    ///
    /// - Parameter before: What the lane had decided of a call before.
    func wereCommitted(
        _ entries: [Entry], before: (ImportLedger) -> LaneProgress
    ) throws(PostgresError) -> Bool {
        // One that decided nothing changed nothing either, and may be run again.
        let telling = entries.first { $0.progress.decided != before($0.ledger).decided }
        guard let telling else { return false }
        var parameters = Parameters()
        parameters.append(int32: telling.ledger.workspaceID)
        parameters.append(text: telling.ledger.importID)
        parameters.append(int64: telling.ledger.call)
        parameters.append(int32: Int32(lane))
        let found = try connection.query(
            """
            SELECT decided_through, decided FROM import_progress
            WHERE workspace_id = $1 AND import_id = $2 AND call = $3 AND lane = $4
            """, parameters)
        guard found.rowCount == 1, let base = found.int64(0, 0), let bytes = found.bytes(0, 1)
        else {
            return false
        }
        return UInt64(base) == telling.progress.decided.base
            && [UInt8](bytes) == telling.progress.decided.bytes
    }

    /// Queues what is to be written; it is sent with what comes next. One of `fences` fails when
    /// nothing may be written of some of the calls.
    func write(_ entries: [Entry]) throws {
        guard !entries.isEmpty else { return }
        // In one order everywhere, so that lanes that make the same rows queue.
        let entries = entries.sorted {
            ($0.ledger.workspaceID, $0.ledger.importID) < (
                $1.ledger.workspaceID, $1.ledger.importID
            )
        }
        let new = entries.filter { !$0.ledger.isRecorded }
        if !new.isEmpty { try insert(new) }
        if new.count < entries.count { try fence(entries.filter { $0.ledger.isRecorded }) }
        try writeProgress(entries)
        for entry in entries { try writeFailures(of: entry) }
        for entry in entries where entry.ledger.isRecorded {
            if let ending = entry.ending { try end(entry.ledger, ending) }
        }
    }

    private func insert(_ entries: [Entry]) throws {
        var options = BinaryArray(of: .bytea)
        var calls = BinaryArray(of: .int64)
        var servers = BinaryArray(of: .int64)
        var states = BinaryArray(of: .int16)
        for entry in entries {
            options.append(entry.ledger.options.packed())
            calls.append(int64: entry.ledger.call)
            servers.append(int64: entry.ledger.server)
            states.append(int16: Int16((entry.ending ?? .running).rawValue))
        }
        var parameters = names(of: entries.map(\.ledger), counted: true)
        parameters.append(options)
        parameters.append(calls)
        parameters.append(servers)
        parameters.append(states)
        try connection.enqueue(prepared: Self.insert, parameters)
    }

    private func fence(_ entries: [Entry]) throws {
        try connection.enqueue(prepared: Self.fence, calls(of: entries.map(\.ledger)))
    }

    /// Of some calls those that another call of the same import has replaced.
    func takenOver(_ ledgers: [ImportLedger]) throws(PostgresError) -> [ImportLedger] {
        let found = try connection.query(
            """
            SELECT k.ord::int4, k.ord <= $2 FROM unnest($1::int4[], $3::text[], $4::int8[])
                WITH ORDINALITY AS k (workspace, id, call, ord)
            JOIN imports i ON i.workspace_id = k.workspace AND i.id = k.id AND i.call <> k.call
            """, calls(of: ledgers))
        return (0..<found.rowCount).compactMap { found.int32($0, 0).map { ledgers[Int($0) - 1] } }
    }

    private func calls(of ledgers: [ImportLedger]) -> Parameters {
        var calls = BinaryArray(of: .int64)
        for ledger in ledgers { calls.append(int64: ledger.call) }
        var parameters = names(of: ledgers, counted: true)
        parameters.append(calls)
        return parameters
    }

    private func writeProgress(_ entries: [Entry]) throws {
        var calls = BinaryArray(of: .int64)
        var bases = BinaryArray(of: .int64)
        var decided = BinaryArray(of: .bytea)
        var counts = BinaryArray(of: .text)
        for entry in entries {
            calls.append(int64: entry.ledger.call)
            bases.append(int64: Int64(clamping: entry.progress.decided.base))
            decided.append(entry.progress.decided.bytes)
            counts.append(text: entry.progress.counts.text)
        }
        var parameters = names(of: entries.map(\.ledger), counted: false)
        parameters.append(calls)
        parameters.append(bases)
        parameters.append(decided)
        parameters.append(counts)
        parameters.append(int32: Int32(lane))
        try connection.enqueue(prepared: "import_progress", parameters)
    }

    private func end(_ ledger: ImportLedger, _ state: ImportState) throws {
        var parameters = Parameters()
        parameters.append(int32: ledger.workspaceID)
        parameters.append(text: ledger.importID)
        parameters.append(int16: Int16(state.rawValue))
        parameters.append(int64: ledger.call)
        try connection.enqueue(prepared: "import_end", parameters)
    }

    /// The workspaces, then their number if it is asked for, and the ids.
    private func names(of ledgers: [ImportLedger], counted: Bool) -> Parameters {
        var workspaces = BinaryArray(of: .int32)
        var ids = BinaryArray(of: .text)
        for ledger in ledgers {
            workspaces.append(int32: ledger.workspaceID)
            ids.append(text: ledger.importID)
        }
        var parameters = Parameters()
        parameters.append(workspaces)
        if counted { parameters.append(int64: Int64(ledgers.count)) }
        parameters.append(ids)
        return parameters
    }
}
