// Look-ups for callers: one thread with one connection, beside the lanes.
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
}

final class Reader: Sendable {
    private struct Job {
        /// Queries and completes; what it throws is for the reader.
        let run: @Sendable (Connection) throws -> Void
        let fail: @Sendable (ReaderError) -> Void
    }

    private struct State {
        var jobs: Deque<Job> = []
        var isClosed = false
    }

    /// Look-ups that may wait; each holds a caller's keys.
    static let waitingLimit = 1024
    /// How long look-ups wait for a database that is away; those that come later in the same
    /// absence are tried once.
    static let patience = Duration.seconds(30)

    private let condition = ConditionLock(value: false)
    private let state = NIOLockedValueBox(State())
    private let conninfo: String
    private let logger: Logger

    init(conninfo: String, logger: Logger) {
        self.conninfo = conninfo
        self.logger = logger
    }

    /// Runs a query; it is run again when the connection breaks.
    func read<Value: Sendable>(
        _ query: @escaping @Sendable (Connection) throws -> Value,
        completion: @escaping @Sendable (Result<Value, ReaderError>) -> Void
    ) {
        let job = Job(
            run: { completion(.success(try query($0))) }, fail: { completion(.failure($0)) })
        condition.lock()
        let isAccepted = state.withLockedValue { state in
            guard !state.isClosed, state.jobs.count < Self.waitingLimit else { return false }
            state.jobs.append(job)
            return true
        }
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
        var connection: Connection?
        var awaySince: ContinuousClock.Instant?
        while true {
            condition.lock(whenValue: true)
            let (job, goesOn) = state.withLockedValue { state in
                (state.jobs.popFirst(), state.isClosed || !state.jobs.isEmpty)
            }
            condition.unlock(withValue: goesOn)
            guard let job else { break }
            serve(job, &connection, &awaySince)
        }
        connection?.close()
    }

    private func serve(
        _ job: Job, _ connection: inout Connection?, _ awaySince: inout ContinuousClock.Instant?
    ) {
        var pause = Duration.milliseconds(50)
        while true {
            do {
                connection = reuse(connection)
                let open = try connection ?? connect()
                connection = open
                try job.run(open)
                awaySince = nil
                return
            } catch let error as PostgresError where error.isConnectionLoss || connection == nil {
                if awaySince == nil {
                    logger.warning(
                        "reader has no connection, trying again", metadata: ["error": "\(error)"])
                }
                connection?.close()
                connection = nil
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
            } catch is LookupTooLarge {
                return job.fail(.tooLarge)
            } catch {
                return job.fail(.refused(sqlstate: "?????"))
            }
        }
    }

    /// The connection that is open, if it still works.
    private func reuse(_ connection: Connection?) -> Connection? {
        guard let connection, connection.isHealthy else {
            connection?.close()
            return nil
        }
        return connection
    }

    private func connect() throws(PostgresError) -> Connection {
        try Connection(
            conninfo: conninfo, applicationName: "contactsd reader",
            settings: [("jit", "off"), ("statement_timeout", "60s"), ("timezone", "UTC")])
    }
}
