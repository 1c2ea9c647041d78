// Imports as they stand in the database: begun, gone on with, read.
//
// In: an import's id. Out: where it stands. Reader's thread.

package import Contacts
internal import Postgres

/// Why a call may not go on with an import.
package enum ImportRefusal: Sendable {
    /// The import was begun with another value of this option.
    case otherOption(String)
}

/// How a call of a named import begins.
package enum ImportStart: Sendable {
    /// - isKnown: Whether the import was there before.
    case begun(ImportLedger, isKnown: Bool)
    case refused(ImportRefusal)
    /// A transaction of an earlier call is under way; it ends soon, or stays waiting for a lock.
    case busy
}

enum Imports {
    /// Makes an import, or goes on with one, unless a transaction of an earlier call is under way.
    /// From here on, an earlier call of it writes no more.
    ///
    /// It may be run again after a broken connection, since each time it is another call.
    static func start(
        _ options: UpsertOptions, in workspace: Workspace, server: Int64, _ connection: Connection
    ) throws -> ImportStart {
        do {
            // Whoever holds the import's row is waited for elsewhere, not on this thread.
            return try connection.transaction(settings: "SET LOCAL lock_timeout = '100ms'") {
                try begin(options, workspace, server, connection)
            }
        } catch let error as PostgresError where error.sqlstate == "55P03" {
            return .busy
        }
    }

    private static func begin(
        _ options: UpsertOptions, _ workspace: Workspace, _ server: Int64, _ connection: Connection
    ) throws -> ImportStart {
        let call = Int64.random(in: .min ... .max)
        if try insert(options, workspace, call, server, connection) {
            return .begun(
                ImportLedger(
                    workspace: workspace, options: options, call: call, server: server,
                    isRecorded: true), isKnown: false)
        }
        if let refusal = try lock(options, workspace, connection) { return .refused(refusal) }
        try replace(options, workspace, call, server, connection)
        FailurePoint.beforeProgressIsRead.pass()
        let decided = try progress(options.importID, workspace, connection).decided
        let ledger = ImportLedger(
            workspace: workspace, options: options, call: call, server: server,
            isRecorded: true, decidedBefore: decided)
        return .begun(ledger, isKnown: true)
    }

    /// Whether an import of this id is there with other options; a dry run makes none.
    static func refusal(
        _ options: UpsertOptions, in workspace: Workspace, _ connection: Connection
    ) throws -> ImportRefusal? {
        let found = try connection.query(
            "SELECT options FROM imports WHERE workspace_id = $1 AND id = $2",
            key(options.importID, workspace))
        guard found.rowCount == 1, let packed = found.bytes(0, 0) else { return nil }
        return options.differing(from: try UpsertOptions(packed: packed)).map { .otherOption($0) }
    }

    /// Which of some lists the workspace does not have.
    static func unknownLists(
        _ lists: [Int64], in workspace: Workspace, _ connection: Connection
    ) throws -> [Int64] {
        var array = BinaryArray(of: .int64)
        for list in lists { array.append(int64: list) }
        var parameters = Parameters()
        parameters.append(int32: workspace.id)
        parameters.append(array)
        let found = try connection.query(
            """
            SELECT k.id FROM unnest($2::int8[]) AS k (id)
            WHERE NOT EXISTS (SELECT FROM lists l WHERE l.workspace_id = $1 AND l.id = k.id)
            """, parameters)
        return (0..<found.rowCount).compactMap { found.int64($0, 0) }
    }

    private static func insert(
        _ options: UpsertOptions, _ workspace: Workspace, _ call: Int64, _ server: Int64,
        _ connection: Connection
    ) throws -> Bool {
        let made = try connection.query(
            """
            INSERT INTO imports (workspace_id, id, options, call, server)
            VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING
            """, parameters(options, workspace, call, server))
        return made.affectedRowCount == 1
    }

    private static func replace(
        _ options: UpsertOptions, _ workspace: Workspace, _ call: Int64, _ server: Int64,
        _ connection: Connection
    ) throws {
        _ = try connection.query(
            """
            UPDATE imports SET options = $3, call = $4, server = $5, state = 1, updated_at = now()
            WHERE workspace_id = $1 AND id = $2
            """, parameters(options, workspace, call, server))
    }

