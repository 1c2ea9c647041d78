// A lane: one thread, one connection, one transaction after another.
//
// In: blocks from the lane's queue and from those that lanes share. Out: the outcomes of each block,
// after the COMMIT of all its contacts. What may be tried again is tried again here, for a bounded
// time; what the database refuses is cut down by halves until the one contact that it refuses stands
// alone.

internal import Contacts
internal import Logging
internal import Postgres

/// Runs on the lane's thread; made there and never handed out.
struct Lane {
    /// How long a lane waits for a database that is away before it gives its blocks up. What comes
    /// later in the same absence is tried once.
    static let patience = Duration.seconds(30)
    /// How long it looks for what became of a transaction whose backend does not answer at all.
    static let patienceAfterHang = Duration.seconds(2)
    /// Lost races and deadlocks before they count as a refusal. Each try holds more locks than the
    /// first, so that two are rare.
    static let raceLimit = 10

    let queue: LaneQueue
    let number: Int
    let logger: Logger
    let connector: LaneConnector
    /// Called when the database refuses to write at all.
    let onRefusal: @Sendable () -> Void
    let batch = UpsertBatch()
    var works: [Work] = []
    var open: LaneConnection?
    /// The session of a connection that broke; its backend may hold locks that we need.
    var abandoned: LaneSession?
    var awaySince: ContinuousClock.Instant?
    /// Items of a transaction; fewer once the contacts of a batch have proved to be large.
    private var sizeLimit = 0
    private var pace = TransactionPace()
    /// Transactions that were begun for the batch.
    private var attemptCount = 0
    /// When the last of them was.
    private var attemptStart = ContinuousClock.now
    private var random = SystemRandomNumberGenerator()

    init(
        queue: LaneQueue, connector: LaneConnector, number: Int, logger: Logger,
        onRefusal: @escaping @Sendable () -> Void
    ) {
        self.queue = queue
        self.connector = connector
        self.onRefusal = onRefusal
        self.number = number
        self.logger = logger
    }

    /// A block of the batch, without its rows, which the batch has.
    struct Work {
        let range: Range<Int>
        let refusals: [RowBlock.Refusal]
        let workspace: Workspace
        let ledger: ImportLedger?
        let decidedThrough: UInt64
        let ending: ImportState?
        let deliver: @Sendable (BlockOutcome) -> Void
        /// All of it is committed.
        var isDone = false
        /// Where it was given up.
        var failure: (end: Int, reason: IngestFailure)?
    }

    /// Serves the queue until it is closed and empty.
    mutating func run() {
        while let taken = queue.take(atMost: pace.contactLimit) {
            batch.load(taken.works)
            works = Self.works(taken.works)
            batch.turn = nil
            taken.turn?.load(batch)
            dropFailed(from: 0)
            sizeLimit = max(1, batch.items.count)
            var done = 0
            while isAnyLeft {
                do throws(IngestFailure) {
                    done = try commit(done..<min(done + sizeLimit, batch.items.count))
                } catch {
                    giveUp(from: done, error) { _ in true }
                }
            }
            taken.turn?.end()
            for work in works { deliver(work) }
            keepPace()
            batch.release()
        }
        open?.connection.close()
    }

    private var isAnyLeft: Bool { works.contains { !$0.isDone && $0.failure == nil } }

    /// What was cut or tried again says nothing of the usual pace.
    private mutating func keepPace() {
        defer { attemptCount = 0 }
        let count = batch.items.count
        guard count > 0, attemptCount == 1 else { return }
        pace.took(.now - attemptStart, for: count)
        let (updates, pages) = batch.updates
        pace.wrote(updates, onto: pages, of: count)
        queue.transactionByteGoal = batch.loadedByteCount / count * pace.contactLimit
    }

    private static func works(_ taken: [LaneWork]) -> [Work] {
        var start = 0
        return taken.map { work in
            let range = start..<(start + work.block.contactCount)
            start = range.upperBound
            return Work(
                range: range, refusals: work.block.refusals, workspace: work.block.plan.workspace,
                ledger: work.ledger,
                decidedThrough: work.decidedThrough, ending: work.ending, deliver: work.deliver)
        }
    }

