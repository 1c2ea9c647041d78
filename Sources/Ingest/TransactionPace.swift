// How many contacts a lane takes at once.
//
// In: what became of transactions. Out: the most contacts for the next. A value of one lane.
//
// A transaction should last about as long as it should be waited for: fewer contacts at once would
// cost throughput, since every transaction has its fsync and its round trips, and more would only
// make everybody wait longer for an answer.
//
// While contacts change what stands there is another bound. Rows that were written together stand
// together, so a large transaction often changes many rows of a page, whose new versions do not fit
// in; PostgreSQL then writes them elsewhere, and every index again. If it is small enough they fit,
// and the next transaction finds the room that the old versions leave
// (src/backend/access/heap/README.HOT).

struct TransactionPace {
    /// What a transaction should take under full load, where a COMMIT is quick. Whoever comes to a
    /// busy lane waits for the one at work and is part of the next.
    private static let shortest = Duration.milliseconds(50)
    /// Where a COMMIT is slow, so many times as long as that, but not for ever.
    private static let commits = 8.0
    private static let longest = Duration.milliseconds(100)
    /// Fewer would save little time: most of it would go to the fsync and the round trips.
    private static let smallest = 2_000
    /// The same while small transactions spare the indexes.
    private static let smallestOfUpdates = 400
    /// New versions of one transaction that a page has room for: the table's fillfactor leaves four
    /// or five rows.
    private static let fittingUpdatesPerPage = 3.0
    /// Where smaller transactions do not spread over more pages, they are tried again after as many.
    private static let retryInterval = 100

    /// For the next transaction.
    var contactLimit: Int { min(fittingCount, updateLimit ?? .max) }

    private var fittingCount = 4_000
    private var nanosecondsPerContact = 0.0
    private var goal = Self.shortest
    private var updateLimit: Int?
    private var updatesUntilRetry = 0

    /// Of a transaction that was committed at the first try.
    mutating func took(_ duration: Duration, for contacts: Int) {
        guard contacts >= Self.smallest else { return }
        let pace = duration / .nanoseconds(1) / Double(contacts)
        nanosecondsPerContact =
            nanosecondsPerContact == 0 ? pace : nanosecondsPerContact * 0.75 + pace * 0.25
        let fitting = goal / .nanoseconds(1) / nanosecondsPerContact
        fittingCount = Int(
            min(Double(LaneQueue.transactionContactLimit), max(Double(Self.smallest), fitting)))
    }

    /// Of a transaction's end: the progress of its imports and the COMMIT with its fsync, which take
    /// as long for few contacts as for many.
    mutating func committed(in duration: Duration) {
        let aim = min(max(duration * Self.commits, Self.shortest), Self.longest)
        goal = goal * 0.75 + aim * 0.25
    }

    /// Of the same transaction.
    ///
    /// - Parameters:
    ///   - updates: Contacts of it that changed what stands.
    ///   - pages: Where these stood.
    mutating func wrote(_ updates: Int, onto pages: Int, of contacts: Int) {
        guard contacts >= Self.smallestOfUpdates / 2 else { return }
        guard updates * 2 > contacts, pages > 0 else { return updateLimit = nil }
        guard updatesUntilRetry == 0 else { return updatesUntilRetry -= 1 }
        let updatesPerPage = Double(updates) / Double(pages)
        if updatesPerPage <= Self.fittingUpdatesPerPage {
            // A page more or less is chance; far fewer means that more would fit.
            guard let limit = updateLimit, updatesPerPage < Self.fittingUpdatesPerPage / 2 else {
                return
            }
            // Beyond the most that a transaction takes it would bound nothing.
            let grown = limit * 5 / 4
            updateLimit = grown < LaneQueue.transactionContactLimit ? grown : nil
        } else if updateLimit == Self.smallestOfUpdates,
            updatesPerPage > 2 * Self.fittingUpdatesPerPage
        {
            updateLimit = nil
            updatesUntilRetry = Self.retryInterval
        } else {
            let fitting = Double(contacts) * 0.8 * Self.fittingUpdatesPerPage / updatesPerPage
            updateLimit = max(Self.smallestOfUpdates, Int(fitting))
        }
    }
}