    private static func parameters(
        _ options: UpsertOptions, _ workspace: Workspace, _ call: Int64, _ server: Int64
    ) -> Parameters {
        var parameters = Parameters()
        parameters.append(int32: workspace.id)
        parameters.append(text: options.importID)
        parameters.append(options.packed().span.bytes, as: .bytea)
        parameters.append(int64: call)
        parameters.append(int64: server)
        return parameters
    }

    private static func key(_ importID: String, _ workspace: Workspace) -> Parameters {
        var parameters = Parameters()
        parameters.append(int32: workspace.id)
        parameters.append(text: importID)
        return parameters
    }

    /// Running transactions of earlier calls hold the row FOR KEY SHARE.
    private static func lock(
        _ options: UpsertOptions, _ workspace: Workspace, _ connection: Connection
    ) throws -> ImportRefusal? {
        let found = try connection.query(
            "SELECT options FROM imports WHERE workspace_id = $1 AND id = $2 FOR UPDATE NOWAIT",
            key(options.importID, workspace))
        guard found.rowCount == 1, let packed = found.bytes(0, 0) else { throw LostRace() }
        return options.differing(from: try UpsertOptions(packed: packed)).map { .otherOption($0) }
    }

    private static func progress(
        _ importID: String, _ workspace: Workspace, _ connection: Connection
    ) throws -> Progress {
        try progress([importID], workspace, connection)[Array(importID.utf8)] ?? Progress()
    }

    /// What all calls of each import have decided, by the bytes of its id: to Swift, texts that only
    /// look the same are equal.
    private static func progress(
        _ importIDs: [String], _ workspace: Workspace, _ connection: Connection
    ) throws -> [[UInt8]: Progress] {
        var ids = BinaryArray(of: .text)
        for importID in importIDs { ids.append(text: importID) }
        var parameters = Parameters()
        parameters.append(int32: workspace.id)
        parameters.append(ids)
        let found = try connection.query(
            """
            SELECT p.import_id, p.decided_through, p.decided, p.counts::text
            FROM unnest($2::text[]) AS k (id)
            CROSS JOIN LATERAL (
                SELECT * FROM import_progress
                WHERE workspace_id = $1 AND import_id >= k.id AND import_id <= k.id
                ORDER BY import_id, call, lane LIMIT ALL OFFSET 0
            ) p
            """, parameters)
        var all: [[UInt8]: Progress] = [:]
        for row in 0..<found.rowCount {
            let decided = SequenceSet(
                through: UInt64(found.int64(row, 1) ?? 0), bytes: found.bytes(row, 2) ?? [])
            let counts = integers(found.text(row, 3) ?? "")
            all[found.bytes(row, 0) ?? [], default: Progress()].add(decided, counts)
        }
        return all
    }

    private struct Progress {
        var decided = SequenceSet()
        var counts = ImportCounts()

        mutating func add(_ decided: SequenceSet, _ counts: [Int64]) {
            self.decided.formUnion(decided)
            self.counts.add(counts)
        }
    }

    private static func integers(_ array: String) -> [Int64] {
        array.dropFirst().dropLast().split(separator: ",").compactMap { Int64($0) }
    }

    /// Marks an import whose last call this is as broken off, if it has not ended otherwise.
    static func interrupt(_ ledger: ImportLedger, _ connection: Connection) throws {
        var parameters = Parameters()
        parameters.append(int32: ledger.workspaceID)
        parameters.append(text: ledger.importID)
        parameters.append(int64: ledger.call)
        _ = try connection.query(
            """
            UPDATE imports SET state = 2
            WHERE workspace_id = $1 AND id = $2 AND call = $3 AND state = 1
            """, parameters)
    }

    // MARK: Reading

    /// Which calls are alive: those of this server are known, those of others by a lock that their
    /// servers hold.
    struct Liveness {
        let server: Int64
        let calls: LiveImports
    }

    static func find(
        _ importID: String, in workspace: Workspace, _ liveness: Liveness, _ connection: Connection
    ) throws -> Import? {
        let found = try connection.query(
            "SELECT \(columns) FROM imports i WHERE workspace_id = $1 AND id = $2",
            key(importID, workspace))
        guard found.rowCount == 1 else { return nil }
        let progress = try progress(importID, workspace, connection)
        return try read(found, 0, progress, workspace, liveness)
    }