    /// Leaves out what comes behind a block of the same call that got no answer.
    private mutating func dropFailed(from end: Int) {
        for index in works.indices where !works[index].isDone && works[index].failure == nil {
            guard let failure = works[index].ledger?.failure else { continue }
            works[index].failure = (end, failure)
            batch.drop(index)
        }
    }

    /// - Returns: Whether there was any.
    @discardableResult
    private mutating func giveUp(
        from end: Int, _ reason: IngestFailure, where isMeant: (Work) -> Bool
    ) -> Bool {
        var isAny = false
        for index in works.indices where !works[index].isDone && works[index].failure == nil {
            guard isMeant(works[index]) else { continue }
            works[index].failure = (end, reason)
            works[index].ledger?.fail(reason)
            batch.drop(index)
            isAny = true
        }
        return isAny
    }

    private func deliver(_ work: Work) {
        let end = work.failure.map {
            max(work.range.lowerBound, min($0.end, work.range.upperBound))
        }
        let decided = work.range.lowerBound..<(end ?? work.range.upperBound)
        var outcome = BlockOutcome()
        outcome.entries.reserveCapacity(decided.count)
        for index in decided {
            let decision = batch.outcomes[index]
            outcome.entries.append(
                .init(
                    sequence: batch.items[index].sequence, status: decision.status,
                    id: decision.id))
            if decision.status == .failed, let error = batch.errors[index] {
                outcome.errors.append((index - work.range.lowerBound, error))
            }
        }
        outcome.failure = work.failure?.reason
        work.deliver(outcome)
    }

    // MARK: Retries

    /// Commits some of the items from the front, at least one, if there are any.
    ///
    /// - Returns: The end of those that are decided.
    private mutating func commit(_ range: Range<Int>) throws(IngestFailure) -> Int {
        var races = 0
        var pause = Duration.milliseconds(50)
        while true {
            batch.turn?.begin()
            // What was waited for may have got no answer.
            dropFailed(from: range.lowerBound)
            guard isAnyLeft else { return range.upperBound }
            let attempt = attempt(range, contended: races > 0)
            if !attempt.isLoss { awaySince = nil }
            switch attempt {
            case .committed(let end):
                return end
            case .takenOver(let ledgers):
                let isAny = giveUp(from: range.lowerBound, .takenOver) { work in
                    ledgers.contains { $0 === work.ledger }
                }
                guard isAny else { throw .takenOver }
            case .settingsChanged(let standing):
                let isAny = giveUp(from: range.lowerBound, .settingsChanged) {
                    !standing.contains($0.workspace)
                }
                guard isAny else { throw .settingsChanged }
            case .outOfTurn, .wrongGuess:
                continue
            case .lostRace where races < Self.raceLimit:
                races += 1
                connector.paths.count(.lostRace)
                WorkerThread.sleep(
                    .milliseconds(Int.random(in: 1...(5 * races), using: &random)))
            case .lostRace, .refused:
                guard range.count > 1 else {
                    try reject(range, races: races >= Self.raceLimit)
                    continue
                }
                return try commit(range.prefix(range.count / 2))
            case .tooLarge:
                sizeLimit = max(1, range.count / 2)
                return try commit(range.prefix(sizeLimit))
            case .faulty(let sqlstate):
                // It may be a trigger for one contact; then the other calls have to go on.
                guard range.count <= 1 else { return try commit(range.prefix(range.count / 2)) }
                let failure = IngestFailure.databaseRefuses(sqlstate: sqlstate)
                guard let work = range.first.map({ batch.items[$0].work }) else { throw failure }
                works[work].failure = (range.lowerBound, failure)
                works[work].ledger?.fail(failure)
                batch.drop(work)
                return range.lowerBound
            case .failed(let failure):
                throw failure
            case .away(let sqlstate):
                try wait(&pause, sqlstate)
            case .inDoubt(let doubt):
                if try isCommitted(doubt, &pause) {
                    awaySince = nil
                    settle(doubt.entries, doubt.end)
                    return doubt.end
                }
                // A contact may have broken the connection, and may do so again.
                try wait(&pause, nil)
            }
        }
    }

