// The main job: one BulkUpsert call.
//
// In: whole messages, pulled while there is room; outcomes from the lanes. Out: `started`, results
// in sequence order, the summary, a status. Event loop thread.
//
// Back-pressure: a message is pulled only while the window has room, its credit goes back to the
// peer only when all its contacts are answered, and answers leave the window only while the peer
// reads. So a slow database, and a peer that never reads, both stop the peer's sending.

internal import Contacts
internal import Ingest
internal import NIOCore
internal import RPC

final class BulkUpsertCall: CallHandler {
    /// How a call goes:
    ///
    ///     opening ──(first message)──▶ resolving ──▶ taking ──(half-close)──▶ ending ──▶ over
    ///        │                             │            └─(limit, drain, fault)─▲          ▲
    ///        └────────(refused)────────────┴───────────────────────────────────────────────┘
    private enum State {
        /// No message yet.
        case opening
        /// The first message waits until its workspace is known.
        case resolving(ReceivedMessage)
        /// Contacts are taken.
        case taking
        /// No more are taken; those in the window are answered, then this status.
        case ending(RPCStatus)
        /// The status is sent, or the call is gone.
        case over
    }

    /// What goes back to the peer once a message's last contact is answered.
    private struct Credit {
        let lastSequence: UInt64
        let byteCount: Int
    }

    /// How often at least `committed_through` is told while there is progress; the contract says a
    /// second.
    private static let progressInterval = TimeAmount.milliseconds(500)

    private var state = State.opening
    private let engine: IngestEngine
    private let budget: ReceiveBudget
    private let caller: Caller
    /// Of this call, as last told.
    private var toldUnansweredCount = 0
    /// Contacts of the first message, until they are taken.
    private var firstCount = 0
    private let context: LoopContext
    private var options = UpsertOptions()
    private var session: UpsertSession?
    private var messageCount = 0
    /// All contacts of a known import up to this one are decided.
    private var resumesAfter: UInt64 = 0
    private var isNumbered = false
    private var counter = SummaryCounter()
    /// By itself it would begin with room for 16, the most that an idle call costs.
    private var credits = CircularBuffer<Credit>(initialCapacity: 1)
    private var lastProgress = NIODeadline.now()
    private var isProgressScheduled = false
    private var isPumpScheduled = false
    private var isLookScheduled = false
    private let rateGate: RateGate

    init(
        engine: IngestEngine, budget: ReceiveBudget, caller: Caller, context: LoopContext
    ) {
        self.engine = engine
        self.budget = budget
        self.caller = caller
        self.rateGate = RateGate(caller)
        self.context = context
    }

    func messagesAvailable(_ call: ServerCall) { pump(call) }

    func writable(_ call: ServerCall) { pump(call) }

    func draining(_ call: ServerCall) {
        switch state {
        case .opening, .resolving: end(call, .shuttingDown)
        case .taking: state = .ending(.shuttingDown)
        case .ending, .over: break
        }
        pump(call)
    }

    func ended(_ call: ServerCall, by cause: CallEnd) {
        state = .over
        leave(call)
    }

    /// Moves everything that can move.
    private func pump(_ call: ServerCall) {
        var wasFull: Bool
        repeat {
            takeMessages(call)
            session?.handOver(isLast: isComplete)
            wasFull = session.map { !hasRoom(call, $0) } ?? false
            answer(call)
            tellUnanswered(call)
            // Contacts that failed in the rules are answered at once, which may make room.
        } while wasFull && session.map { hasRoom(call, $0) } ?? false
        if case .taking = state, wasFull, toldUnansweredCount == 0 { lookAgain(call) }
    }

    private func tellUnanswered(_ call: ServerCall) {
        let count = session?.unansweredCount ?? firstCount
        call.unanswered.add(count - toldUnansweredCount)
        toldUnansweredCount = count
    }

    /// All contacts of the import are taken.
    private var isComplete: Bool {
        if case .ending(let status) = state { status.code == .ok } else { false }
    }

    // MARK: Request side

    private func hasRoom(_ call: ServerCall, _ session: UpsertSession) -> Bool {
        let count = session.unansweredCount
        if count == 0 { return call.unanswered.hasRoomForFirst }
        return count < context.policy.unansweredContacts && call.unanswered.hasRoom
    }

    /// A call that has contacts hears of it when they are answered, and then of room. One that may
    /// not take its first has to look.
    private func lookAgain(_ call: ServerCall) {
        guard !isLookScheduled else { return }
        isLookScheduled = true
        call.later(ServerLimits.fullPause) { [weak self, weak call] in
            guard let self, let call else { return }
            isLookScheduled = false
            pump(call)
        }
    }

