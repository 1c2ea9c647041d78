// How many contacts a lane takes at once, so that a transaction lasts about as long as it should.
//
// In: how long transactions took. Out: the most contacts for the next, and how many bytes should
// wait meanwhile. A value of one lane. Fewer at once would cost throughput: every transaction has
// its fsync and its round trips. More would only make everybody wait longer for an answer.

struct TransactionPace {
    /// What a transaction should take under full load. Whoever comes to a busy lane waits for the
    /// one at work and is part of the next.
    private static let goal = Duration.milliseconds(50)
    /// Fewer would save little time: most of it would go to the fsync and the round trips.
    private static let smallest = 2_000

    /// For the next transaction.
    private(set) var contactLimit = 4_000
    private var nanosecondsPerContact = 0.0

    /// Of a transaction that was committed at the first try.
    mutating func took(_ duration: Duration, for contacts: Int) {
        guard contacts >= Self.smallest else { return }
        let pace = duration / .nanoseconds(1) / Double(contacts)
        nanosecondsPerContact =
            nanosecondsPerContact == 0 ? pace : nanosecondsPerContact * 0.75 + pace * 0.25
        let fitting = Self.goal / .nanoseconds(1) / nanosecondsPerContact
        contactLimit = Int(
            min(Double(LaneQueue.transactionContactLimit), max(Double(Self.smallest), fitting)))
    }
}
