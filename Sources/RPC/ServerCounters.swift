// In: what opens and closes. Out: how much is open now.
// On which thread: any; shared by all event loops.

import Synchronization

/// What is open, for the operator's eyes.
package final class ServerCounters: Sendable {
    private let connections = Atomic<Int>(0)
    private let calls = Atomic<Int>(0)
    private let endedCalls = Atomic<Int>(0)

    package let refusals = Refusals()

    package init() {}

    package var openConnectionCount: Int { connections.load(ordering: .relaxed) }
    package var openCallCount: Int { calls.load(ordering: .relaxed) }

    /// Since the start.
    package var endedCallCount: Int { endedCalls.load(ordering: .relaxed) }

    func connectionsChanged(by count: Int) { connections.wrappingAdd(count, ordering: .relaxed) }

    func callsChanged(by count: Int) {
        calls.wrappingAdd(count, ordering: .relaxed)
        if count < 0 { endedCalls.wrappingSubtract(count, ordering: .relaxed) }
    }
}
