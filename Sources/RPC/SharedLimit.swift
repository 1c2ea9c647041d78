// In: how much the calls of each connection hold of one thing. Out: whether a connection may take more.
// On which thread: the limit on any, it is shared by all event loops; a part on its connection's.

import Synchronization

/// A bound for something that peers may leave with the server for as long as they like.
///
/// While all hold less than the limit, anybody may take more. Beyond it a connection may that holds
/// less than its share, so that nobody who lets things lie can stop the others.
package final class SharedLimit: Sendable {
    private let limit: Int
    private let leastShare: Int
    private let held = Atomic<Int>(0)
    private let holders = Atomic<Int>(0)

    /// - Parameters:
    ///   - limit: Of all connections together.
    ///   - leastShare: What any connection may hold, however many there are.
    package init(_ limit: Int, leastShare: Int) {
        precondition(leastShare > 0, "a share of nothing would stop every connection")
        self.limit = limit
        self.leastShare = leastShare
    }

    /// What all hold.
    package var count: Int { held.load(ordering: .relaxed) }

    /// All together hold as much as they should, or more.
    package var isFull: Bool { count >= limit }

    private var share: Int {
        max(leastShare, limit / max(1, holders.load(ordering: .relaxed)))
    }

    /// What one connection holds.
    package final class Part {
        private let whole: SharedLimit
        package private(set) var count = 0

        package init(of whole: SharedLimit) { self.whole = whole }

        deinit { add(-count) }

        /// A negative count gives back.
        package func add(_ change: Int) {
            guard change != 0 else { return }
            let hadAny = count > 0
            count += change
            whole.held.wrappingAdd(change, ordering: .relaxed)
            if hadAny != (count > 0) {
                whole.holders.wrappingAdd(hadAny ? -1 : 1, ordering: .relaxed)
            }
        }

        /// By how much the connection holds more than it should, all together holding too much.
        package var excess: Int {
            whole.isFull ? max(0, count - whole.share) : 0
        }

        /// Whether the connection may take more.
        package var hasRoom: Bool { !whole.isFull || count < whole.share }

        /// The same for what may be kept for ever: shares grow smaller while connections come, and
        /// those that took theirs before would keep it.
        package var hasRoomToKeep: Bool { !whole.isFull || count < whole.leastShare }

        /// The same for a call that holds nothing: calls that do must not keep it from its first.
        package var hasRoomForFirst: Bool { hasRoom || count < 2 * whole.share }
    }
}
