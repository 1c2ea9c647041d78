// In: the kinds of frames that come and go. Out: whether the peer makes us work for nothing.
// nghttp2 1.52 bounds resets which the peer sends and CONTINUATION frames; all others are counted
// here, per tick, against the useful frames of the same tick.
// On which thread: the connection's event loop.

/// Counts frames of one connection. A pure machine.
struct FloodGuard {
    private let limits: ConnectionLimits
    private var usefulFrameCount = 0
    private var cheapFrameCount = 0
    private var provokedResetCount = 0

    init(limits: ConnectionLimits) { self.limits = limits }

    mutating func useful() { usefulFrameCount &+= 1 }
    mutating func cheap() { cheapFrameCount &+= 1 }
    mutating func provokedReset() { provokedResetCount &+= 1 }

    var isFlooded: Bool {
        provokedResetCount > limits.provokedResetCountPerTick
            || cheapFrameCount
                > limits.cheapFrameCountPerTick + limits.cheapFramesPerUsefulFrame
                * usefulFrameCount
    }

    /// A new tick: counting begins anew.
    mutating func tick() {
        usefulFrameCount = 0
        cheapFrameCount = 0
        provokedResetCount = 0
    }
}
