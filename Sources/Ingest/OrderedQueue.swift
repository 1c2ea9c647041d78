// What waits for any lane and must be written as if in the order in which it came: contacts of which
// any two may contend for an identifier.
//
// In: blocks of many calls, from event loops. Out: batches with their turns, to whichever lane is
// free. Any thread.

internal import DequeModule
internal import NIOConcurrencyHelpers

final class OrderedQueue: Sendable {
    private struct State {
        var waiting: Deque<LaneWork> = []
        /// Of what waits.
        var contactCount = 0
        var turns: Turns
        /// Of turns whose lanes wait for earlier ones.
        var bells: [UInt64: ConditionLock<Bool>] = [:]
    }

    private let doors: LaneDoors
    private let contactLimit: Int
    private let state: NIOLockedValueBox<State>

    /// Less is not worth a transaction of its own while other lanes are free.
    private static let leastShare = 1_000

    /// - Parameter contactLimit: The most that one batch takes.
    init(doors: LaneDoors, contactLimit: Int) {
        self.doors = doors
        self.contactLimit = contactLimit
        // Lanes that wait for a look-up which waits for another program must not be all there are.
        state = NIOLockedValueBox(State(turns: Turns(limit: max(2, doors.count - 1))))
    }

    func add(_ work: LaneWork) {
        change {
            $0.waiting.append(work)
            $0.contactCount += work.block.itemCount
        }
    }

    /// Whether a lane could take something now.
    var isReady: Bool { state.withLockedValue(Self.isReady) }

    private static func isReady(_ state: inout State) -> Bool {
        !state.waiting.isEmpty && state.turns.canBegin
    }

    /// Takes what one transaction may hold, or a share of what waits if other lanes are free too.
    func take(atMost laneLimit: Int) -> LaneBatch? {
        let freeCount = max(1, doors.freeCount)
        return state.withLockedValue { state in
            guard Self.isReady(&state) else { return nil }
            let share = (state.contactCount + freeCount - 1) / freeCount
            let works = LaneQueue.takeTransaction(
                from: &state.waiting, min(contactLimit, laneLimit, max(share, Self.leastShare)))
            state.contactCount -= works.reduce(0) { $0 + $1.block.itemCount }
            let turn = OrderedTurn(queue: self, number: state.turns.begin())
            return LaneBatch(works: works, turn: turn)
        }
    }

    /// Changes the state; then whoever may go on now does.
    fileprivate func change(_ turns: (inout Turns) -> Void) {
        change { (state: inout State) in turns(&state.turns) }
    }

    private func change(_ body: (inout State) -> Void) {
        let (bells, isReady) = state.withLockedValue { state in
            body(&state)
            return (Array(state.bells.values), Self.isReady(&state))
        }
        for bell in bells {
            bell.lock()
            bell.unlock(withValue: true)
        }
        if isReady { doors.wakeFreeLane() }
    }

    /// Asks until the answer is there, again after each change.
    ///
    /// - Parameter deadline: When to go without an answer; `nil`: never.
    fileprivate func ask<Answer>(
        _ number: UInt64, until deadline: ContinuousClock.Instant? = nil,
        _ question: (inout Turns) -> Answer?
    ) -> Answer? {
        let bell = ConditionLock(value: false)
        defer { state.withLockedValue { $0.bells[number] = nil } }
        while true {
            let (answer, isReady) = state.withLockedValue { state in
                let answer = question(&state.turns)
                state.bells[number] = bell
                return (answer, Self.isReady(&state))
            }
            if let answer {
                // A turn that goes on holds the queue up no more.
                if isReady { doors.wakeFreeLane() }
                return answer
            }
            guard Self.wait(for: bell, until: deadline) else { return nil }
        }
    }

    private static func wait(
        for bell: ConditionLock<Bool>, until deadline: ContinuousClock.Instant?
    ) -> Bool {
        guard let deadline else {
            bell.lock(whenValue: true)
            bell.unlock(withValue: false)
            return true
        }
        let (seconds, attoseconds) = max(.zero, deadline - .now).components
        let timeout = Double(seconds) + Double(attoseconds) / 1e18
        guard timeout > 0, bell.lock(whenValue: true, timeoutSeconds: timeout) else { return false }
        bell.unlock(withValue: false)
        return true
    }
}

/// What was looked up may not be what earlier batches leave: the transaction has to begin anew.
struct OutOfTurn: Error {}

/// A batch's place among those of its queue. One lane's thread.
final class OrderedTurn: Sendable {
    /// How long a transaction that has looked up waits for others to do so. Those may wait for what
    /// it holds, which nobody but the end of this would find.
    private static let patience = Duration.seconds(1)

    private let queue: OrderedQueue
    private let number: UInt64

    fileprivate init(queue: OrderedQueue, number: UInt64) {
        self.queue = queue
        self.number = number
    }

    /// Tells what the batch mentions.
    func load(_ batch: UpsertBatch) {
        let mentions = batch.mentions()
        queue.change { $0.load(number, mentions, workspaces: batch.workspaceIDs) }
        batch.turn = self
        batch.turnMentions = mentions
    }

    /// Waits until a transaction may begin.
    func begin() {
        _ = queue.ask(number) { $0.mayLookUp(self.number) ? true : nil }
    }

    /// Tells what stands in the contacts of a range of items.
    func lookedUp(_ batch: UpsertBatch, _ range: Range<Int>) {
        let standing = batch.standing(range, besides: batch.turnMentions)
        let isWhole = range.upperBound == batch.items.count
        queue.change { $0.lookedUp(number, standing, isWhole: isWhole) }
    }

    /// Waits until the transaction may write.
    ///
    /// - Parameter holdsRows: Whether it holds locks that an earlier one may wait for.
    func enterWrite(holdsRows: Bool) throws(OutOfTurn) {
        let deadline = ContinuousClock.now + (holdsRows ? .zero : Self.patience)
        let passage: Turns.Passage? = queue.ask(number, until: deadline) {
            let passage = $0.mayWrite(self.number)
            return passage == .wait ? nil : passage
        }
        if passage == .free { return }
        if passage == nil { queue.change { $0.giveWay(self.number) } }
        throw OutOfTurn()
    }

    /// The batch is written, or given up.
    func end() { queue.change { $0.end(self.number) } }
}

extension RowBlock {
    /// What counts in a transaction's limit.
    var itemCount: Int { rows.count + refusals.count }
}
