// In: when streams are opened. Out: whether it is too often.
// On which thread: the connection's event loop.

import NIOCore

/// Counts the streams of one connection by the second. A pure machine.
struct StreamRate {
    private let limit: Int
    private var second: NIODeadline?
    private var count = 0

    init(limit: Int) { self.limit = limit }

    /// False: one more than the limit in this second.
    mutating func open(at now: NIODeadline) -> Bool {
        if let second, now - second < .seconds(1) {
            count += 1
        } else {
            second = now
            count = 1
        }
        return count <= limit
    }
}
