// The bounds of beginnings of messages. Constants.

/// A bound for the beginnings of messages.
///
/// They cannot wait for credit, as whole messages do, since only more bytes make them whole. So a
/// peer that begins the largest message on each of its streams, and ends none, must lose calls.
package enum UnfinishedMessages {
    /// Four of the largest messages, amid which a client may send on as many streams at once.
    package static let byteCountOfConnection = 16 * 1024 * 1024
    /// Of all connections. Beyond it those that hold more than their share lose calls, and all lose
    /// those whose message is late.
    package static let byteCountOfAll = 32 * 1024 * 1024
    /// What any connection may hold: a message of some hundred contacts.
    package static let leastShareByteCount = 64 * 1024
    /// A message that is under way for so many ticks is given up: the largest one comes in five
    /// minutes at 14 KB/s. Ticks in which the server held the connection back do not count.
    static let maxTickCount = 30
    /// The same while all hold too much.
    static let maxTickCountWhenFull = 1
}