    /// A page of imports, the latest first.
    ///
    /// - Parameter after: The last import of the page before.
    static func list(
        _ count: Int, after: ImportPlace?, in workspace: Workspace, _ liveness: Liveness,
        _ connection: Connection
    ) throws -> ImportList {
        var parameters = Parameters()
        parameters.append(int32: workspace.id)
        parameters.append(int64: Int64(count) + 1)
        parameters.append(timestamptz: after?.createdAt ?? .max)
        parameters.append(text: after?.importID ?? "")
        let found = try connection.query(
            """
            SELECT \(columns) FROM imports i
            WHERE workspace_id = $1 AND (created_at, id) < ($3, $4)
            ORDER BY created_at DESC, id DESC LIMIT $2
            """, parameters)
        var list = ImportList()
        let ids = (0..<found.rowCount).map { found.text($0, 0) ?? "" }
        let progress = try progress(ids, workspace, connection)
        var byteCount = 0
        for row in 0..<min(found.rowCount, count) where byteCount < ImportList.byteLimit {
            byteCount += found.byteCount(row, 1) + ImportList.otherByteCount
            list.imports.append(
                try read(
                    found, row, progress[Array(ids[row].utf8)] ?? Progress(), workspace,
                    liveness))
        }
        list.hasMore = list.imports.count < found.rowCount
        return list
    }

    private static let columns = """
        i.id, i.options, i.state, EXISTS (
            SELECT FROM pg_locks l
            WHERE l.locktype = 'advisory' AND l.objsubid = 1
                AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND l.classid::bigint << 32 | l.objid::bigint = i.server),
        (extract(epoch FROM i.created_at) * 1000000)::int8,
        (extract(epoch FROM greatest(i.updated_at, (
            SELECT max(p.updated_at) FROM import_progress p
            WHERE p.workspace_id = i.workspace_id AND p.import_id = i.id))) * 1000000)::int8,
        i.server, i.call
        """

    private static func read(
        _ found: QueryResult, _ row: Int, _ progress: Progress, _ workspace: Workspace,
        _ liveness: Liveness
    ) throws -> Import {
        let importID = found.text(row, 0) ?? ""
        var state = ImportState(rawValue: UInt8(clamping: found.int16(row, 2) ?? 0)) ?? .interrupted
        let isAlive =
            found.int64(row, 6) == liveness.server
            ? liveness.calls.contains(found.int64(row, 7) ?? 0, of: importID, in: workspace)
            : found.bool(row, 3) ?? false
        if state == .running, !isAlive { state = .interrupted }
        return Import(
            importID: importID, state: state,
            summary: progress.counts.summary(committedThrough: progress.decided.through),
            options: try UpsertOptions(packed: found.bytes(row, 1) ?? []),
            createdAt: Timestamp(microseconds: found.int64(row, 4) ?? 0),
            updatedAt: Timestamp(microseconds: found.int64(row, 5) ?? 0))
    }
}

/// A page of imports.
package struct ImportList: Sendable {
    package fileprivate(set) var imports: [Import] = []
    package fileprivate(set) var hasMore = false

    /// gRPC clients take messages of 4 MiB; a page ends early before it gets there.
    package static let byteLimit = 2 * 1024 * 1024
    /// What an import has beside its options: its name, counts, times.
    fileprivate static let otherByteCount = 1024
}

/// Where a page of imports ended.
package struct ImportPlace: Sendable, Equatable {
    /// Microseconds since 2000.
    let createdAt: Int64
    let importID: String

    /// The place of an import.
    package init(_ value: Import) {
        createdAt =
            (value.createdAt.seconds - Self.secondsTo2000) * 1_000_000
            + Int64(value.createdAt.nanoseconds / 1000)
        importID = value.importID
    }

    /// Reads what `token` gave.
    package init?(token: String) {
        let parts = token.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, let time = Int64(parts[0]), Self.times.contains(time),
            !parts[1].contains("\0")
        else { return nil }
        createdAt = time
        importID = String(parts[1])
    }

    /// For callers, who give it back for the next page.
    package var token: String { "\(createdAt):\(importID)" }

    /// What a `timestamptz` can be (PostgreSQL 15, src/include/datatype/timestamp.h).
    static let times: Range<Int64> = -211_813_488_000_000_000..<9_223_371_331_200_000_000
    /// From 1970.
    private static let secondsTo2000: Int64 = 946_684_800
}

extension Connection {
    /// Runs a closure in a transaction; what it throws rolls back.
    func transaction<Value>(settings: String, _ body: () throws -> Value) throws -> Value {
        try execute("BEGIN; \(settings)")
        do {
            let value = try body()
            try execute("COMMIT")
            return value
        } catch {
            try? execute("ROLLBACK")
            throw error
        }
    }
}
