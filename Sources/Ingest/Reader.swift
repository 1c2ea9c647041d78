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
    private typealias Job = @Sendable (Result<Connection, ReaderError>) -> Connection?

    private struct State {
        var jobs: Deque<Job> = []
        var isClosed = false
    }

    /// Look-ups that may wait; each holds a caller's keys.
    static let waitingLimit = 1024

    private let condition = ConditionLock(value: false)
    private let state = NIOLockedValueBox(State())
    private let conninfo: String
    private let logger: Logger

    init(conninfo: String, logger: Logger) {
        self.conninfo = conninfo
        self.logger = logger
    }

    /// Runs a query; a connection that broke is opened again once.
    func read<Value: Sendable>(
        _ query: @escaping @Sendable (Connection) throws -> Value,
        completion: @escaping @Sendable (Result<Value, ReaderError>) -> Void
    ) {
        let isAccepted = enqueue { connection in
            switch connection {
            case .failure(let error):
                completion(.failure(error))
                return nil
            case .success(let connection):
                return Self.run(query, connection, completion)
            }
        }
        if !isAccepted { completion(.failure(.overloaded)) }
    }

    private func enqueue(_ job: @escaping Job) -> Bool {
        condition.lock()
        let isAccepted = state.withLockedValue { state in
            guard !state.isClosed, state.jobs.count < Self.waitingLimit else { return false }
            state.jobs.append(job)
            return true
        }
        condition.unlock(withValue: true)
        return isAccepted
    }

    private static func run<Value>(
        _ query: (Connection) throws -> Value, _ connection: Connection,
        _ completion: (Result<Value, ReaderError>) -> Void
    ) -> Connection? {
        do {
            completion(.success(try query(connection)))
            return connection
        } catch let error as PostgresError where error.isConnectionLoss {
            completion(.failure(.databaseAway))
        } catch let error as PostgresError {
            completion(.failure(.refused(sqlstate: error.sqlstate ?? "?????")))
            if connection.isHealthy { return connection }
        } catch is LookupTooLarge {
            completion(.failure(.tooLarge))
            return connection
        } catch {
            completion(.failure(.refused(sqlstate: "?????")))
        }
        connection.close()
        return nil
    }

    func close() {
        condition.lock()
        state.withLockedValue { $0.isClosed = true }
        condition.unlock(withValue: true)
    }

    /// Serves look-ups until it is closed. Runs on the reader's thread.
    func run() {
        var connection: Connection?
        while true {
            condition.lock(whenValue: true)
            let (job, isClosed) = state.withLockedValue { ($0.jobs.popFirst(), $0.isClosed) }
            condition.unlock(withValue: isClosed || state.withLockedValue { !$0.jobs.isEmpty })
            guard let job else { break }
            if let open = connection, !open.isHealthy {
                open.close()
                connection = nil
            }
            connection = job(open(connection))
        }
        connection?.close()
    }

    private func open(_ connection: Connection?) -> Result<Connection, ReaderError> {
        if let connection { return .success(connection) }
        do throws(PostgresError) {
            return .success(
                try Connection(
                    conninfo: conninfo, applicationName: "contactsd reader",
                    settings: [("jit", "off"), ("statement_timeout", "60s"), ("timezone", "UTC")]))
        } catch {
            logger.warning("reader has no connection", metadata: ["error": "\(error)"])
            return .failure(.databaseAway)
        }
    }
}
