// In: the kinds of frames that come and go. Out: whether the peer makes us work for nothing.
// nghttp2 1.52 bounds CONTINUATION frames and entries of SETTINGS; all else is counted here, per
// tick, against the useful frames or the answered streams of the same tick.
// On which thread: the connection's event loop.

/// Counts frames of one connection. A pure machine.
struct FloodGuard {
    private let limits: ConnectionLimits
    private var usefulFrameCount = 0
    private var cheapFrameCount = 0
    private var resetCount = 0
    private var provokedResetCount = 0
    private var answeredStreamCount = 0
    private var surplusHeaderByteCount = 0

    init(limits: ConnectionLimits) { self.limits = limits }

    mutating func useful() { usefulFrameCount &+= 1 }
    mutating func cheap() { cheapFrameCount &+= 1 }
    mutating func reset() { resetCount &+= 1 }
    mutating func provokedReset() { provokedResetCount &+= 1 }
    /// A header field beyond the limit of its block.
    mutating func surplusField(byteCount: Int, isFirstOfBlock: Bool) {
        surplusHeaderByteCount &+= byteCount + ConnectionLimits.surplusFieldCost
        if isFirstOfBlock { surplusHeaderByteCount &+= ConnectionLimits.surplusBlockCost }
    }
    mutating func answeredStream() { answeredStreamCount &+= 1 }

    /// A stream that was refused is one that the client may try again, and did nothing here: its
    /// HEADERS were not useful. That is no reset which the peer provoked, but a client that does
    /// nothing else is ended too.
    ///
    /// - Parameter wasBegun: Its fields were read before it was refused, which costs ten times a frame.
    mutating func refusedStream(wasBegun: Bool = false) {
        usefulFrameCount = max(0, usefulFrameCount - 1)
        cheapFrameCount &+= wasBegun ? 4 : 1
    }

    /// The same, of which the peer is not to blame.
    mutating func refusedForOthers() { usefulFrameCount = max(0, usefulFrameCount - 1) }

    var fault: ConnectionFault? {
        let allowedResetCount = limits.resetCountPerTick + answeredStreamCount
        if resetCount > allowedResetCount { return .tooManyResets }
        if provokedResetCount > allowedResetCount { return .provokedResets }
        if hasTooLargeHeaders { return .oversizedHeaders }
        let allowedCheapFrameCount =
            limits.cheapFrameCountPerTick + limits.cheapFramesPerUsefulFrame * usefulFrameCount
        return cheapFrameCount > allowedCheapFrameCount ? .uselessFrames : nil
    }

    var hasTooLargeHeaders: Bool { surplusHeaderByteCount > limits.surplusHeaderByteCountPerTick }

    /// A new tick: counting begins anew, but for half of the resets, so that two bursts around a
    /// tick do not pass as one each.
    mutating func tick() {
        resetCount = max(0, resetCount - answeredStreamCount) / 2
        provokedResetCount = max(0, provokedResetCount - answeredStreamCount) / 2
        answeredStreamCount = 0
        usefulFrameCount = 0
        cheapFrameCount = 0
        surplusHeaderByteCount = 0
    }
}
