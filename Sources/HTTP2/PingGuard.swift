// In: when PINGs came, and whether anything went over the connection since the one before.
// Out: whether it is too many.
// On which thread: the connection's event loop.

import NIOCore

/// Counts PINGs which keep nothing alive, as gRPC servers do (gRFC A8). A pure machine.
struct PingGuard {
    /// PINGs this far apart are nobody's burden. gRPC's default is five minutes, but a client cannot
    /// know a server's figure, and many set 10 or 20 s.
    static let interval = TimeAmount.seconds(10)
    /// Timers are not exact, and bytes wait on the line.
    private static let slack = TimeAmount.seconds(1)
    /// As in every gRPC library.
    static let maxStrikeCount = 2

    private var last: NIODeadline?
    private var strikeCount = 0

    /// - Parameter isIdle: Neither DATA nor HEADERS came or went since the PING before.
    mutating func pinged(at now: NIODeadline, isIdle: Bool) {
        if !isIdle { strikeCount = 0 }
        if isIdle, let last, now - last < Self.interval - Self.slack { strikeCount += 1 }
        last = now
    }

    var isFlooded: Bool { strikeCount > Self.maxStrikeCount }
}
