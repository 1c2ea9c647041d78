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
    private var forgivenResetCount = 0
    private var surplusHeaderByteCount = 0
    /// What the header block under way counts, until it is known whether nghttp2 takes it.
    private var blockCost = 0
    private var takenBlockCost = 0

    init(limits: ConnectionLimits) { self.limits = limits }

    mutating func useful() { usefulFrameCount &+= 1 }
    mutating func cheap() { cheapFrameCount &+= 1 }
    mutating func reset() { resetCount &+= 1 }
    mutating func provokedReset() { provokedResetCount &+= 1 }
    mutating func answeredStream() { answeredStreamCount &+= 1 }

    /// HEADERS came. Those that nghttp2 ignores, since their stream was reset for instance, it decodes
    /// all the same, and tells nobody of their fields.
    mutating func headers(byteCount: Int) {
        cheapFrameCount &+= 1
        blockCost = byteCount
        surplusHeaderByteCount &+= blockCost
    }

    /// nghttp2 takes the HEADERS that came.
    mutating func headersAreTaken() {
        cheapFrameCount = max(0, cheapFrameCount - 1)
        usefulFrameCount &+= 1
        surplusHeaderByteCount = max(0, surplusHeaderByteCount - blockCost)
        takenBlockCost = blockCost
        blockCost = 0
    }

    /// The HEADERS that were taken turned out to be malformed, and the rest of them was ignored.
    mutating func headersAreMalformed() {
        surplusHeaderByteCount &+= takenBlockCost
        takenBlockCost = 0
    }

    /// A block within the limit hardly needs one.
    mutating func continuation(byteCount: Int) {
        cheapFrameCount &+= 1
        surplusHeaderByteCount &+= byteCount
    }

    /// A header field beyond the limit of its block.
    mutating func surplusField(byteCount: Int, isFirstOfBlock: Bool) {
        surplusHeaderByteCount &+= byteCount + ConnectionLimits.surplusFieldCost
        if isFirstOfBlock { surplusHeaderByteCount &+= ConnectionLimits.surplusBlockCost }
    }

    /// A reset that the peer was right to send. So many of them in one tick are another thing.
    mutating func forgiveReset() {
        guard forgivenResetCount < ConnectionLimits.forgivenResetCountPerTick else { return }
        forgivenResetCount += 1
        answeredStreamCount &+= 1
    }

    /// A stream that was refused did nothing here: its HEADERS, DATA behind them and DATA of the answer
    /// were not useful. That is no reset which the peer provoked, but a client that does nothing else
    /// is ended too. It costs ten times a frame.
    mutating func refusedStream() {
        refusedForOthers()
        cheapFrameCount &+= 4
    }

    /// The same, of which the peer is not to blame, or that is no more often than may be.
    mutating func refusedForOthers() { usefulFrameCount = max(0, usefulFrameCount - 3) }

    /// That of the frames which cost the most: there is no use in going on to the end of the input.
    var faultOfStreams: ConnectionFault? { faultOfResets ?? faultOfHeaders }

    /// To be asked when all of an input was taken: what is useful may come behind what is not.
    var fault: ConnectionFault? {
        let allowedCheapFrameCount =
            limits.cheapFrameCountPerTick + limits.cheapFramesPerUsefulFrame * usefulFrameCount
        return faultOfResets
            ?? (cheapFrameCount > allowedCheapFrameCount ? .uselessFrames : faultOfHeaders)
    }

    private var faultOfResets: ConnectionFault? {
        let allowedResetCount = limits.resetCountPerTick + answeredStreamCount
        if resetCount > allowedResetCount { return .tooManyResets }
        return provokedResetCount > allowedResetCount ? .provokedResets : nil
    }

    private var faultOfHeaders: ConnectionFault? { hasTooLargeHeaders ? .oversizedHeaders : nil }

    var hasTooLargeHeaders: Bool {
        surplusHeaderByteCount > limits.surplusHeaderByteCountPerTick
            + ConnectionLimits.surplusHeaderBytesPerUsefulFrame * usefulFrameCount
    }

    /// A new tick: counting begins anew, but for half of the resets, so that two bursts around a
    /// tick do not pass as one each.
    mutating func tick() {
        resetCount = max(0, resetCount - answeredStreamCount) / 2
        provokedResetCount = max(0, provokedResetCount - answeredStreamCount) / 2
        answeredStreamCount = 0
        forgivenResetCount = 0
        usefulFrameCount = 0
        cheapFrameCount = 0
        surplusHeaderByteCount = 0
    }
}
