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
    /// Contacts that failed, answered or not; those that had failed in an earlier call do not count.
    private(set) var failureCount: UInt64 = 0
    /// Set once a lane had to give up, or another call goes on with the import.
    private(set) var failure: IngestFailure?
    /// The import is marked as finished, or is a dry run, which leaves no mark.
    private(set) var isFinished: Bool

    private let opened: OpenedImport
    private let engine: IngestEngine
    private let budget: ReceiveBudget
    private let context: LoopContext
    private let eventLoop: any EventLoop
    private let lanes: LaneSet
    /// The lane of what has no key: refused contacts, the import's end.
    private let homeLane: Int
    private var blocks: [RowBlock?]
    /// Whether earlier calls have decided anything.
    private let mayReplay: Bool
    /// Blocks that lanes have.
    private var outstandingCount = 0
    private var isEnding = false
    private var isAbandoned = false
    /// Called on the loop when outcomes have come.
    private var onSettled: (() -> Void)?

    /// Contacts that have no answer yet.
    var unansweredCount: Int { Int(window.next - window.first) }

    init(
        _ opened: OpenedImport, engine: IngestEngine, budget: ReceiveBudget, context: LoopContext,
        eventLoop: any EventLoop, onSettled: @escaping () -> Void
    ) {
        self.opened = opened
        self.engine = engine
        self.budget = budget
        self.context = context
        self.eventLoop = eventLoop
        self.onSettled = onSettled
        lanes = opened.dryRun?.lanes ?? engine.lanes
        homeLane = lanes.lane(of: opened.plan, keyHash: context.nextID().low << 20)
        blocks = Array(repeating: nil, count: lanes.count)
        isFinished = opened.ledger == nil
        mayReplay = opened.ledger.map { $0.decidedBefore != SequenceSet() } ?? false
    }

    /// Stops telling of outcomes; what the lanes have is committed all the same.
    func abandon() {
        onSettled = nil
        opened.dryRun?.close()
        guard let ledger = opened.ledger else { return }
        engine.endImport(ledger)
        if isFinished { return }
        isAbandoned = true
        if outstandingCount == 0 { engine.interrupt(ledger) }
    }

    /// Another call goes on with the import.
    func takeOver() {
        guard failure == nil else { return }
        failure = .takenOver
        onSettled?()
    }

    /// Takes all contacts of a message. `LoopContext.advanceClock` was called in this turn.
    ///
    /// - Returns: The number behind the last one's.
    @discardableResult
    func take(_ contacts: DecodedContacts) -> UInt64 {
        let first = window.open(count: contacts.count)
        // Handed down instead of used as properties, whose every single use would be guarded.
        take(contacts, from: first, with: &context.scratch, into: &blocks)
        return first + UInt64(contacts.count)
    }

    private func take(
        _ contacts: DecodedContacts, from first: UInt64, with scratch: inout ContactScratch,
        into blocks: inout [RowBlock?]
    ) {
        for index in 0..<contacts.count {
            let sequence = first + UInt64(index)
            let error = contacts.normalize(
                at: index, by: opened.rules, into: &scratch.contact)
            if let error {
                refuse(sequence, error, &blocks)
            } else {
                append(sequence, scratch.contact, scratch.ids.next(), &blocks)
            }
        }
    }

    /// A refused contact is answered once its import remembers it, like all others.
    private func refuse(
        _ sequence: UInt64, _ error: ContactError, _ blocks: inout [RowBlock?]
    ) {
        let isReplay = opened.ledger?.wasDecided(sequence) ?? false
        if !isReplay { failureCount += 1 }
        if isReplay || opened.ledger == nil { return window.fail(sequence, error) }
        begin(&blocks[homeLane])
        blocks[homeLane]?.refusals.append(.init(sequence: sequence, error: error))
        handOverIfFull(&blocks[homeLane], to: homeLane)
    }

    private func append(
        _ sequence: UInt64, _ contact: borrowing NormalizedContact, _ id: ContactID,
        _ blocks: inout [RowBlock?]
    ) {
        let hash = KeyHash.of(contact, opened.plan.matchBy)
        let isReplay = mayReplay && opened.ledger?.wasDecided(sequence) ?? false
        let lane = lanes.lane(of: opened.plan, keyHash: hash)
        begin(&blocks[lane])
        blocks[lane]?.append(
            contact, sequence: sequence, id: id, keyHash: hash, isReplay: isReplay)
        handOverIfFull(&blocks[lane], to: lane)
    }

    private func begin(_ block: inout RowBlock?) {
        if block == nil { block = RowBlock(plan: opened.plan) }
    }

    private func handOverIfFull(_ block: inout RowBlock?, to lane: Int) {
        guard block?.isFull == true, let full = block.take() else { return }
        add(full, to: lane, ending: nil)
    }

    /// Gives the lanes what was taken since the last time.
    ///
    /// - Parameter isLast: Whether no contact will follow. If one block is all that is left, it
    ///   ends the import with it.
    func handOver(isLast: Bool = false) {
        let waiting = blocks.indices.filter { blocks[$0] != nil }
        let ends = isLast && waiting.count == 1 && outstandingCount == 0 && opened.ledger != nil
        for lane in waiting { handOver(to: lane, ending: ends ? .finished : nil) }
    }

    /// Marks the import as finished, once every contact is answered; then `isFinished` holds.
    func finish() {
        guard !isEnding, !isFinished else { return }
        add(RowBlock(plan: opened.plan), to: homeLane, ending: .finished)
    }

    private func handOver(to lane: Int, ending: ImportState?) {
        guard let block = blocks[lane].take() else { return }
        add(block, to: lane, ending: ending)
    }

    /// What a lane holds counts in the budget until it is decided, whatever becomes of the call.
    private func add(_ block: RowBlock, to lane: Int, ending: ImportState?) {
        if ending != nil { isEnding = true }
        outstandingCount += 1
        let byteCount = block.byteCount
        budget.chargeWork(byteCount)
        let session = NIOLoopBound(self, eventLoop: eventLoop)
        let eventLoop = eventLoop
        let refusals = block.refusals
        let decidedThrough = max(
            window.first - 1, opened.ledger?.decidedBefore.through ?? 0)
        let work = LaneWork(
            block: block, ledger: opened.ledger, decidedThrough: decidedThrough, ending: ending
        ) { outcome in
            eventLoop.execute {
                session.value.settle(outcome, refusals, byteCount, isEnd: ending != nil)
            }
        }
        lanes.add(work, to: lane)
    }

    private func settle(
        _ outcome: BlockOutcome, _ refusals: [RowBlock.Refusal], _ byteCount: Int, isEnd: Bool
    ) {
        budget.chargeWork(-byteCount)
        if let goal = engine.lanes.byteGoal {
            budget.workLimitByteCount = ServerLimits.workBytes.clamping(goal)
        }
        outstandingCount -= 1
        window.settle(outcome)
        for (place, _) in outcome.errors {
            let isReplay = opened.ledger?.wasDecided(outcome.entries[place].sequence) ?? false
            if !isReplay { failureCount += 1 }
        }
        if let reason = outcome.failure {
            if case .settingsChanged = reason { engine.forgetWorkspaces() }
            if failure == nil { failure = reason }
        } else {
            for refusal in refusals { window.fail(refusal.sequence, refusal.error) }
            if isEnd { isFinished = true }
        }
        if isAbandoned, outstandingCount == 0, let ledger = opened.ledger {
            engine.interrupt(ledger)
        }
        onSettled?()
    }
}

/// The counts of one call, made as its answers go out.
struct SummaryCounter {
    private(set) var summary = UpsertSummary()

    init(committedThrough: UInt64 = 0) {
        summary.committedThrough = committedThrough
    }

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