    private func takeMessages(_ call: ServerCall) {
        if case .opening = state {
            if !call.unanswered.hasRoomForFirst {
                lookAgain(call)
            } else if mayTake(call), let first = call.nextMessage() {
                open(call, first)
            } else if case .opening = state, call.isRequestComplete {
                // No message at all: an import of no contacts.
                open(call, ReceivedMessage(bytes: ByteBuffer(), creditByteCount: 0))
            }
        }
        if case .taking = state, let session { takeMessages(call, session) }
        if case .taking = state, call.isRequestComplete { state = .ending(.ok) }
    }

    private func takeMessages(_ call: ServerCall, _ session: UpsertSession) {
        context.advanceClock()
        var takenByteCount = 0
        while case .taking = state, hasRoom(call, session), session.failure == nil, mayTake(call),
            let message = call.nextMessage()
        {
            takenByteCount += take(message, of: call, session)
            tellUnanswered(call)
        }
        call.discharge(takenByteCount)
    }

    private func mayTake(_ call: ServerCall) -> Bool {
        rateGate.isOpen(for: call) { [weak self, weak call] in
            if let self, let call { pump(call) }
        }
    }

    /// Reads the options and finds the workspace; goes on in `begin`.
    private func open(_ call: ServerCall, _ message: ReceivedMessage) {
        defer { context.decoder.release() }
        do throws(DecodeError) {
            let request = try message.decode(with: context.decoder)
            options = try request.options() ?? UpsertOptions()
            _ = try ContactRules(options)
            firstCount = min(request.contacts.count, context.policy.contactsPerMessage)
            // At once, or many calls that begin together would all pass.
            caller.took(firstCount)
        } catch {
            return end(call, call.status(of: error, in: message, named: "BulkUpsertRequest"))
        }
        if let refusal = OptionRules.refusal(options) { return end(call, refusal) }
        state = .resolving(message)
        tellUnanswered(call)
        let bound = NIOLoopBound(self, eventLoop: call.eventLoop)
        let eventLoop = call.eventLoop
        ImportOpening.run(
            options, of: call, by: caller, engine, context,
            onTakenOver: { eventLoop.execute { bound.value.session?.takeOver() } },
            completion: { [weak self] opened in
                switch opened {
                case .success(let opened): self?.begin(call, opened)
                case .failure(let status): self?.end(call, status)
                }
                self?.pumpLater(call)
            })
    }

    private func begin(_ call: ServerCall, _ opened: OpenedImport) {
        let session = UpsertSession(
            opened, engine: engine, budget: budget, context: context, eventLoop: call.eventLoop,
            onSettled: { [weak self, weak call] in
                guard let self, let call else { return }
                self.pumpLater(call)
            })
        // The call may have ended meanwhile.
        guard case .resolving(let message) = state else { return session.abandon() }
        self.session = session
        options = opened.options
        resumesAfter = opened.committedThrough
        counter = SummaryCounter(committedThrough: resumesAfter)
        context.encoder.reset()
        call.send(
            context.encoder.started(
                UpsertStarted(
                    importID: options.importID, resumed: opened.isKnown,
                    committedThrough: resumesAfter, options: options,
                    limits: context.policy.published)))
        state = .taking
        context.advanceClock()
        call.discharge(take(message, of: call, session))
    }

    /// - Returns: The bytes that were taken of the message: none of a refused one.
    private func take(
        _ message: ReceivedMessage, of call: ServerCall, _ session: UpsertSession
    ) -> Int {
        defer { context.decoder.release() }
        messageCount += 1
        let contacts: DecodedContacts
        do throws(DecodeError) {
            let request = try message.decode(with: context.decoder)
            contacts = request.contacts
            if messageCount > 1, request.hasOptions {
                _ = try request.options()
                return stop(.lateOptions)
            }
            if let refusal = number(request, session) { return stop(refusal) }
        } catch {
            let status = call.status(of: error, in: message, named: "BulkUpsertRequest")
            guard case .tooManyContacts(let count) = error else { return stop(status) }
            return stop(tooMany(count))
        }
        guard contacts.count <= context.policy.contactsPerMessage else {
            return stop(tooMany(contacts.count))
        }
        let next = session.take(contacts)
        if messageCount > 1 { caller.took(contacts.count) }
        credits.append(Credit(lastSequence: next - 1, byteCount: message.creditByteCount))
        checkFailureLimit(session)
        return message.creditByteCount
    }

    private func tooMany(_ count: Int) -> RPCStatus {
        .tooManyContacts(count, limit: context.policy.contactsPerMessage, in: "message")
    }

