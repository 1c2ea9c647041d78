// The lanes that the contacts of a call go to.
//
// In: a contact's plan and key. Out: its lane. Any thread.

internal import Contacts

package struct LaneSet: Sendable {
    private let queues: [LaneQueue]
    /// As many as lanes, or none where there is one lane alone.
    private let ordered: [OrderedQueue]

    init(queues: [LaneQueue], ordered: [OrderedQueue] = []) {
        precondition(!queues.isEmpty, "there are lanes")
        self.queues = queues
        self.ordered = ordered
    }

    /// The lanes, and the queues whose batches go to any of them.
    package var count: Int { queues.count + ordered.count }

    /// How many bytes lanes should have at once: a transaction at work and one that waits, for each.
    /// More would only wait longer. `nil` while that is not known.
    package var byteGoal: Int? {
        let goal = queues.reduce(0) { $0 + $1.transactionByteGoal }
        return goal > 0 ? 2 * goal : nil
    }

    /// The lane of a contact, or its ordered queue.
    ///
    /// Contacts of one key share a lane, which keeps their order. Where a workspace has several
    /// unique identifiers, any two of its contacts may contend for one, so they share an ordered
    /// queue; so do contacts that are matched by id and may change any identifier.
    package func lane(of plan: WritePlan, keyHash: UInt64) -> Int {
        let hash =
            plan.contactsContend
            ? KeyHash.mix(UInt64(truncatingIfNeeded: plan.workspace.id), 0x9E37_79B9_7F4A_7C15)
            : keyHash
        // The low bits find a bucket within the lane.
        let place = Int((hash >> 32).multipliedFullWidth(by: UInt64(queues.count) << 32).high)
        return plan.contactsContend && !ordered.isEmpty ? queues.count + place : place
    }

    /// Hands a block to its lane. Blocks of one caller are served in the order they come.
    package func add(_ work: LaneWork, to lane: Int) {
        if lane < queues.count {
            queues[lane].add(work)
        } else {
            ordered[lane - queues.count].add(work)
        }
    }
}
