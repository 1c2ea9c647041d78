// In: how many bytes calls hold of messages whose end has not come. Out: whether a connection holds
// too many.
// On which thread: any; shared by all event loops.

import Synchronization

/// A bound for the beginnings of messages.
///
/// They cannot wait for credit, as whole messages do, since only more bytes make them whole. So a
/// peer that begins the largest message on each of its streams, and ends none, must lose calls.
package final class UnfinishedMessages: Sendable {
    /// Four of the largest messages, amid which a client may send on as many streams at once.
    package static let byteCountOfConnection = 16 * 1024 * 1024
    /// Of all connections. Beyond it each may hold its share alone.
    package static let byteCountOfAll = 64 * 1024 * 1024
    /// What any connection may hold: a message of some hundred contacts.
    static let leastShareByteCount = 64 * 1024
    /// A message that is under way for so many ticks is given up: the largest one comes in five
    /// minutes at 14 KB/s. Ticks in which the server held the connection back do not count.
    static let maxTickCount = 30

    private let held = Atomic<Int>(0)

    package init() {}

    func charge(_ byteCount: Int) { held.wrappingAdd(byteCount, ordering: .relaxed) }

    package var byteCount: Int { held.load(ordering: .relaxed) }

    /// What one of so many connections may hold now.
    func limit(connectionCount: Int) -> Int {
        if byteCount <= Self.byteCountOfAll { return Self.byteCountOfConnection }
        let share = Self.byteCountOfAll / max(1, connectionCount)
        return min(max(share, Self.leastShareByteCount), Self.byteCountOfConnection)
    }
}
