// In: the numbers of the streams that a client opens, and of those that we reset. Out: whether a frame
// on a stream that is not there (any more) breaks the rules. nghttp2 1.52 forgets closed streams, and
// ignores what comes on them.
// On which thread: the connection's event loop.

/// Tells frames that crossed our RST_STREAM on the line, which must be ignored, from those that a client
/// must not send. A pure machine.
struct StreamNumbers {
    private var highest: StreamID = 0
    /// Numbers that were left out, the last of them. Who leaves out more is judged less exactly.
    private var gaps: [ClosedRange<StreamID>] = []
    /// Streams that we reset, the last of them: as many as may have been open at once.
    private var resets: [StreamID] = []
    private var nextReset = 0
    /// Up to this one some are not remembered.
    private var forgottenThrough: StreamID = 0
    private let keptResetCount: Int

    private static let keptGapCount = 8

    init(maxConcurrentStreams: Int) { keptResetCount = maxConcurrentStreams }

    /// HEADERS came; they open the stream if its number is a new one.
    mutating func headers(on stream: StreamID) {
        guard stream > highest else { return }
        if stream > highest + 2 { gaps.append(highest + 1...stream - 1) }
        if gaps.count > Self.keptGapCount { gaps.removeFirst() }
        highest = stream
    }

    mutating func resetByUs(_ stream: StreamID) {
        if resets.contains(stream) { return }
        if resets.count < keptResetCount {
            resets.append(stream)
        } else {
            forgottenThrough = max(forgottenThrough, resets[nextReset])
            resets[nextReset] = stream
            nextReset = (nextReset + 1) % keptResetCount
        }
    }

    /// DATA or HEADERS came on a stream that is not open. nil: to be ignored, or nghttp2 knows it for
    /// an error.
    func fault(on stream: StreamID) -> ErrorCode? {
        if stream > highest || stream % 2 == 0 || stream <= forgottenThrough { return nil }
        if resets.contains(stream) { return nil }
        // RFC 9113 section 5.1.1: a new stream's number is higher than all before. Section 5.1: nothing
        // but PRIORITY, WINDOW_UPDATE and RST_STREAM may come on a closed stream.
        return gaps.contains { $0.contains(stream) } ? .protocolError : .streamClosed
    }
}