    /// Whether a transaction was committed whose COMMIT got no answer. Nothing else is written of its
    /// calls before that is known.
    private mutating func isCommitted(
        _ doubt: Doubt, _ pause: inout Duration
    ) throws(IngestFailure) -> Bool {
        while true {
            do throws(PostgresError) {
                if self.open == nil { self.open = try connector.connect(lane: number) }
                guard let open = self.open else { continue }
                // As the user: nothing that row security hides may be taken for not committed.
                let committed = try open.security.asUser { () throws(PostgresError) -> Bool? in
                    guard try doubt.session.end(open.connection), let ledgers = open.ledgers
                    else { return nil }
                    return try ledgers.wereCommitted(doubt.entries) {
                        $0.progress(ofLane: number)
                    }
                }
                if let committed { return committed }
            } catch {
                closeConnection()
            }
            do throws(IngestFailure) {
                try wait(&pause, nil)
            } catch {
                throw .outcomeUnknown
            }
        }
    }

    /// Fails the one contact that the database refuses. Its import's ledger is still to be written;
    /// if that is refused too, it was not the contact.
    private func reject(_ range: Range<Int>, races: Bool) throws(IngestFailure) {
        guard let index = range.first, !batch.isRejected(index) else {
            throw IngestFailure.databaseRefuses(sqlstate: "?????")
        }
        batch.reject(index, races: races)
    }

    /// Waits for a database that is away, or throws once that has lasted too long.
    private mutating func wait(
        _ pause: inout Duration, _ sqlstate: String?
    ) throws(IngestFailure) {
        let since = awaySince ?? .now
        awaySince = since
        guard ContinuousClock.now - since < Self.patience, !queue.isClosed else {
            if let sqlstate { throw IngestFailure.databaseRefuses(sqlstate: sqlstate) }
            throw IngestFailure.databaseAway
        }
        WorkerThread.sleep(pause * Double.random(in: 0.5...1, using: &random))
        pause = min(pause * 2, .seconds(2))
    }

    private mutating func attempt(_ range: Range<Int>, contended: Bool) -> Attempt {
        attemptCount += 1
        attemptStart = .now
        var doubt: Doubt?
        do {
            // What breaks once the COMMIT is on its way is in doubt; a server that went away while
            // the lane was idle is not.
            if let open, !open.connection.isHealthy {
                throw PostgresError(.connectionLost, "the server hung up")
            }
            let open = try self.open ?? connector.connect(lane: number)
            self.open = open
            if let abandoned {
                _ = try open.security.asUser { () throws(PostgresError) in
                    try abandoned.end(open.connection)
                }
                self.abandoned = nil
            }
            try open.security.enter(Set(works.map(\.workspace.id)))
            try findReplayedErrors(range, open.ledgers)
            let end = try open.store.run(batch, range, contended: contended)
            let isWritten = !open.connection.hasQueuedStatements
            let commitStart = ContinuousClock.now
            let entries = ledgerEntries(range.lowerBound..<end)
            try open.ledgers?.write(entries)
            try open.events?.write(batch) { works[batch.items[$0].work].ledger?.importID ?? "" }
            doubt = Doubt(session: open.session, entries: entries, end: end)
            FailurePoint.beforeCommit.pass()
            try open.connection.enqueue(prepared: LaneConnector.commit)
            try open.connection.settle()
            FailurePoint.afterCommit.pass()
            if isWritten { pace.committed(in: .now - commitStart) }
            open.store.committed(batch)
            settle(entries, end)
            return .committed(end: end)
        } catch let error as PostgresError {
            return recover(from: error, doubt)
        } catch {
            rollBack()
            switch error {
            case is TooLarge: return .tooLarge
            case is OutOfTurn: return .outOfTurn
            case is WrongGuess:
                _ = open?.store.takeGuessBack(batch)
                return .wrongGuess
            default: return .lostRace
            }
        }
    }

    mutating func rollBack() {
        do {
            // What is still queued may fail; it is rolled back in any case.
            _ = try? open?.connection.settle()
            try open?.connection.execute("ROLLBACK")
        } catch {
            closeConnection()
        }
    }

    mutating func closeConnection() {
        open?.connection.close()
        open = nil
    }
}
