// The lanes that the contacts of a call go to.
//
// In: a contact's plan and key. Out: its lane. Any thread.

internal import Contacts

package struct LaneSet: Sendable {
    private let queues: [LaneQueue]

    init(queues: [LaneQueue]) {
        precondition(!queues.isEmpty, "there are lanes")
        self.queues = queues
    }

    package var count: Int { queues.count }

    /// How many bytes lanes should have at once: a transaction at work and one that waits, for each.
    /// More would only wait longer. `nil` while that is not known.
    package var byteGoal: Int? {
        let goal = queues.reduce(0) { $0 + $1.transactionByteGoal }
        return goal > 0 ? 2 * goal : nil
    }

    /// The lane of a contact.
    ///
    /// Contacts of one key share a lane, which keeps their order. Where a workspace has several
    /// unique identifiers, any two of its contacts may contend for one, so they share a lane; so do
    /// contacts that are matched by id and may change any identifier.
    package func lane(of plan: WritePlan, keyHash: UInt64) -> Int {
        let hash =
            plan.contactsContend
            ? KeyHash.mix(UInt64(truncatingIfNeeded: plan.workspace.id), 0x9E37_79B9_7F4A_7C15)
            : keyHash
        // The low bits find a bucket within the lane.
        return Int((hash >> 32).multipliedFullWidth(by: UInt64(queues.count) << 32).high)
    }

    /// Hands a block to its lane. Blocks of one caller are served in the order they come.
    package func add(_ work: LaneWork, to lane: Int) {
        queues[lane].add(work)
    }
}
