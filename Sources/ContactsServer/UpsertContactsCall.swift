// One UpsertContacts call: a whole import in one message and one answer.
//
// In: one message. Out: one message, once all its contacts are decided. Event loop thread.

internal import Contacts
internal import Ingest
internal import NIOCore
internal import RPC

final class UpsertContactsCall: CallHandler {
    private let engine: IngestEngine
    private let budget: ReceiveBudget
    private let caller: Caller
    private let rateGate: RateGate
    private let context: LoopContext
    private var options = UpsertOptions()
    private var onlyMessage = OnlyMessage()
    private var message: ReceivedMessage?
    private var contactCount = 0
    /// Of these, as counted for the connection.
    private var countedCount = 0
    private var session: UpsertSession?
    private var isOver = false

    init(
        engine: IngestEngine, budget: ReceiveBudget, caller: Caller, context: LoopContext
    ) {
        self.engine = engine
        self.budget = budget
        self.caller = caller
        self.rateGate = RateGate(caller)
        self.context = context
    }

    func messagesAvailable(_ call: ServerCall) {
        guard !isOver, session == nil, mayTake(call), let message = onlyMessage.take(from: call)
        else { return }
        self.message = message
        if let refusal = check(message, call) { return end(call, refusal) }
        // At once, or many calls that begin together would all pass.
        caller.took(contactCount)
        enter(call)
    }

    private func mayTake(_ call: ServerCall) -> Bool {
        message != nil
            || rateGate.isOpen(for: call) { [weak self, weak call] in
                if let self, let call { messagesAvailable(call) }
            }
    }

    /// Begins once there is room for the call's contacts. The message waits with its credit.
    private func enter(_ call: ServerCall) {
        guard !isOver else { return }
        guard call.unanswered.hasRoomForFirst else {
            return call.later(ServerLimits.fullPause) { [weak self, weak call] in
                if let self, let call { enter(call) }
            }
        }
        countUnanswered(contactCount, call)
        open(call)
    }

    private func countUnanswered(_ count: Int, _ call: ServerCall) {
        call.unanswered.add(count - countedCount)
        countedCount = count
    }

    private func open(_ call: ServerCall) {
        let bound = NIOLoopBound(self, eventLoop: call.eventLoop)
        let eventLoop = call.eventLoop
        ImportOpening.run(
            options, of: call, by: caller, engine, context,
            onTakenOver: { eventLoop.execute { bound.value.session?.takeOver() } },
            completion: { opened in
                switch opened {
                case .success(let opened): self.begin(call, opened)
                case .failure(let status): self.end(call, status)
                }
            })
    }

    func writable(_ call: ServerCall) { answer(call) }

    /// The call is short: it is answered before the connection closes, unless it still waits for an
    /// earlier call of its import.
    func draining(_ call: ServerCall) {
        if session == nil, message != nil || rateGate.isWaiting { end(call, .shuttingDown) }
    }

    func ended(_ call: ServerCall, by cause: CallEnd) {
        isOver = true
        message = nil
        countUnanswered(0, call)
        session?.abandon()
        session = nil
    }

    private func tooMany(_ count: Int) -> RPCStatus {
        .tooManyContacts(
            count, limit: context.policy.contactsPerMessage, in: "call",
            ", use BulkUpsert for more")
    }

    private func check(_ message: ReceivedMessage, _ call: ServerCall) -> RPCStatus? {
        defer { context.decoder.release() }
        do throws(DecodeError) {
            let request = try message.decodeUpsertContacts(with: context.decoder)
            contactCount = request.contacts.count
            options = try request.options() ?? UpsertOptions()
            _ = try ContactRules(options)
        } catch {
            let status = call.status(of: error, in: message, named: "UpsertContactsRequest")
            guard case .tooManyContacts(let count) = error else { return status }
            return tooMany(count)
        }
        guard contactCount <= context.policy.contactsPerMessage else {
            return tooMany(contactCount)
        }
        return OptionRules.refusal(options)
    }

    private func begin(_ call: ServerCall, _ opened: OpenedImport) {
        let session = UpsertSession(
            opened, engine: engine, budget: budget, context: context, eventLoop: call.eventLoop,
            onSettled: { [weak self, weak call] in
                guard let self, let call else { return }
                self.answer(call)
            })
        defer { context.decoder.release() }
        guard !isOver, let message,
            let request = try? message.decodeUpsertContacts(with: context.decoder)
        else { return session.abandon() }
        self.session = session
        options = opened.options
        context.advanceClock()
        session.take(request.contacts)
        // Its credit is all that is needed of it from here on.
        self.message?.bytes.clear(minimumCapacity: 0)
        call.discharge(message.creditByteCount)
        session.handOver(isLast: true)
        answer(call)
    }

    /// Answers once every contact is decided. They are taken all at once, so that `max_failures`
    /// stops nothing here; reaching it is told by the status alone.
    private func answer(_ call: ServerCall) {
        guard let session, !isOver else { return }
        if let failure = session.failure { return end(call, RPCStatus(failure)) }
        guard session.window.isDecided, call.mayAnswer(atOnce: true) else { return }
        guard session.isFinished else { return session.finish() }
        if options.maxFailures > 0, session.failureCount >= options.maxFailures {
            return end(call, .tooManyFailures(session.failureCount))
        }
        let encoder = context.encoder
        encoder.reset()
        var counter = SummaryCounter()
        encoder.appendAnswers(
            of: &session.window, atMost: .max, options.results, counting: &counter)
        call.send(
            encoder.finishUpsertContacts(importID: options.importID, summary: counter.summary))
        call.returnCredit(message?.creditByteCount ?? 0)
        end(call, .ok)
    }

    private func end(_ call: ServerCall, _ status: RPCStatus) {
        guard !isOver else { return }
        isOver = true
        countUnanswered(0, call)
        session?.abandon()
        session = nil
        call.finish(status)
    }
}
