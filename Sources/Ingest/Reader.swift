// Queries for callers: one thread with one connection, beside the lanes. The engine has one for
// look-ups, one for what is read in pages, and one for writes beside those of contacts, which may
// wait for locks.
//
// In: queries as closures. Out: what they return, to a completion called on the reader's thread.

internal import Postgres
internal import DequeModule
internal import Logging
internal import NIOConcurrencyHelpers

/// Why a look-up gave nothing.
package enum ReaderError: Error {
    /// No connection to the database.
    case databaseAway
    /// The database refused the query.
    case refused(sqlstate: String)
    /// Too many look-ups wait.
    case overloaded
    /// The answer would be too large for a message.
    case tooLarge
    /// The connection broke while a write was committed: it was made or it was not.
    case outcomeUnknown
}

/// The connection broke while COMMIT was under way.
struct CommitBroken: Error {}

final class Reader: Sendable {
    private struct Job {
        let workspaceID: Int32?
        let byteCount: Int
        /// Queries and completes; what it throws is for the reader.
        let run: @Sendable (Connection) throws -> Void
        let fail: @Sendable (ReaderError) -> Void
    }

    private struct State {
        var jobs: Deque<Job> = []
        /// Of `jobs`.
        var byteCount = 0
        /// Those that come before the others.
        var briefJobs: Deque<Job> = []
        var isClosed = false

        mutating func add(_ job: Job, isBrief: Bool) -> Bool {
            if isClosed { return false }
            if isBrief {
                guard briefJobs.count < Reader.briefLimit else { return false }
                briefJobs.append(job)
                return true
            }
            guard jobs.count < Reader.waitingLimit,
                byteCount + job.byteCount <= Reader.waitingByteLimit
            else { return false }
            byteCount += job.byteCount
            jobs.append(job)
            return true
        }

        mutating func next() -> Job? {
            if let job = briefJobs.popFirst() { return job }
            guard let job = jobs.popFirst() else { return nil }
            byteCount -= job.byteCount
            return job
        }

        var isEmpty: Bool { jobs.isEmpty && briefJobs.isEmpty }
    }

    /// Look-ups that may wait.
    static let waitingLimit = 1024
    /// What these may hold of their callers' keys: some of the largest look-ups.
    static let waitingByteLimit = 16 * 1024 * 1024
    /// Look-ups of a workspace that may wait: one for each connection that there may be. They hold a
    /// name, and take a fraction of a millisecond.
    static let briefLimit = 4096
    /// How long look-ups wait for a database that is away; those that come later in the same
    /// absence are tried once.
    static let patience = Duration.seconds(30)
    private static let connectTimeout = Duration.seconds(3)

    /// A connection and whose rows it sees.
    private struct Open {
        let connection: Connection
        let security: RowSecurity
    }

    private let condition = ConditionLock(value: false)
    private let state = NIOLockedValueBox(State())
    private let conninfo: String
    private let name: String
    private let logger: Logger

    /// - Parameter name: For logs and the server's list of connections.
    init(conninfo: String, name: String = "reader", logger: Logger) {
        self.conninfo = conninfo
        self.name = name
        self.logger = logger
    }

    /// Runs a query, or a write by `commit`; it is run again when the connection breaks, unless that
    /// was while a write was committed.
    ///
    /// - Parameters:
    ///   - workspaceID: Whose rows it sees; `nil`: nobody's.
    ///   - byteCount: What the query holds while it waits.
    ///   - isBrief: It comes before those that are not, and however many of them wait.
    func read<Value: Sendable>(
        in workspaceID: Int32?, holding byteCount: Int = 0, isBrief: Bool = false,
        _ query: @escaping @Sendable (Connection) throws -> Value,
        completion: @escaping @Sendable (Result<Value, ReaderError>) -> Void
    ) {
        let job = Job(
            workspaceID: workspaceID, byteCount: byteCount,
            run: { completion(.success(try query($0))) }, fail: { completion(.failure($0)) })
        condition.lock()
        let isAccepted = state.withLockedValue { $0.add(job, isBrief: isBrief) }
        condition.unlock(withValue: true)
        if !isAccepted { completion(.failure(.overloaded)) }
    }

