// The imports' part of a transaction: what it decided is written with it.
//
// In: the progress of the calls whose contacts a transaction has. Out: their rows, or the calls
// that another call of the same import has replaced. One lane's thread.

internal import Contacts
internal import Postgres

/// Another call goes on with some of the imports.
struct TakenOver: Error {
    let ledgers: [ImportLedger]
}

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
        try connection.prepare("import_insert", Self.insertImports)
        try connection.prepare("import_fence", Self.fence)
        try connection.prepare("import_progress", Self.insertProgress)
        try connection.prepare("import_end", Self.end)
        try connection.prepare("import_failures", Self.findFailures)
    }

    private static let insertImports = """
        INSERT INTO imports (workspace_id, id, options, call, server, state)
        SELECT * FROM unnest(
            $1::int4[], $2::text[], $3::bytea[], $4::int8[], $5::int8[], $6::int2[])
        ON CONFLICT DO NOTHING
        """

    /// The imports whose last call is the one named; they stay so until the COMMIT. For why it is
    /// written so see `ContactUpsert.lookUp`.
    static let fence = """
        SELECT k.ord::int4
        FROM unnest($1::int4[], $2::text[], $3::int8[]) WITH ORDINALITY AS k (workspace, id, call, ord)
        CROSS JOIN LATERAL (
            SELECT call FROM imports
            WHERE workspace_id = k.workspace AND id >= k.id AND id <= k.id
            ORDER BY id LIMIT 1 FOR KEY SHARE
        ) i
        WHERE i.call = k.call
        """

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

    private func writeFailures(_ entries: [Entry]) throws {
        guard !entries.isEmpty else { return }
        var copy = try connection.copyIn(
            """
            COPY import_failures (workspace_id, import_id, sequence, reason, field, message, \
            retryable, conflicting_id) FROM STDIN (FORMAT binary)
            """)
        var rows = CopyRows()
        for entry in entries {
            for (sequence, error) in entry.failures {
                rows.begin(columnCount: 8)
                rows.field(entry.ledger.workspaceID)
                rows.text(entry.ledger.importID)
                rows.field(Int64(clamping: sequence))
                rows.text(error.reasonText)
                rows.text(error.field)
                rows.text(error.message)
                rows.field(UInt8(error.retryable ? 1 : 0))
                rows.text(error.conflictingID)
                try copy.writeIfFull(&rows.bytes)
            }
        }
        try copy.finish(&rows.bytes)
    }

    /// - Throws: `TakenOver` when nothing may be written of some of the calls.
    func write(_ entries: [Entry]) throws {
        guard !entries.isEmpty else { return }
        // In one order everywhere, so that lanes that make the same rows queue.
        let entries = entries.sorted {
            ($0.ledger.workspaceID, $0.ledger.importID) < (
                $1.ledger.workspaceID, $1.ledger.importID
            )
        }
        let new = entries.filter { !$0.ledger.isRecorded }
        let made = try insert(new)
        if made < entries.count { try checkFence(entries) }
        try writeProgress(entries)
        try writeFailures(entries.filter { !$0.failures.isEmpty })
        for entry in entries where entry.ledger.isRecorded || made < new.count {
            if let ending = entry.ending { try end(entry.ledger, ending) }
        }
    }

    /// - Returns: How many imports were not there.
    private func insert(_ entries: [Entry]) throws -> Int {
        guard !entries.isEmpty else { return 0 }
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
        var parameters = names(of: entries)
        parameters.append(options)
        parameters.append(calls)
        parameters.append(servers)
        parameters.append(states)
        return try connection.execute(prepared: "import_insert", parameters).affectedRowCount
    }

    private func checkFence(_ entries: [Entry]) throws {
        var calls = BinaryArray(of: .int64)
        for entry in entries { calls.append(int64: entry.ledger.call) }
        var parameters = names(of: entries)
        parameters.append(calls)
        let found = try connection.execute(prepared: "import_fence", parameters)
        guard found.rowCount < entries.count else { return }
        let standing = Set((0..<found.rowCount).compactMap { found.int32($0, 0) })
        throw TakenOver(
            ledgers: entries.enumerated().filter { !standing.contains(Int32($0.offset + 1)) }
                .map(\.element.ledger))
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
        var parameters = names(of: entries)
        parameters.append(calls)
        parameters.append(bases)
        parameters.append(decided)
        parameters.append(counts)
        parameters.append(int32: Int32(lane))
        _ = try connection.execute(prepared: "import_progress", parameters)
    }

    private func end(_ ledger: ImportLedger, _ state: ImportState) throws {
        var parameters = Parameters()
        parameters.append(int32: ledger.workspaceID)
        parameters.append(text: ledger.importID)
        parameters.append(int16: Int16(state.rawValue))
        parameters.append(int64: ledger.call)
        _ = try connection.execute(prepared: "import_end", parameters)
    }

    private func names(of entries: [Entry]) -> Parameters {
        var workspaces = BinaryArray(of: .int32)
        var ids = BinaryArray(of: .text)
        for entry in entries {
            workspaces.append(int32: entry.ledger.workspaceID)
            ids.append(text: entry.ledger.importID)
        }
        var parameters = Parameters()
        parameters.append(workspaces)
        parameters.append(ids)
        return parameters
    }
}
