// Removes what nobody may see any more: expired events, members of lists that are gone, and imports
// with which nobody has gone on for a while.
//
// In: nothing; it looks once a minute. Out: rows removed, in short transactions. A thread of its
// own with a connection of its own. Of several servers on one database one sweeps at a time.
//
// Of a workspace's events only a prefix goes, up to the first that is not expired, so that a watcher
// never finds a gap; event_offsets says how far, in the same transaction.

internal import Logging
internal import Postgres
internal import Synchronization

final class Sweeper: Sendable {
    /// Rows that one transaction removes: about 50 ms.
    static let chunk = 10_000
    /// Imports that one transaction removes, with their progress and failures.
    static let importChunk = 1000

    private let interval: Duration
    private let conninfo: String
    private let logger: Logger
    private let isStopped = Atomic(false)
    private let wakeUp = WakeUp()

    init(conninfo: String, interval: Duration, logger: Logger) {
        self.conninfo = conninfo
        self.interval = interval
        self.logger = logger
    }

    func stop() {
        isStopped.store(true, ordering: .relaxed)
        wakeUp.signal()
    }

    /// Sweeps until it is stopped. Runs on the sweeper's thread.
    func run() {
        while !isStopped.load(ordering: .relaxed) {
            wakeUp.wait(atMost: interval)
            guard !isStopped.load(ordering: .relaxed) else { return }
            do {
                try sweep()
            } catch {
                logger.warning("nothing swept, trying again", metadata: ["error": "\(error)"])
            }
        }
    }

    /// A connection for each round: one that stays open for a minute's rest is of no use.
    private func sweep() throws {
        let connection = try Connection(
            conninfo: conninfo, applicationName: "contactsd sweeper", settings: Reader.settings,
            connectTimeout: .seconds(5))
        defer { connection.close() }
        let lock = try connection.query("SELECT pg_try_advisory_lock(\(Self.lock))")
        guard lock.bool(0, 0) == true else { return }
        for workspace in try Self.workspacesWithEvents(connection) {
            while !isStopped.load(ordering: .relaxed),
                try Self.removeExpired(of: workspace, connection)
            {}
        }
        for workspace in try Self.workspaces(connection) {
            while !isStopped.load(ordering: .relaxed),
                try Self.forgetImports(of: workspace, connection)
            {}
        }
        for (workspace, list) in try Self.listsThatAreGone(connection) {
            while !isStopped.load(ordering: .relaxed),
                try Lists.removeMembers(of: list, in: workspace, connection)
            {}
        }
    }

    /// "sweeping" in ASCII.
    private static let lock: Int64 = 0x7377_6565_7069_6E67

    private static func workspaces(_ connection: Connection) throws -> [Int32] {
        let found = try connection.query("SELECT id FROM workspaces ORDER BY id")
        return (0..<found.rowCount).compactMap { found.int32($0, 0) }
    }

    /// Removes a part of the imports that are neither live nor were gone on with lately. Whoever goes
    /// on with one afterwards begins a new one of that name.
    ///
    /// - Returns: Whether there may be more.
    static func forgetImports(of workspace: Int32, _ connection: Connection) throws -> Bool {
        var parameters = Parameters()
        parameters.append(int32: workspace)
        let found = try connection.query(forgetQuery, parameters)
        return found.int64(0, 0) == Int64(importChunk)
    }