    func close() {
        condition.lock()
        state.withLockedValue { $0.isClosed = true }
        condition.unlock(withValue: true)
    }

    /// Serves look-ups until it is closed. Runs on the reader's thread.
    func run() {
        var open: Open?
        var awaySince: ContinuousClock.Instant?
        while true {
            condition.lock(whenValue: true)
            let (job, goesOn) = state.withLockedValue { state in
                (state.next(), state.isClosed || !state.isEmpty)
            }
            condition.unlock(withValue: goesOn)
            guard let job else { break }
            serve(job, &open, &awaySince)
        }
        open?.connection.close()
    }

    private func serve(
        _ job: Job, _ open: inout Open?, _ awaySince: inout ContinuousClock.Instant?
    ) {
        var pause = Duration.milliseconds(50)
        while true {
            do {
                open = reuse(open)
                let ready = try open ?? connect()
                open = ready
                try ready.security.enter(job.workspaceID.map { [$0] } ?? [])
                try job.run(ready.connection)
                awaySince = nil
                return
            } catch let error as PostgresError where error.isConnectionLoss || open == nil {
                if awaySince == nil {
                    logger.warning(
                        "\(name) has no connection, trying again", metadata: ["error": "\(error)"])
                }
                open?.connection.close()
                open = nil
                let since = awaySince ?? .now
                awaySince = since
                let isClosed = state.withLockedValue { $0.isClosed }
                guard ContinuousClock.now - since < Self.patience, !isClosed else {
                    return job.fail(.databaseAway)
                }
                WorkerThread.sleep(pause)
                pause = min(pause * 2, .seconds(1))
            } catch let error as PostgresError {
                return job.fail(.refused(sqlstate: error.sqlstate ?? "?????"))
            } catch is CommitBroken {
                return job.fail(.outcomeUnknown)
            } catch is LookupTooLarge {
                return job.fail(.tooLarge)
            } catch {
                return job.fail(.refused(sqlstate: "?????"))
            }
        }
    }

    /// The connection that is open, if it still works.
    private func reuse(_ open: Open?) -> Open? {
        guard let open, open.connection.isHealthy else {
            open?.connection.close()
            return nil
        }
        return open
    }

    private func connect() throws(PostgresError) -> Open {
        let connection = try Connection(
            conninfo: conninfo, applicationName: "contactsd \(name)", settings: Self.settings,
            connectTimeout: Self.connectTimeout)
        return Open(connection: connection, security: try RowSecurity(connection))
    }

    /// As on the lanes, every way but the index is switched off: the statements are written so that
    /// only one index has the order which they ask for. A write does not wait long for a lock.
    static let settings: [(String, String)] = [
        ("jit", "off"),
        ("enable_seqscan", "off"),
        ("enable_bitmapscan", "off"),
        ("enable_sort", "off"),
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
        ("synchronous_commit", "on"),
        ("statement_timeout", "60s"),
        ("lock_timeout", "5s"),
        ("idle_in_transaction_session_timeout", "30s"),
        ("timezone", "UTC"),
    ]
}

extension Connection {
    /// Runs statements as one transaction.
    ///
    /// - Parameter body: Its statements; `nil` rolls them back.
    /// - Throws: `CommitBroken`, after which nothing is known; after any other error nothing was
    ///   written.
    func commit<Value>(_ body: (Connection) throws -> Value?) throws -> Value? {
        try execute("BEGIN")
        let value: Value?
        do {
            value = try body(self)
        } catch {
            try? execute("ROLLBACK")
            throw error
        }
        guard let value else {
            try execute("ROLLBACK")
            return nil
        }
        do {
            try execute("COMMIT")
        } catch  where error.isConnectionLoss {
            throw CommitBroken()
        }
        return value
    }
}
