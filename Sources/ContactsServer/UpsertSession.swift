// The contacts of one call between the wire and the lanes.
//
// In: contacts of decoded messages. Out: blocks to the lanes, and answers in sequence order. Event
// loop thread. The two hops of a contact's path begin and end here: `handOver` gives blocks to the
// lanes' threads, `settle` gets their outcomes back on the loop.

internal import Contacts
internal import Ingest
internal import NIOCore
internal import RPC

final class UpsertSession {
    /// Answers, and the contacts that still have none.
    var window = ResultWindow()
    /// Contacts that failed, answered or not.
    private(set) var failureCount: UInt64 = 0
    /// Set once a lane had to give up.
    private(set) var failure: IngestFailure?

    private let engine: IngestEngine
    private let budget: ReceiveBudget
    private let context: LoopContext
    private let eventLoop: any EventLoop
    private let plan: WritePlan
    private let rules: ContactRules
    private var blocks: [RowBlock?]
    /// Called on the loop when outcomes have come.
    private var onSettled: (() -> Void)?

    init(
        engine: IngestEngine, budget: ReceiveBudget, context: LoopContext, eventLoop: any EventLoop,
        plan: WritePlan,
        rules: ContactRules, onSettled: @escaping () -> Void
    ) {
        self.engine = engine
        self.budget = budget
        self.context = context
        self.eventLoop = eventLoop
        self.plan = plan
        self.rules = rules
        self.onSettled = onSettled
        blocks = Array(repeating: nil, count: engine.laneCount)
    }

    /// Stops telling of outcomes; what the lanes have is committed all the same.
    func abandon() {
        onSettled = nil
    }

    /// Takes all contacts of the message that was decoded last.
    func takeMessage() {
        context.advanceClock()
        for index in 0..<context.decoder.contactCount {
            let sequence = window.open()
            let error = context.decoder.normalizeContact(
                at: index, by: rules, into: &context.contact)
            if let error {
                window.fail(sequence, error)
                failureCount += 1
            } else {
                append(sequence)
            }
        }
    }

    private func append(_ sequence: UInt64) {
        let hash = KeyHash.of(context.contact, plan.matchBy.textField ?? .email)
        let lane = engine.lane(of: plan, keyHash: hash)
        if blocks[lane] == nil { blocks[lane] = RowBlock(plan: plan) }
        blocks[lane]?.append(
            context.contact, sequence: sequence, id: context.nextID(), keyHash: hash)
        if let block = blocks[lane], block.isFull { handOver(to: lane) }
    }

    /// Gives the lanes what was taken since the last time.
    func handOver() {
        for lane in blocks.indices { handOver(to: lane) }
    }

    /// What a lane holds counts in the budget until it is decided, whatever becomes of the call.
    private func handOver(to lane: Int) {
        guard let block = blocks[lane].take() else { return }
        let byteCount = block.byteCount
        budget.charge(byteCount)
        let session = NIOLoopBound(self, eventLoop: eventLoop)
        let eventLoop = eventLoop
        let work = LaneWork(block: block) { outcome in
            eventLoop.execute { session.value.settle(outcome, byteCount) }
        }
        engine.add(work, to: lane)
    }

    private func settle(_ outcome: BlockOutcome, _ byteCount: Int) {
        budget.charge(-byteCount)
        var errors = outcome.errors[...]
        for (index, entry) in outcome.entries.enumerated() {
            if let (place, error) = errors.first, place == index {
                window.fail(entry.sequence, error)
                failureCount += 1
                errors.removeFirst()
            } else {
                window.settle(entry.sequence, entry.status, entry.id)
            }
        }
        if failure == nil { failure = outcome.failure }
        onSettled?()
    }
}

/// The counts of one call, made as its answers go out.
struct SummaryCounter {
    private(set) var summary = UpsertSummary()

    mutating func count(_ sequence: UInt64, _ answer: ResultWindow.Answer) {
        summary.total += 1
        summary.committedThrough = sequence
        switch answer {
        case .failed(let error):
            summary.failed += 1
            summary.failedByReason[error.reasonText, default: 0] += 1
        case .stored(.created, _): summary.created += 1
        case .stored(.updated, _): summary.updated += 1
        case .stored(.unchanged, _): summary.unchanged += 1
        case .stored(.replayed, _): summary.replayed += 1
        case .stored(.failed, _): summary.failed += 1
        }
    }
}