    /// A call that goes on with an import changes its row first, so one that does so meanwhile is
    /// passed over, or finds nothing and makes the import anew.
    static let forgetQuery = """
        WITH alive AS MATERIALIZED (
            SELECT l.classid::bigint << 32 | l.objid::bigint AS server FROM pg_locks l
            WHERE l.locktype = 'advisory' AND l.objsubid = 1
                AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        ), past AS MATERIALIZED (
            SELECT now() - import_retention AS time FROM workspaces WHERE id = $1
        ), old AS MATERIALIZED (
            SELECT i.id FROM imports i
            WHERE i.workspace_id = $1 AND i.created_at < (SELECT time FROM past)
                AND i.updated_at < (SELECT time FROM past)
                AND NOT EXISTS (
                    SELECT FROM import_progress p
                    WHERE p.workspace_id = $1 AND p.import_id = i.id
                        AND p.updated_at >= (SELECT time FROM past))
                AND NOT (i.state = 1 AND i.server IN (SELECT server FROM alive))
            ORDER BY i.created_at, i.id LIMIT \(importChunk) FOR UPDATE SKIP LOCKED
        ), progress AS (
            DELETE FROM import_progress p USING old
            WHERE p.workspace_id = $1 AND p.import_id = old.id
        ), failures AS (
            DELETE FROM import_failures f USING old
            WHERE f.workspace_id = $1 AND f.import_id = old.id
        ), gone AS (
            DELETE FROM imports i USING old
            WHERE i.workspace_id = $1 AND i.id = old.id RETURNING 1
        )
        SELECT count(*) FROM gone
        """

    private static func workspacesWithEvents(_ connection: Connection) throws -> [Int32] {
        let found = try connection.query("SELECT workspace_id FROM event_offsets")
        return (0..<found.rowCount).compactMap { found.int32($0, 0) }
    }

    /// Removes a part of what has expired.
    ///
    /// - Returns: Whether there may be more.
    static func removeExpired(of workspace: Int32, _ connection: Connection) throws -> Bool {
        var parameters = Parameters()
        parameters.append(int32: workspace)
        // Most of the time the oldest event has not expired, which one row tells.
        guard try connection.query(oldestQuery, parameters).rowCount > 0 else { return false }
        let found = try connection.query(prefixQuery, parameters)
        guard let end = found.int64(0, 0), let count = found.int64(0, 1) else { return false }
        parameters.append(int64: end)
        _ = try connection.commit { connection in
            _ = try connection.query(removeQuery, parameters)
            // Last, since writers wait for this row.
            return try connection.query(
                """
                UPDATE event_offsets SET removed_through = greatest(removed_through, $2)
                WHERE workspace_id = $1
                """, parameters)
        }
        return count == chunk
    }

    static let oldestQuery = """
        SELECT 1 FROM (
            SELECT occurred_at FROM events WHERE workspace_id = $1 ORDER BY event_offset LIMIT 1
        ) e WHERE \(hasExpired)
        """

    static let prefixQuery = """
        SELECT max(event_offset), count(*) FROM (
            SELECT event_offset, bool_and(\(hasExpired)) OVER (ROWS UNBOUNDED PRECEDING) AS is_gone
            FROM (
                SELECT event_offset, occurred_at FROM events WHERE workspace_id = $1
                ORDER BY event_offset LIMIT \(chunk)
            ) e
        ) e WHERE is_gone
        """

    static let removeQuery = "DELETE FROM events WHERE workspace_id = $1 AND event_offset <= $2"

    private static let hasExpired = """
        e.occurred_at < now() - (SELECT event_retention FROM workspaces WHERE id = $1)
        """

    /// One probe for each list that has members.
    private static func listsThatAreGone(
        _ connection: Connection
    ) throws -> [(workspace: Int32, list: Int64)] {
        let found = try connection.query(goneQuery)
        return (0..<found.rowCount).compactMap { row in
            guard let workspace = found.int32(row, 0), let list = found.int64(row, 1) else {
                return nil
            }
            return (workspace, list)
        }
    }

    static let goneQuery = """
        WITH RECURSIVE found AS (
            (SELECT workspace_id, list_id FROM list_members
                ORDER BY workspace_id, list_id LIMIT 1)
            UNION ALL
            SELECT n.workspace_id, n.list_id FROM found f
            CROSS JOIN LATERAL (
                SELECT m.workspace_id, m.list_id FROM list_members m
                WHERE (m.workspace_id, m.list_id) > (f.workspace_id, f.list_id)
                ORDER BY m.workspace_id, m.list_id LIMIT 1
            ) n
        )
        SELECT workspace_id, list_id FROM found f
        WHERE (
            SELECT l.id FROM lists l
            WHERE l.workspace_id = f.workspace_id AND l.id >= f.list_id AND l.id <= f.list_id
            ORDER BY l.id LIMIT 1
        ) IS NULL
        """
}
