// What waits for one lane.
//
// In: blocks of many calls, from event loops. Out: as many as one transaction takes, to the lane's
// thread. This is the first of the two thread hops, and the only lock on the path of a contact.

package import Contacts
internal import DequeModule
internal import NIOConcurrencyHelpers
internal import Synchronization

/// A block and where its outcomes go.
package struct LaneWork: Sendable {
    package let block: RowBlock
    /// Where the call keeps its progress; a dry run has none.
    package let ledger: ImportLedger?
    /// All contacts of the call up to this one were decided when the block was handed over.
    package let decidedThrough: UInt64
    /// How the import ends once the block is written, if it does.
    package let ending: ImportState?
    /// Called once on the lane's thread, after the COMMIT.
    package let deliver: @Sendable (BlockOutcome) -> Void

    package init(
        block: RowBlock, ledger: ImportLedger?, decidedThrough: UInt64, ending: ImportState? = nil,
        deliver: @escaping @Sendable (BlockOutcome) -> Void
    ) {
        self.block = block
        self.ledger = ledger
        self.decidedThrough = decidedThrough
        self.ending = ending
        self.deliver = deliver
    }
}

/// What became of the contacts of one block.
package struct BlockOutcome: Sendable {
    package struct Entry: Sendable {
        package let sequence: UInt64
        /// Of a failed contact, unspecified.
        package let status: UpsertStatus
        package let id: ContactID
    }

    /// Of each contact with a row, in the block's order.
    package var entries: [Entry] = []
    /// The errors of those that failed, by their place in `entries`.
    package var errors: [(index: Int, error: ContactError)] = []
    /// Set when nothing is known of the contacts that have no entry, and of refused ones.
    package var failure: IngestFailure?
}

extension BlockOutcome {
    /// What a block would come to if none of its contacts were there.
    package init(creating block: RowBlock) {
        block.bytes.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            entries = block.rows.map { row in
                Entry(
                    sequence: row.sequence, status: .created,
                    id: RowLayout.id(of: base + Int(row.offset)))
            }
        }
    }
}

/// Why a block got no answer.
package enum IngestFailure: Error, Sendable {
    /// The database stayed away for as long as a lane waits for it. Nothing was written.
    case databaseAway
    /// The connection broke during COMMIT: the contacts may be there or not.
    case outcomeUnknown
    /// The database refuses in a way that no retry and no other contact would change.
    case databaseRefuses(sqlstate: String)
    /// Another call goes on with the import. Nothing more of this one was written.
    case takenOver
    /// The workspace's settings changed after the contacts were taken. Nothing was written.
    case settingsChanged
    /// The connection of a dry run broke, and what it had seen so far with it.
    case dryRunLost
}

/// What a lane takes at once.
package struct LaneBatch {
    package let works: [LaneWork]
    /// Of what came from an ordered queue.
    var turn: OrderedTurn?
}

package final class LaneQueue: Sendable {
    private struct State {
        var waiting: Deque<LaneWork> = []
        var isClosed = false
        /// What has come to the lane itself and what waits for any lane take turns.
        var isSharedNext = false
        /// The ordered queue that is looked into first.
        var nextShared = 0
    }

    /// The most that one transaction takes, however fast the database is.
    package static let transactionContactLimit = 10_000
    package static let transactionByteLimit = 8 * 1024 * 1024
    /// Of one block. A transaction takes blocks whole.
    static let blockContactLimit = 1_000
    static let blockByteLimit = 1024 * 1024

    private let condition: ConditionLock<Bool>
    private let state = NIOLockedValueBox(State())
    private let doors: LaneDoors
    private let lane: Int
    /// What waits for any lane.
    private let shared: [OrderedQueue]
    private let byteGoal = Atomic<Int>(0)

    /// The queue of a lane that takes nothing else.
    package convenience init() { self.init(lane: 0, doors: LaneDoors(count: 1), shared: []) }

    init(lane: Int, doors: LaneDoors, shared: [OrderedQueue]) {
        condition = doors[lane]
        self.doors = doors
        self.lane = lane
        self.shared = shared
    }

    /// The bytes of a transaction as large as it should be; 0 while that is not known.
    var transactionByteGoal: Int {
        get { byteGoal.load(ordering: .relaxed) }
        set { byteGoal.store(newValue, ordering: .relaxed) }
    }

    /// Hands a block over. Blocks of one caller are taken in the order they came.
    package func add(_ work: LaneWork) {
        condition.lock()
        state.withLockedValue { $0.waiting.append(work) }
        condition.unlock(withValue: true)
    }

    /// Whether nothing more will come: the server stops.
    var isClosed: Bool { state.withLockedValue { $0.isClosed } }

    /// Lets the lane finish what waits and then stop.
    package func close() {
        condition.lock()
        state.withLockedValue { $0.isClosed = true }
        condition.unlock(withValue: true)
    }

    /// Waits for work and takes what one transaction may hold, which is a block at least; `nil`
    /// once closed and empty.
    ///
    /// Blocks of one workspace that match by different identifiers go to different transactions:
    /// within one, an identifier is looked up once.
    package func take(atMost contactLimit: Int = transactionContactLimit) -> LaneBatch? {
        while true {
            condition.lock(whenValue: true)
            doors.setFree(lane, true)
            let (taken, isClosed) = state.withLockedValue { (look(&$0, contactLimit), $0.isClosed) }
            if taken != nil || isClosed { doors.setFree(lane, false) }
            condition.unlock(withValue: taken != nil || isClosed)
            if taken != nil, shared.contains(where: \.isReady) { doors.wakeFreeLane() }
            if taken != nil || isClosed { return taken }
        }
    }

    /// Once closed, what is left in the ordered queues and may not begin yet is taken by the lanes
    /// that it waits for.
    private func look(_ state: inout State, _ contactLimit: Int) -> LaneBatch? {
        let isOwnNext = !state.isSharedNext && !state.waiting.isEmpty
        if !isOwnNext {
            for place in shared.indices {
                let next = (state.nextShared + place) % shared.count
                guard let taken = shared[next].take(atMost: contactLimit) else { continue }
                state.nextShared = (next + 1) % shared.count
                state.isSharedNext = false
                return taken
            }
        }
        guard !state.waiting.isEmpty else { return nil }
        state.isSharedNext = true
        return LaneBatch(works: Self.takeTransaction(from: &state.waiting, contactLimit))
    }

    static func takeTransaction(
        from waiting: inout Deque<LaneWork>, _ contactLimit: Int
    ) -> [LaneWork] {
        var taken: [LaneWork] = []
        var plans: [WritePlan] = []
        var contactCount = 0
        var byteCount = 0
        while let block = waiting.first?.block {
            contactCount += block.contactCount + block.refusals.count
            byteCount += block.byteCount
            let fits =
                contactCount <= contactLimit && byteCount <= transactionByteLimit
                && !plans.contains { $0.conflicts(with: block.plan) }
            guard taken.isEmpty || fits else { break }
            if !plans.contains(block.plan) { plans.append(block.plan) }
            taken.append(waiting.removeFirst())
        }
        return taken
    }
}

extension WritePlan {
    fileprivate func conflicts(with other: WritePlan) -> Bool {
        workspace.id == other.workspace.id && matchBy != other.matchBy
    }
}
