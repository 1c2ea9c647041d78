// Whether contacts can be committed now: a connection that looks once a second.
//
// In: a database. Out: a flag, for health checks. A thread of its own, since a look may block. Rows
// that are locked, or slow statements, change nothing here.

internal import Logging
internal import NIOConcurrencyHelpers
internal import Postgres
internal import Synchronization

final class DatabaseMonitor: Sendable {
    /// How long a database may take to answer before it counts as away.
    private static let patience = Duration.seconds(2)
    private static let interval = Duration.milliseconds(500)

    private let conninfo: String
    /// Held by the connection while it stands: a sign to others that this server lives.
    private let lock: Int64
    private let logger: Logger
    private let isWritable = Atomic(false)
    private let isStopped = Atomic(false)

    init(conninfo: String, lock: Int64, logger: Logger) {
        self.conninfo = conninfo
        self.lock = lock
        self.logger = logger
    }

    /// Whether the last look found a database that takes writes.
    var canCommit: Bool { isWritable.load(ordering: .relaxed) }

    func stop() { isStopped.store(true, ordering: .relaxed) }

    /// Looks until it is stopped. Runs on the monitor's thread.
    func run() {
        var connection: Connection?
        var holdsLock = false
        while !isStopped.load(ordering: .relaxed) {
            let canCommit = look(&connection, &holdsLock)
            if isWritable.exchange(canCommit, ordering: .relaxed) != canCommit {
                logger.notice(
                    canCommit ? "the database takes contacts" : "the database takes no contacts")
            }
            WorkerThread.sleep(Self.interval)
        }
        connection?.close()
    }

    private func look(_ connection: inout Connection?, _ holdsLock: inout Bool) -> Bool {
        do {
            let open = try connection ?? connect()
            connection = open
            // Until the database has noticed that an earlier connection is gone, that one holds it.
            if !holdsLock {
                holdsLock =
                    try open.query("SELECT pg_try_advisory_lock(\(lock))").bool(0, 0) ?? false
            }
            let result = try open.query(
                "SELECT NOT pg_is_in_recovery() AND NOT current_setting('transaction_read_only')::bool"
            )
            return result.bool(0, 0) ?? false
        } catch {
            connection?.close()
            connection = nil
            holdsLock = false
            return false
        }
    }

    private func connect() throws(PostgresError) -> Connection {
        let connection = try Connection(
            conninfo: conninfo, applicationName: "contactsd monitor", connectTimeoutSeconds: 2)
        connection.statementDeadline = Self.patience
        return connection
    }
}
