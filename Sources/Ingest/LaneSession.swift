// A lane's session in the database, and what became of one whose line broke.
//
// In: the number of a session, and another connection to the same database. Out: whether it is over,
// so that what it wrote is written or never will be. One lane's thread.
//
// A session holds an advisory lock of its own for as long as it lives. Neither the process id of its
// backend nor a transaction id would do: both are handed out again after a crash.
// https://www.postgresql.org/docs/15/explicit-locking.html#ADVISORY-LOCKS

internal import Postgres

struct LaneSession {
    let number: Int64

    /// Begins the session of a connection that was just opened.
    init(of connection: Connection) throws(PostgresError) {
        number = .random(in: 0 ... .max)
        _ = try connection.query("SELECT pg_advisory_lock(\(number))")
    }

    /// The backend, if it lives.
    private var holder: String {
        """
        SELECT a.pid, a.wait_event_type IS NOT DISTINCT FROM 'Lock' AS waits,
            a.wait_event IS NOT DISTINCT FROM 'ClientRead'
                AND a.state_change < now() - interval '1 second' AS idle
        FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
        WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
            AND (l.classid::int8 << 32 | l.objid::int8) = \(number)
            AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        """
    }

    /// Whether it is over, or waits for us, and not just since its last answer: what we wait for will
    /// not come. (Amid a pipeline a backend that waits for us counts as active.)
    func isOverOrIdle(_ connection: Connection) throws(PostgresError) -> Bool {
        let found = try connection.query("SELECT bool_and(idle) FROM (\(holder)) h")
        return found.bool(0, 0) ?? true
    }

    /// Whether it is over. One that would not end by itself is ended: it waits for us, or for a
    /// lock. One that is at its COMMIT is left alone.
    func end(_ connection: Connection) throws(PostgresError) -> Bool {
        _ = try connection.query(
            "SELECT pg_terminate_backend(pid) FROM (\(holder)) h WHERE idle OR waits")
        // The end of the statement gives the lock back.
        let free = try connection.query("SELECT pg_try_advisory_xact_lock(\(number))")
        return free.bool(0, 0) ?? false
    }
}
