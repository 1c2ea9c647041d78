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
    private let context: LoopContext
    private var options = UpsertOptions()
    private var onlyMessage = OnlyMessage()
    private var message: ReceivedMessage?
    private var session: UpsertSession?
    private var isOver = false

    init(engine: IngestEngine, budget: ReceiveBudget, context: LoopContext) {
        self.engine = engine
        self.budget = budget
        self.context = context
    }

    func messagesAvailable(_ call: ServerCall) {
        guard !isOver, session == nil, let message = onlyMessage.take(from: call) else { return }
        self.message = message
        if let refusal = check(message) { return end(call, refusal) }
        call.findWorkspace(engine) { found in
            switch found {
            case .success(let workspace): self.begin(call, workspace)
            case .failure(let status): self.end(call, status)
            }
        }
    }

    func writable(_ call: ServerCall) {}

    /// The call is short: it is answered before the connection closes.
    func draining(_ call: ServerCall) {}

    func ended(_ call: ServerCall, by cause: CallEnd) {
        isOver = true
        session?.abandon()
        session = nil
    }

    private func check(_ message: ReceivedMessage) -> RPCStatus? {
        do throws(DecodeError) {
            options = try message.decodeUpsertContacts(with: context.decoder)
            _ = try ContactRules(options)
        } catch {
            return RPCStatus(error, message: "UpsertContactsRequest")
        }
        guard context.decoder.contactCount <= ServerLimits.contactsPerMessage else {
            return RPCStatus(
                .invalidArgument,
                """
                contacts: the call has \(context.decoder.contactCount); the limit is \
                \(ServerLimits.contactsPerMessage), use BulkUpsert for more
                """)
        }
        return OptionRules.refusal(options)
    }

    private func begin(_ call: ServerCall, _ workspace: Workspace) {
        guard !isOver, let message else { return }
        if let refusal = OptionRules.refusal(options, in: workspace) { return end(call, refusal) }
        guard let rules = try? ContactRules(options),
            (try? message.decodeUpsertContacts(with: context.decoder)) != nil
        else { return }
        let session = UpsertSession(
            engine: engine, budget: budget, context: context, eventLoop: call.eventLoop,
            plan: WritePlan(workspace: workspace, options: options), rules: rules,
            onSettled: { [weak self, weak call] in
                guard let self, let call else { return }
                self.answer(call)
            })
        self.session = session
        session.takeMessage()
        call.discharge(message.creditByteCount)
        context.advanceClock()
        options.importID = context.nextID().description
        session.handOver()
        answer(call)
    }

    /// Answers once every contact is decided. They are taken all at once, so that `max_failures`
    /// stops nothing here; reaching it is told by the status alone.
    private func answer(_ call: ServerCall) {
        guard let session, !isOver else { return }
        if let failure = session.failure { return end(call, RPCStatus(failure)) }
        guard session.window.isDecided else { return }
        if options.maxFailures > 0, session.failureCount >= options.maxFailures {
            return end(call, .tooManyFailures(session.failureCount))
        }
        let encoder = context.encoder
        encoder.reset()
        var counter = SummaryCounter()
        while let (sequence, answer) = session.window.popFirst() {
            counter.count(sequence, answer)
            encoder.append(sequence, answer, options.results)
        }
        call.send(
            encoder.finishUpsertContacts(importID: options.importID, summary: counter.summary))
        call.returnCredit(message?.creditByteCount ?? 0)
        end(call, .ok)
    }

    private func end(_ call: ServerCall, _ status: RPCStatus) {
        guard !isOver else { return }
        isOver = true
        session?.abandon()
        session = nil
        call.finish(status)
    }
}
