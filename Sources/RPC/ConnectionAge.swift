// In: when a connection was opened, and when it has calls. Out: when it is time for it to go, and
// when to look next.
// On which thread: the connection's event loop. A pure machine: clock and chance are handed in.

package import NIOCore

/// How long connections may live. The client is told to make a new one (GOAWAY, in two steps, so
/// that no call is lost); open calls go on to their end, however long that takes (gRFC A9 has the
/// same with an infinite grace): an import of a day is not cut for the age of its connection.
package struct ConnectionAgeLimits: Sendable {
    /// Since it was opened; nil: for ever.
    package var age: TimeAmount?
    /// Without a call; nil: for ever.
    package var idle: TimeAmount?

    package init(age: TimeAmount? = nil, idle: TimeAmount? = nil) {
        self.age = age
        self.idle = idle
    }

    /// Each connection's limits are up to this part shorter or longer (gRFC A9), so that those that
    /// came together do not all come back together.
    static let jitter = 0.1
}

struct ConnectionAge {
    private let retireAt: NIODeadline?
    private let idle: TimeAmount?
    /// nil while there are calls.
    private var idleSince: NIODeadline?

    /// - Parameter chance: From -1 to 1.
    init(_ limits: ConnectionAgeLimits, openedAt now: NIODeadline, chance: Double) {
        func jittered(_ amount: TimeAmount) -> TimeAmount {
            let factor = 1 + ConnectionAgeLimits.jitter * chance
            return .nanoseconds(Int64(Double(amount.nanoseconds) * factor))
        }
        retireAt = limits.age.map { now + jittered($0) }
        idle = limits.idle.map(jittered)
        idleSince = now
    }

    mutating func callsChanged(openCount: Int, now: NIODeadline) {
        if openCount > 0 { idleSince = nil } else if idleSince == nil { idleSince = now }
    }

    func isOver(now: NIODeadline) -> Bool {
        if let retireAt, retireAt <= now { return true }
        if let idle, let idleSince, idleSince + idle <= now { return true }
        return false
    }

    /// Not before this can it be over.
    func nextLook(now: NIODeadline) -> NIODeadline? {
        let idleEnd = idle.map { (idleSince ?? now) + $0 }
        return [retireAt, idleEnd].compactMap { $0 }.min()
    }
}
