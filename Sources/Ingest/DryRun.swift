// A dry run: a lane of one call alone, whose transactions change nothing.
//
// In: blocks of the call. Out: what would become of their contacts, in the order they came. Its
// thread and its connection live as long as the call.

internal import Logging
internal import Synchronization

package final class DryRun: Sendable {
    /// Each has a connection and a temporary table on the database's disk.
    package static let limit = 8

    package let lanes: LaneSet
    private let queue: LaneQueue
    private let count: Count
    private let thread: WorkerThread
    private let isClosed = Atomic(false)

    /// Counts the dry runs of an engine.
    final class Count: Sendable {
        private let value = Atomic(0)

        func take() -> Bool {
            guard value.add(1, ordering: .relaxed).newValue > DryRun.limit else { return true }
            value.subtract(1, ordering: .relaxed)
            return false
        }

        func giveBack() { value.subtract(1, ordering: .relaxed) }
    }

    init(conninfo: String, count: Count, logger: Logger) {
        let queue = LaneQueue()
        self.queue = queue
        self.count = count
        lanes = LaneSet(queues: [queue])
        let connector = LaneConnector(
            conninfo: conninfo, isDryRun: true, paths: PathCounters())
        thread = WorkerThread {
            var lane = Lane(
                queue: queue, connector: connector, number: 0, logger: logger, onRefusal: {})
            lane.run()
            count.giveBack()
        }
    }

    deinit { close() }

    /// Lets it finish what it has and forget all it has seen.
    package func close() {
        if !isClosed.exchange(true, ordering: .relaxed) { queue.close() }
    }
}
