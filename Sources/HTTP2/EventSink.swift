// In: what the callbacks of nghttp2 saw, one call each. Out: the list of events, header blocks
// bounded in fields and bytes, and DATA as positions in the input, without a copy.
// It is nghttp2's user data: created before the C session and released after it.
// On which thread: the connection's event loop.

/// What the callbacks may touch: they append here and return.
final class EventSink {
    let role: Session.Role
    private let limits: ConnectionLimits

    var events: [Event] = []
    /// Streams which nghttp2 has let go; their bodies are released after it returned.
    var closedStreams: [StreamID] = []
    /// Streams that the server has answered in full while the client was still sending.
    var earlyEnds: [StreamID] = []
    var flood: FloodGuard
    /// The PING that belongs to a drain was answered.
    var sawDrainAnswer = false
    var sawSettings = false
    /// PINGs of the peer since they were last taken.
    var pings: Pings?
    /// Neither DATA nor HEADERS came or went since the last PING.
    var isIdle = true
    var numbers: StreamNumbers
    /// A connection error that nghttp2 does not see.
    var violation: ErrorCode?
    /// The library's words for a connection error, without anything from the peer.
    var protocolError: String?

    /// The data of a drain's PING, which has room for eight bytes (RFC 9113 section 6.7); those of a
    /// keepalive are zero.
    static let drainPing = Array("draining".utf8)

    struct Pings {
        /// Before the first of them something else came or went.
        var beginBusy = false
        /// Those before which nothing did, after the last that was busy.
        var idleCount = 0
    }

    /// Of all bodies.
    var unsentByteCount = 0
    var isGoingAway = false

    private var scanner: FrameScanner
    private var openHeaderBlockAtTick: Int?
    /// The streams of the input's DATA frames, and how many of these nghttp2 has taken or passed over.
    private var scannedData: [StreamID] = []
    private var takenDataCount = 0
    private var ignoredData: [StreamID] = []
    /// The DATA frame under way was counted.
    private var isDataUseful = false

    var usefulByteCount: Int { limits.usefulByteCount }

    private var headers = Headers()
    private var input = UnsafeRawBufferPointer(start: nil, count: 0)
    /// nghttp2 handed out bytes that are not in its input, which it never does.
    private(set) var isInputForeign = false

    init(role: Session.Role, limits: ConnectionLimits) {
        self.role = role
        self.limits = limits
        self.flood = FloodGuard(limits: limits)
        self.scanner = FrameScanner(role: role)
        self.numbers = StreamNumbers(maxConcurrentStreams: limits.maxConcurrentStreams)
    }

    func beginInput(_ bytes: UnsafeRawBufferPointer) {
        input = bytes
        scanner.scan(bytes) { scanned($0) }
    }

    func endInput() { input = UnsafeRawBufferPointer(start: nil, count: 0) }

    // Frames, as they come in.

    private func scanned(_ frame: FrameHeader) {
        switch frame.kind {
        case FrameHeader.data:
            scannedData.append(frame.stream)
            // DATA is cheap until nghttp2 takes its end, or a byte of it that is not padding.
            flood.cheap()
        case FrameHeader.headers:
            break
        case FrameHeader.continuation:
            flood.continuation(byteCount: frame.byteCount)
        case FrameHeader.priority:
            flood.cheap()
            // nghttp2 without its priority tree does not look (RFC 9113 section 6.3).
            if frame.stream == 0 { violation = violation ?? .protocolError }
        default:
            flood.cheap()
        }
    }

    /// nghttp2 takes a frame of DATA. Those found before it and not taken it ignores.
    func beginData(_ stream: StreamID, endsStream: Bool) {
        isIdle = false
        isDataUseful = endsStream
        if endsStream { flood.useful() }
        while takenDataCount < scannedData.count {
            let next = scannedData[takenDataCount]
            takenDataCount += 1
            if next == stream { return }
            ignoredData.append(next)
        }
    }

