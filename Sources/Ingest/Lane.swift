// A lane: one thread, one connection, one transaction after another.
//
// In: blocks from the lane's queue. Out: the outcomes of each block, after the COMMIT of all its
// contacts. What may be tried again is tried again here, for a bounded time; what the database
// refuses is cut down by halves until the one contact that it refuses stands alone.

internal import Contacts
internal import Logging
internal import Postgres

/// Runs on the lane's thread; made there and never handed out.
struct Lane {
    /// How long a lane waits for a database that is away before it gives its blocks up. What comes
    /// later in the same absence is tried once.
    static let patience = Duration.seconds(30)
    /// Lost races and deadlocks before they count as a refusal. Each try holds more locks than the
    /// first, so that two are rare.
    static let raceLimit = 10

    let queue: LaneQueue
    let conninfo: String
    let number: Int
    let logger: Logger
    private let batch = UpsertBatch()
    private var upsert: (connection: Connection, statements: ContactUpsert)?
    private var awaySince: ContinuousClock.Instant?
    /// Items of a transaction; fewer once the contacts of a batch have proved to be large.
    private var sizeLimit = 0
    private var random = SystemRandomNumberGenerator()

    init(queue: LaneQueue, conninfo: String, number: Int, logger: Logger) {
        self.queue = queue
        self.conninfo = conninfo
        self.number = number
        self.logger = logger
    }

    /// Serves the queue until it is closed and empty.
    mutating func run() {
        while let works = queue.take() {
            batch.load(works)
            // The batch has the rows now; the blocks may go.
            let receipts = works.map { Receipt(count: $0.block.contactCount, deliver: $0.deliver) }
            sizeLimit = batch.items.count
            var failure: IngestFailure?
            var done = 0
            while done < batch.items.count, failure == nil {
                do throws(IngestFailure) {
                    done = try commit(done..<min(done + sizeLimit, batch.items.count))
                } catch {
                    failure = error
                }
            }
            deliver(receipts, decided: done, failure)
            batch.release()
        }
        upsert?.connection.close()
    }

    /// Whom to tell of how many items.
    private struct Receipt {
        let count: Int
        let deliver: @Sendable (BlockOutcome) -> Void
    }

    private func deliver(_ receipts: [Receipt], decided: Int, _ failure: IngestFailure?) {
        var first = 0
        for receipt in receipts {
            let end = first + receipt.count
            var outcome = BlockOutcome()
            let decidedEnd = min(end, max(decided, first))
            outcome.entries.reserveCapacity(decidedEnd - first)
            for index in first..<decidedEnd {
                let decision = batch.outcomes[index]
                outcome.entries.append(
                    .init(
                        sequence: batch.items[index].sequence, status: decision.status,
                        id: decision.id))
                if decision.status == .failed, let error = batch.errors[index] {
                    outcome.errors.append((index - first, error))
                }
            }
            if decidedEnd < end { outcome.failure = failure }
            receipt.deliver(outcome)
            first = end
        }
    }

    /// Commits some of the items from the front, at least one.
    ///
    /// - Returns: The end of those that are decided.
    private mutating func commit(_ range: Range<Int>) throws(IngestFailure) -> Int {
        var races = 0
        var pause = Duration.milliseconds(50)
        while true {
            let attempt = attempt(range, contended: races > 0)
            if case .away = attempt {} else { awaySince = nil }
            switch attempt {
            case .committed(let end):
                return end
            case .lostRace where races < Self.raceLimit:
                races += 1
                WorkerThread.sleep(
                    .milliseconds(Int.random(in: 1...(5 * races), using: &random)))
            case .lostRace, .refused:
                guard range.count > 1 else {
                    batch.reject(range.lowerBound, races: races >= Self.raceLimit)
                    return range.upperBound
                }
                return try commit(range.prefix(range.count / 2))
            case .tooLarge:
                sizeLimit = max(1, range.count / 2)
                return try commit(range.prefix(sizeLimit))
            case .outcomeUnknown:
                throw IngestFailure.outcomeUnknown
            case .away(let sqlstate):
                let since = awaySince ?? .now
                awaySince = since
                guard ContinuousClock.now - since < Self.patience, !queue.isClosed else {
                    if let sqlstate { throw IngestFailure.databaseRefuses(sqlstate: sqlstate) }
                    throw IngestFailure.databaseAway
                }
                WorkerThread.sleep(pause * Double.random(in: 0.5...1, using: &random))
                pause = min(pause * 2, .seconds(2))
            case .broken(let sqlstate):
                throw IngestFailure.databaseRefuses(sqlstate: sqlstate)
            }
        }
    }

    /// What one try of a transaction came to.
    private enum Attempt {
        case committed(end: Int)
        /// Another transaction was faster, or a deadlock was broken: try again at once.
        case lostRace
        /// The data is refused.
        case refused
        /// The contacts need more memory than a transaction has.
        case tooLarge
        /// The connection broke while COMMIT was under way.
        case outcomeUnknown
        /// No connection, or the database is full or read-only: try again later.
        case away(sqlstate: String?)
        /// Nothing that another try would change.
        case broken(sqlstate: String)
    }

    private mutating func attempt(_ range: Range<Int>, contended: Bool) -> Attempt {
        var isCommitting = false
        do {
            if upsert == nil { upsert = try connect() }
            guard var open = upsert else { return .away(sqlstate: nil) }
            let end = try open.statements.run(batch, range, contended: contended)
            isCommitting = true
            try open.connection.execute("COMMIT")
            upsert = open
            return .committed(end: end)
        } catch let error as PostgresError {
            return recover(from: error, isCommitting: isCommitting)
        } catch {
            rollBack()
            return error is TooLarge ? .tooLarge : .lostRace
        }
    }

    private mutating func connect() throws -> (connection: Connection, statements: ContactUpsert) {
        let connection = try Connection(
            conninfo: conninfo, applicationName: "contactsd lane \(number)",
            settings: ContactUpsert.settings)
        return (connection, try ContactUpsert(connection))
    }

    private mutating func recover(from error: PostgresError, isCommitting: Bool) -> Attempt {
        if error.isConnectionLoss || upsert == nil {
            upsert?.connection.close()
            upsert = nil
            if awaySince == nil {
                logger.warning(
                    "lane has no connection, trying again",
                    metadata: ["lane": "\(number)", "error": "\(error)"])
            }
            return isCommitting ? .outcomeUnknown : .away(sqlstate: nil)
        }
        rollBack()
        if error.isTransient || error.isUniqueViolation { return .lostRace }
        logger.warning(
            "transaction refused", metadata: ["lane": "\(number)", "error": "\(error)"])
        let sqlstate = error.sqlstate ?? "?????"
        // Classes 22, 23: data. P0: raised by a trigger. 44: a view's check. 54: over a limit.
        let isRefusal = error.isDataError || ["P0", "44", "54"].contains(sqlstate.prefix(2))
        if isRefusal { return .refused }
        // 53: insufficient resources, such as a full disk. 25006: read-only. 57014: timeout.
        if sqlstate.hasPrefix("53") || sqlstate == "25006" || sqlstate == "57014" {
            return .away(sqlstate: sqlstate)
        }
        // Whatever it is, it may hang on this connection.
        upsert?.connection.close()
        upsert = nil
        return .broken(sqlstate: sqlstate)
    }

    private mutating func rollBack() {
        do {
            try upsert?.connection.execute("ROLLBACK")
        } catch {
            upsert?.connection.close()
            upsert = nil
        }
    }
}
