// Something that happens to a connection a little later, on a thread of its own.

import Foundation
import Postgres

final class WorkAfter: @unchecked Sendable {  // safe because the connection is used by the thread alone
    private let done = DispatchSemaphore(value: 0)
    private let connection: Connection

    init(
        milliseconds: Int, _ connection: Connection, _ work: @escaping @Sendable (Connection) -> Void
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
