// The one place where this module waits for a socket. In: a descriptor, events, a deadline. Out:
// the events that came, or nil when the time was up. Blocks the calling thread. A stuck server
// holds a healthy TCP connection, so neither keepalives nor tcp_user_timeout notice it; this does.

import Glibc

struct Deadline {
    private let nanoseconds: Int64

    init(after duration: Duration) {
        let (seconds, attoseconds) = duration.components
        let bounded = min(max(seconds, 0), Self.longestSeconds)
        nanoseconds = Self.now() + bounded * 1_000_000_000 + max(attoseconds, 0) / 1_000_000_000
    }

    private init(nanoseconds: Int64) {
        self.nanoseconds = nanoseconds
    }

    var isOver: Bool { Self.now() >= nanoseconds }

    /// This one, or so long from now if that is earlier.
    func atMost(_ duration: Duration) -> Deadline {
        Deadline(nanoseconds: min(nanoseconds, Deadline(after: duration).nanoseconds))
    }

    /// Waits for any of the `poll` events. An error of the descriptor counts as an event, so that
    /// the caller's next read or write reports it.
    func wait(for events: CInt, on descriptor: CInt) -> CInt? {
        var entry = pollfd(fd: descriptor, events: Int16(truncatingIfNeeded: events), revents: 0)
        while true {
            let count = poll(&entry, 1, remainingMilliseconds)
            if count > 0 { return CInt(entry.revents) }
            if count < 0 && errno != EINTR { return POLLERR }
            if isOver { return nil }
        }
    }

    enum Ready {
        case first
        case second
        case timeIsUp
    }

    /// Waits for input, or an error, on either of two descriptors; the first one goes before.
    func wait(forInputOn first: CInt, or second: CInt) -> Ready {
        var entries = [
            pollfd(fd: first, events: Int16(POLLIN), revents: 0),
            pollfd(fd: second, events: Int16(POLLIN), revents: 0),
        ]
        while true {
            let count = poll(&entries, 2, remainingMilliseconds)
            if count > 0 { return entries[0].revents != 0 ? .first : .second }
            if count < 0 && errno != EINTR { return .first }
            if isOver { return .timeIsUp }
        }
    }

    /// Rounded up, so that the last wait does not spin.
    private var remainingMilliseconds: CInt {
        let remaining = max(nanoseconds - Self.now(), 0)
        return CInt(clamping: (remaining + 999_999) / 1_000_000)
    }

    /// Ten years: keeps the sum below from overflowing.
    private static let longestSeconds: Int64 = 10 * 366 * 86_400

    /// Counts on while the wall clock is set.
    private static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
