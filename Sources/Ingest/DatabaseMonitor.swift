// Whether contacts can be committed now: a connection that looks twice a second.
//
// In: a database, and word of writes that it refused. Out: a flag, for health checks. A thread of
// its own, since a look may block. Rows that are locked, or slow statements, change nothing here.
//
// A database that is not there when the server starts is made ready here, as soon as it is.

internal import Logging
internal import Postgres
internal import Synchronization

final class DatabaseMonitor: Sendable {
    /// How long a database may take to answer before it counts as away.
    private static let patience = Duration.seconds(1)
    private static let interval = Duration.milliseconds(500)
    /// Between two tries to connect: doubled, with jitter.
    private static let pauses = Duration.milliseconds(100)...Duration.milliseconds(1500)

    private let conninfo: String
    /// Held by the connection while it stands: a sign to others that this server lives.
    private let lock: Int64
    private let prepare: (@Sendable (Connection) throws -> Void)?
    private let logger: Logger
    private let isReady: Atomic<Bool>
    private let isWritable = Atomic(false)
    private let isRefusing = Atomic(false)
    private let isStopped = Atomic(false)
    private let wakeUp = WakeUp()

    /// - Parameter prepare: Run once before the first contact is taken, such as a migration; `nil`:
    ///   the database is ready.
    init(
        conninfo: String, lock: Int64, prepare: (@Sendable (Connection) throws -> Void)?,
        logger: Logger
    ) {
        self.conninfo = conninfo
        self.lock = lock
        self.prepare = prepare
        self.logger = logger
        isReady = Atomic(prepare == nil)
    }

    /// Whether the last look found a database that takes writes, and none was refused since.
    var canCommit: Bool {
        isWritable.load(ordering: .relaxed) && !isRefusing.load(ordering: .relaxed)
    }

    /// Whether the database was prepared. Before that nothing may be asked of it.
    var wasPrepared: Bool { isReady.load(ordering: .acquiring) }

    /// A write was refused for a reason that concerns all of them, such as a full disk. Until one
    /// succeeds that is tried here, nothing can be committed.
    func refusedWrite() {
        isRefusing.store(true, ordering: .relaxed)
    }

    func stop() {
        isStopped.store(true, ordering: .relaxed)
        wakeUp.signal()
    }

    /// Looks until it is stopped. Runs on the monitor's thread.
    func run() {
        var look = Look()
        var told: (canCommit: Bool, reason: String?)?
        while !isStopped.load(ordering: .relaxed) {
            let reason = self.reason(&look)
            isWritable.store(reason == nil, ordering: .relaxed)
            if told == nil || told?.canCommit != (reason == nil) || told?.reason != reason {
                tell(reason)
                told = (reason == nil, reason)
            }
            wakeUp.wait(atMost: look.connection == nil ? look.nextPause() : Self.interval)
        }
        look.connection?.close()
    }

    private func tell(_ reason: String?) {
        if let reason {
            logger.warning("the database takes no contacts", metadata: ["reason": "\(reason)"])
        } else {
            logger.notice("the database takes contacts")
        }
    }

    /// What is kept from look to look.
    private struct Look {
        var connection: Connection?
        var holdsLock = false
        private var pause = pauses.lowerBound

        mutating func nextPause() -> Duration {
            defer { pause = min(pause * 2, pauses.upperBound) }
            return pause * Double.random(in: 0.5...1)
        }

        mutating func opened(_ connection: Connection) {
            self.connection = connection
            pause = pauses.lowerBound
        }

        mutating func close() {
            connection?.close()
            connection = nil
            holdsLock = false
        }
    }

    /// Why nothing can be committed; `nil` if contacts can.
    private func reason(_ look: inout Look) -> String? {
        do {
            if look.connection == nil { look.opened(try connect()) }
            guard let connection = look.connection else { return nil }
            try prepareOnce(connection)
            // Until the database has noticed that an earlier connection is gone, that one holds it.
            if !look.holdsLock {
                look.holdsLock =
                    try connection.query("SELECT pg_try_advisory_lock(\(lock))").bool(0, 0) ?? false
            }
            guard try Self.takesWrites(connection) else {
                // Of several hosts another may be the one that does.
                look.close()
                return "it is read-only"
            }
            if isRefusing.load(ordering: .relaxed) { try probe(connection) }
            return nil
        } catch {
            look.close()
            return "\(error)"
        }
    }

    private func prepareOnce(_ connection: Connection) throws {
        guard let prepare, !wasPrepared else { return }
        // A migration may rewrite tables, or wait for that of another server.
        connection.statementDeadline = .seconds(3600)
        try prepare(connection)
        connection.statementDeadline = Self.patience
        isReady.store(true, ordering: .releasing)
    }

    private static func takesWrites(_ connection: Connection) throws(PostgresError) -> Bool {
        let found = try connection.query(
            "SELECT NOT pg_is_in_recovery() AND NOT current_setting('transaction_read_only')::bool")
        return found.bool(0, 0) ?? false
    }

    /// Writes something that needs room on the disk, and leaves nothing behind.
    private func probe(_ connection: Connection) throws(PostgresError) {
        do throws(PostgresError) {
            try connection.execute(
                """
                BEGIN;
                CREATE TEMPORARY TABLE contactsd_probe ON COMMIT DROP AS
                    SELECT repeat('x', 1000) FROM generate_series(1, 2000);
                COMMIT
                """)
        } catch  where error.sqlstate == "42501" {
            // No right to temporary tables: only contacts can tell.
        }
        isRefusing.store(false, ordering: .relaxed)
    }

    private func connect() throws(PostgresError) -> Connection {
        let connection = try Connection(
            conninfo: conninfo, applicationName: "contactsd monitor", connectTimeout: Self.patience)
        connection.statementDeadline = Self.patience
        return connection
    }
}
