// Something that happens to a connection a little later, on a thread of its own.

import Foundation
import Postgres

// Safe because the connection is used by the new thread alone.
final class WorkAfter: @unchecked Sendable {
    private let done = DispatchSemaphore(value: 0)
    private let connection: Connection

    init(
        milliseconds: Int, _ connection: Connection,
        _ work: @escaping @Sendable (Connection) -> Void
    ) {
        self.connection = connection
        Thread.detachNewThread {
            Thread.sleep(forTimeInterval: Double(milliseconds) / 1000)
            work(self.connection)
            self.done.signal()
        }
    }

    func wait() { done.wait() }
}