    /// Checks the number of a message's first contact, and places the first message of a call that
    /// goes on with an import.
    private func number(_ request: DecodedUpsert, _ session: UpsertSession) -> RPCStatus? {
        let firstSequence = request.firstSequence
        if resumesAfter > 0, !isNumbered {
            let isEmpty = request.contacts.count == 0
            guard firstSequence > 0 || isEmpty else {
                return .numberMissing(committedThrough: resumesAfter)
            }
            guard firstSequence <= resumesAfter + 1 else {
                return .wrongNumber(firstSequence, expected: resumesAfter + 1)
            }
            // Only contacts place the call in the import.
            if isEmpty { return nil }
            session.window = ResultWindow(first: firstSequence)
        }
        guard firstSequence == 0 || firstSequence == session.window.next else {
            return .wrongNumber(firstSequence, expected: session.window.next)
        }
        isNumbered = true
        return nil
    }

    private func checkFailureLimit(_ session: UpsertSession) {
        guard options.maxFailures > 0, session.failureCount >= options.maxFailures else { return }
        // Also when the last failure comes after the half-close: the status must not depend on it.
        if case .ending(let status) = state, status.code == .ok { state = .taking }
        stop(.tooManyFailures(session.failureCount))
    }

    /// Takes no more contacts; those taken are still answered. Answers what `take` has taken of the
    /// message at fault.
    @discardableResult
    private func stop(_ status: RPCStatus) -> Int {
        if case .taking = state { state = .ending(status) }
        return 0
    }

    // MARK: Response side

    /// What came in one turn of the loop, such as the outcomes of several lanes, is answered
    /// together.
    private func pumpLater(_ call: ServerCall) {
        guard !isPumpScheduled else { return }
        isPumpScheduled = true
        let bound = NIOLoopBound((self, call), eventLoop: call.eventLoop)
        call.eventLoop.execute {
            let (handler, call) = bound.value
            handler.isPumpScheduled = false
            handler.pump(call)
        }
    }

    private func answer(_ call: ServerCall) {
        guard let session else { return }
        checkFailureLimit(session)
        while session.window.hasAnswer, call.unsentByteCount < ServerLimits.unsentBytes,
            call.mayAnswer(atOnce: false)
        {
            sendResults(call, session)
        }
        returnCredit(call, session)
        if let failure = session.failure, !session.window.hasAnswer {
            return end(call, RPCStatus(failure))
        }
        guard case .ending(let status) = state, session.window.isEmpty else { return }
        if status.code == .ok, !session.isFinished {
            session.finish()
        } else {
            end(call, status)
        }
    }

    private func sendResults(_ call: ServerCall, _ session: UpsertSession) {
        let encoder = context.encoder
        encoder.reset()
        encoder.appendAnswers(
            of: &session.window, atMost: ServerLimits.resultsPerMessage, options.results,
            counting: &counter)
        if encoder.results.count > 0 || NIODeadline.now() - lastProgress >= Self.progressInterval {
            sendProgress(call, session)
        } else {
            scheduleProgress(call)
        }
    }

    /// Sends the results in the encoder, none or more, and how far the call has come.
    private func sendProgress(_ call: ServerCall, _ session: UpsertSession) {
        lastProgress = NIODeadline.now()
        call.send(context.encoder.finishResults(committedThrough: session.window.first - 1))
    }

    /// Contacts without a result to be sent still move `committed_through`, which is told once the
    /// interval is over.
    private func scheduleProgress(_ call: ServerCall) {
        guard !isProgressScheduled else { return }
        isProgressScheduled = true
        call.eventLoop.assumeIsolated().scheduleTask(
            deadline: lastProgress + Self.progressInterval
        ) { [weak self, weak call] in
            guard let self, let call, let session = self.session else { return }
            self.isProgressScheduled = false
            self.context.encoder.reset()
            self.sendProgress(call, session)
        }
    }

    private func returnCredit(_ call: ServerCall, _ session: UpsertSession) {
        var byteCount = 0
        while let credit = credits.first, credit.lastSequence < session.window.first {
            byteCount += credit.byteCount
            credits.removeFirst()
        }
        if byteCount > 0 { call.returnCredit(byteCount) }
    }

    private func end(_ call: ServerCall, _ status: RPCStatus) {
        if case .over = state { return }
        state = .over
        if session != nil {
            context.encoder.reset()
            call.send(context.encoder.summary(counter.summary))
        }
        leave(call)
        call.finish(status)
    }

    /// What the lanes still have is committed all the same, but nobody is told.
    private func leave(_ call: ServerCall) {
        session?.abandon()
        session = nil
        firstCount = 0
        tellUnanswered(call)
        let byteCount = credits.reduce(0) { $0 + $1.byteCount }
        credits.removeAll()
        if byteCount > 0 { call.returnCredit(byteCount) }
    }
}