    /// What nghttp2 ignored of the input.
    func takeIgnoredData() -> [StreamID] {
        ignoredData += scannedData[takenDataCount...]
        scannedData.removeAll(keepingCapacity: scannedData.count <= ConnectionLimits.keptEventCount)
        takenDataCount = 0
        if ignoredData.isEmpty { return [] }
        defer { ignoredData = [] }
        return ignoredData
    }

    /// A frame came on a stream that is not there.
    func judge(_ stream: StreamID) {
        // After the last GOAWAY clients may have sent what they could not know to be ignored.
        guard role == .server, !isGoingAway, let code = numbers.fault(on: stream) else { return }
        violation = violation ?? code
    }

    /// A header block that was under way at the last tick still is.
    func isHeaderBlockLate() -> Bool {
        defer { openHeaderBlockAtTick = scanner.openHeaderBlock }
        return openHeaderBlockAtTick != nil && openHeaderBlockAtTick == scanner.openHeaderBlock
    }

    func ping() {
        if isIdle {
            pings = Pings(
                beginBusy: pings?.beginBusy ?? false, idleCount: (pings?.idleCount ?? 0) + 1)
        } else {
            pings = Pings(beginBusy: true)
        }
        isIdle = true
    }

    /// nghttp2 takes the HEADERS that came.
    func beginHeaders() {
        flood.headersAreTaken()
        headers = Headers()
    }

    /// Over a limit the field is dropped and the block marked.
    ///
    /// - Returns: Whether to go on: not when there are so many that the connection is to end.
    func header(
        name: UnsafeBufferPointer<UInt8>, value: UnsafeBufferPointer<UInt8>
    ) -> Bool {
        let byteCount = headers.listByteCount + name.count + value.count + 32
        if headers.isTruncated || headers.count >= limits.headerFieldCount
            || byteCount > limits.headerListByteCount
        {
            flood.surplusField(
                byteCount: name.count + value.count, isFirstOfBlock: !headers.isTruncated)
            headers.isTruncated = true
            return !flood.hasTooLargeHeaders
        }
        headers.add(name, value)
        return true
    }

    /// - Parameter isRequest: They open the stream. Of a block that is too large no field may be left by
    ///   which it could be known.
    func endHeaders(_ stream: StreamID, isRequest: Bool, endStream: Bool) {
        if role == .server ? isRequest : headers.hasPseudoFields {
            events.append(.head(stream, headers, endStream: endStream))
        } else {
            events.append(.trailers(stream, headers))
        }
        headers = Headers()
        if endStream { events.append(.endOfStream(stream)) }
    }

    func data(_ stream: StreamID, _ bytes: UnsafeBufferPointer<UInt8>) {
        if !isDataUseful { flood.useful() }
        isDataUseful = true
        guard let start = bytes.baseAddress, let base = input.baseAddress else { return }
        let offset = UnsafeRawPointer(start) - base
        guard offset >= 0, offset + bytes.count <= input.count else {
            isInputForeign = true
            return
        }
        let slice = InputSlice(offset: UInt32(offset), byteCount: UInt32(bytes.count))
        events.append(.data(stream, slice))
    }

    func closed(_ stream: StreamID, _ code: ErrorCode) {
        closedStreams.append(stream)
        events.append(.closed(stream, code))
    }

    /// Fills a DATA frame. Answers the count of bytes, or nil when there is nothing yet.
    func fill(
        _ outbound: OutboundStream, _ target: UnsafeMutableRawBufferPointer
    ) -> OutboundBody.Chunk {
        let before = outbound.unsentByteCount
        let chunk = outbound.body.take(into: target)
        unsentByteCount -= before - outbound.unsentByteCount
        let lowWater = limits.outboundLowWaterByteCount
        if before > lowWater, outbound.unsentByteCount <= lowWater {
            events.append(.writable(outbound.id))
        }
        return chunk
    }
}
