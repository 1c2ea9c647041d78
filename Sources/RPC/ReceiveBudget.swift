// In: how many bytes of complete messages each call holds. Out: whether all connections together
// hold too much, so that connections stop giving credit.
// On which thread: any; shared by all event loops.

import Synchronization

/// Bytes of whole messages received and not done yet, over all connections of a server, and what
/// handlers charge of their own for messages that they have discharged.
package final class ReceiveBudget: Sendable {
    private let limitByteCount: Int
    private let used = Atomic<Int>(0)

    package init(limitByteCount: Int) {
        precondition(limitByteCount > 0, "a budget of nothing would stop every connection")
        self.limitByteCount = limitByteCount
    }

    package var usedByteCount: Int { used.load(ordering: .relaxed) }

    var isExhausted: Bool { usedByteCount >= limitByteCount }

    /// A negative count gives back.
    package func charge(_ byteCount: Int) {
        if byteCount != 0 { used.wrappingAdd(byteCount, ordering: .relaxed) }
    }
}

/// What is open, for the operator's eyes.
package final class ServerCounters: Sendable {
    private let connections = Atomic<Int>(0)
    private let calls = Atomic<Int>(0)

    package init() {}

    package var openConnectionCount: Int { connections.load(ordering: .relaxed) }
    package var openCallCount: Int { calls.load(ordering: .relaxed) }

    func connectionsChanged(by count: Int) { connections.wrappingAdd(count, ordering: .relaxed) }
    func callsChanged(by count: Int) { calls.wrappingAdd(count, ordering: .relaxed) }
}
