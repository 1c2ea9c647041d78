// In: the calls of one connection that answer anybody, such as those about the server's health. Out: how
// much they hold, and which of them holds too much.
// On which thread: the connection's event loop.

import HTTP2

/// Calls whose caller nobody knows. What others may hold until their caller is known is nothing: the
/// router knows it, or refuses the call, when the request's head has come.
struct AnybodysCalls {
    /// Their requests are names; a longer message has no use.
    static let messageByteCount = 4 * 1024
    /// Of all requests to them on one connection: four that are as large as they may be.
    static let heldByteCount = 4 * (messageByteCount + Envelope.prefixByteCount)

    /// Of such calls that stay open on one connection: each costs up to 2 KiB, so these are 64 KiB.
    static let maxCount = 32

    /// Of calls that stay open, such as those that watch the server's health, while the server has as
    /// many calls as it may.
    static let leastCount = 4

    private var calls: [StreamID: ServerCall] = [:]

    mutating func add(_ call: ServerCall) { calls[call.stream] = call }

    mutating func remove(_ stream: StreamID) {
        if !calls.isEmpty { calls[stream] = nil }
    }

    var unsentByteCount: Int { calls.values.reduce(0) { $0 + $1.unsentByteCount } }

    var newestBeyondLeast: ServerCall? { newest(beyond: Self.leastCount) }

    var newestBeyondMost: ServerCall? {
        calls.count > Self.maxCount ? newest(beyond: Self.maxCount) : nil
    }

    private func newest(beyond count: Int) -> ServerCall? {
        let open = calls.values.filter { !$0.isFinished }
        return open.count > count ? open.max { $0.stream < $1.stream } : nil
    }

    /// The newest one that holds anything, if together they hold too much.
    var oneTooMany: ServerCall? {
        if calls.isEmpty { return nil }
        guard calls.values.reduce(0, { $0 + $1.heldByteCount }) > Self.heldByteCount else {
            return nil
        }
        return calls.values.filter { $0.heldByteCount > 0 && !$0.isFinished }
            .max { $0.stream < $1.stream }
    }
}
