// In: bytes from the peer; requests, responses, bodies and credit from the connection's delegate.
// Out: events (drained by the caller after nghttp2 returned), and bytes for the peer.
// The only owner of an nghttp2_session; besides `SessionCallbacks` the only file that calls nghttp2.
// On which thread: one event loop, which is the connection's. Never from inside a callback.

internal import CNghttp2
package import NIOCore

/// One HTTP/2 connection's protocol state, server or client.
package final class Session {
    package enum Role: Sendable { case server, client }

    package let role: Role
    package let limits: ConnectionLimits

    private let session: OpaquePointer
    private let sink: EventSink
    private var bodies: [StreamID: OutboundStream] = [:]
    private var spareEvents: [Event] = []

    /// Called when something was submitted outside of a read cycle or a turn of writing.
    var wake: (() -> Void)?
    /// A turn of writing will come anyway, nobody needs to be woken.
    var isPumpExpected = false

    package init(role: Role, limits: ConnectionLimits) throws(HTTP2Error) {
        self.role = role
        self.limits = limits
        self.sink = EventSink(role: role, limits: limits)
        self.session = try Self.makeSession(role, limits, sink)
        try submitSettings()
    }

    deinit {
        nghttp2_session_del(session)
    }

    private static func makeSession(
        _ role: Role, _ limits: ConnectionLimits, _ sink: EventSink
    ) throws(HTTP2Error) -> OpaquePointer {
        var option: OpaquePointer?
        try check(nghttp2_option_new(&option), "option_new")
        defer { nghttp2_option_del(option) }
        // Credit is given back when the delegate is done with the bytes, not when they arrive.
        nghttp2_option_set_no_auto_window_update(option, 1)
        nghttp2_option_set_max_outbound_ack(option, limits.unsentAcknowledgementCount)
        nghttp2_option_set_max_continuations(option, limits.continuationCount)
        nghttp2_option_set_max_settings(option, limits.settingsEntryCount)
        // Out of the way of `FloodGuard`: it knows resets among answered calls from a flood, and
        // the library would say INTERNAL_ERROR.
        nghttp2_option_set_stream_reset_rate_limit(option, 1_000_000, 1_000_000)
        // A client's requests wait for the server's SETTINGS: guessing would have those beyond the
        // server's limit refused.
        nghttp2_option_set_peer_max_concurrent_streams(option, 0)
        guard let callbacks = makeCallbacks() else {
            throw .library(code: NGHTTP2_ERR_NOMEM.rawValue, operation: "callbacks_new")
        }
        defer { nghttp2_session_callbacks_del(callbacks) }
        let userData = Unmanaged.passUnretained(sink).toOpaque()
        var session: OpaquePointer?
        let code =
            switch role {
            case .server: nghttp2_session_server_new2(&session, callbacks, userData, option)
            case .client: nghttp2_session_client_new2(&session, callbacks, userData, option)
            }
        try check(code, "session_new")
        guard let session else {
            throw .library(code: NGHTTP2_ERR_NOMEM.rawValue, operation: "session_new")
        }
        return session
    }

    private func submitSettings() throws(HTTP2Error) {
        func entry(_ id: nghttp2_settings_id, _ value: Int) -> nghttp2_settings_entry {
            nghttp2_settings_entry(settings_id: Int32(id.rawValue), value: UInt32(value))
        }
        var entries = [
            entry(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits.streamWindowByteCount),
            entry(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, limits.headerListByteCount),
            entry(NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, limits.headerTableByteCount),
        ]
        switch role {
        case .server:
            let count = limits.maxConcurrentStreams
            entries.append(entry(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, count))
            // Closed streams are freed at once instead of kept for the priority tree (RFC 9218). A
            // client's are anyway; without the tree it would send its streams one after another.
            entries.append(entry(NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1))
        case .client:
            entries.append(entry(NGHTTP2_SETTINGS_ENABLE_PUSH, 0))
        }
        let code = nghttp2_submit_settings(session, 0, entries, entries.count)
        try Self.check(code, "submit_settings")
        // SETTINGS cannot change the connection's window (RFC 9113 section 6.9.2).
        let window = Int32(limits.connectionWindowByteCount)
        try Self.check(
            nghttp2_session_set_local_window_size(session, 0, 0, window), "set_local_window_size")
    }

    private static func check(_ code: CInt, _ operation: String) throws(HTTP2Error) {
        if code != 0 { throw .library(code: code, operation: operation) }
    }

    // Bytes in, events out.

    /// Takes all of the input. What it holds is in `takeEvents` afterwards, which must be asked
    /// before the next input: `data` events are positions in this one.
    package func receive(_ input: ByteBuffer) throws(HTTP2Error) {
        isPumpExpected = true
        let taken = input.withUnsafeReadableBytes { bytes -> Int in
            sink.beginInput(bytes)
            let start = bytes.bindMemory(to: UInt8.self).baseAddress
            return nghttp2_session_mem_recv(session, start, bytes.count)
        }
        sink.endInput()
        // Streams that are there ignore DATA too, while their reset waits to be sent.
        for stream in sink.takeIgnoredData()
        where nghttp2_session_find_stream(session, stream) == nil {
            sink.judge(stream)
        }
        releaseClosedBodies()
        if taken < 0, let fault = sink.flood.faultOfStreams { throw .fault(fault) }
        switch taken {
        case 0...: break
        case Int(NGHTTP2_ERR_BAD_CLIENT_MAGIC.rawValue): throw .fault(.badPreface)
        case Int(NGHTTP2_ERR_FLOODED.rawValue): throw .fault(.unreadAcknowledgements)
        case Int(NGHTTP2_ERR_TOO_MANY_CONTINUATIONS.rawValue): throw .fault(.tooManyContinuations)
        default: throw .library(code: Int32(taken), operation: "mem_recv")
        }
        if sink.isInputForeign {
            throw .library(code: NGHTTP2_ERR_CALLBACK_FAILURE.rawValue, operation: "data_chunk")
        }
        if let code = sink.violation {
            sink.violation = nil
            terminate(code, debugData: "a frame on a stream that may not have it")
        }
        if let fault = floodFault { throw .fault(fault) }
    }

    /// More waits to be sent than a peer that reads would have left. To be asked after all was sent that
    /// could be.
    var hasTooManyUnsentFrames: Bool {
        role == .server
            && nghttp2_session_get_outbound_queue_size(session) > limits.unsentFrameCount
    }

    /// The peer has gone too far; what we had to send because of it counts too.
    var floodFault: ConnectionFault? { role == .server ? sink.flood.fault : nil }

    /// The events since the last call. Give the list back with `recycle`, it keeps its memory.
    package func takeEvents() -> [Event] {
        if sink.events.isEmpty { return [] }
        let events = sink.events
        sink.events = spareEvents
        spareEvents = []
        return events
    }

    package func recycle(_ events: consuming [Event]) {
        guard events.capacity <= ConnectionLimits.keptEventCount else { return }
        events.removeAll(keepingCapacity: true)
        spareEvents = events
    }

    // Bytes out.

    /// Appends what may be sent now. Answers whether there is more than `byteLimit` let through.
    package func send(into output: inout ByteBuffer, byteLimit: Int) throws(HTTP2Error) -> Bool {
        let end = output.readableBytes + byteLimit
        defer { releaseClosedBodies() }
        while output.readableBytes < end {
            var bytes: UnsafePointer<UInt8>?
            let count = nghttp2_session_mem_send(session, &bytes)
            if count < 0 { throw .library(code: Int32(count), operation: "mem_send") }
            if count == 0 { return false }
            output.writeBytes(UnsafeRawBufferPointer(start: bytes, count: count))
        }
        return true
    }

    var isFinished: Bool {
        nghttp2_session_want_read(session) == 0 && nghttp2_session_want_write(session) == 0
    }

    private func releaseClosedBodies() {
        if sink.closedStreams.isEmpty { return }
        for stream in sink.closedStreams {
            guard let outbound = bodies.removeValue(forKey: stream) else { continue }
            sink.unsentByteCount -= outbound.unsentByteCount
            outbound.body.close()
        }
        sink.closedStreams.removeAll(keepingCapacity: true)
    }

    private func submitted() {
        if isPumpExpected { return }
        isPumpExpected = true
        wake?()
    }

    // Streams.

    /// Sends response headers and leaves the body open. nil: the stream is gone.
    package func respond(_ stream: StreamID, _ headers: Headers) -> OutboundStream? {
        guard nghttp2_session_find_stream(session, stream) != nil else { return nil }
        let outbound = OutboundStream(id: stream)
        var provider = Self.dataProvider(for: outbound)
        // Streams take turns, frame by frame; by default one would be served to its end first
        // (RFC 9218 section 4.2).
        var priority = nghttp2_extpri(urgency: 3, inc: 1)
        nghttp2_session_change_extpri_stream_priority(session, stream, &priority, 1)
        let code = headers.withFields {
            nghttp2_submit_response(session, stream, $0, $1, &provider)
        }
        guard code == 0 else { return nil }
        bodies[stream] = outbound
        submitted()
        return outbound
    }

    /// Sends headers that are the whole response.
    package func respondAndEnd(_ stream: StreamID, _ headers: Headers) {
        _ = headers.withFields { nghttp2_submit_response(session, stream, $0, $1, nil) }
        submitted()
    }

    /// Opens a stream, its body is open. Over the peer's limit of streams it waits its turn.
    package func request(_ headers: Headers) throws(HTTP2Error) -> OutboundStream {
        guard nghttp2_session_check_request_allowed(session) != 0 else { throw .noMoreStreams }
        let outbound = OutboundStream(id: 0)
        var provider = Self.dataProvider(for: outbound)
        let stream = headers.withFields {
            nghttp2_submit_request(session, nil, $0, $1, &provider, nil)
        }
        guard stream > 0 else { throw .noMoreStreams }
        outbound.id = stream
        bodies[stream] = outbound
        submitted()
        return outbound
    }

    /// Appends to a body; `write` gets the stream's own buffer, with at least so much room.
    package func append(
        to outbound: OutboundStream, reserving byteCount: Int, _ write: (inout ByteBuffer) -> Void
    ) {
        let before = outbound.unsentByteCount
        outbound.body.append(reserving: byteCount, write)
        sink.unsentByteCount += outbound.unsentByteCount - before
        resume(outbound)
    }

    /// Nothing more will be appended. With trailers these end the stream, else the last DATA does.
    package func end(_ outbound: OutboundStream, trailers: Headers?) {
        outbound.body.end(trailers: trailers)
        resume(outbound)
    }

    /// What all bodies have appended and nghttp2 has not taken.
    package var unsentByteCount: Int { sink.unsentByteCount }

    private func resume(_ outbound: OutboundStream) {
        if outbound.isDeferred {
            outbound.isDeferred = false
            // Refused when the stream is gone, which its `closed` event tells.
            _ = nghttp2_session_resume_data(session, outbound.id)
        }
        submitted()
    }

    /// A reset that the peer was right to send.
    package func forgiveReset() { sink.flood.forgiveReset() }

    /// A request that came to nothing: its HEADERS were not useful, and beyond what is to be borne they
    /// are as bad as useless frames.
    package func requestWasRefused(isBearable: Bool) {
        isBearable ? sink.flood.refusedForOthers() : sink.flood.refusedStream()
    }

    /// Refuses the stream because of what others have open, which is nothing that its peer has done.
    package func refuseForOthers(_ stream: StreamID) {
        sink.flood.refusedForOthers()
        _ = nghttp2_submit_rst_stream(session, 0, stream, ErrorCode.refusedStream.rawValue)
        submitted()
    }

    package func reset(_ stream: StreamID, _ code: ErrorCode) {
        if code == .refusedStream { sink.flood.refusedStream() }
        _ = nghttp2_submit_rst_stream(session, 0, stream, code.rawValue)
        submitted()
    }

    var hasEarlyEnds: Bool { !sink.earlyEnds.isEmpty }

    func takeEarlyEnds() -> [StreamID] {
        defer { sink.earlyEnds = [] }
        return sink.earlyEnds
    }

    /// Resets those of the streams on which the client is still sending, without an error.
    func stopEarlyEnds(_ streams: [StreamID]) {
        for stream in streams where nghttp2_session_get_stream_remote_close(session, stream) == 0 {
            reset(stream, .noError)
        }
    }

    // Credit.

    /// Bytes received, of streams already gone too, that the peer may not send again yet.
    package var uncreditedByteCount: Int {
        max(0, Int(nghttp2_session_get_effective_recv_data_length(session)))
    }

    /// Lets the peer send so many bytes again, of whatever stream; at most `uncreditedByteCount`.
    package func returnConnectionCredit(_ byteCount: Int) {
        if nghttp2_submit_window_update(session, 0, 0, Int32(byteCount)) == 0 { submitted() }
    }

    /// Lets the peer send again what the stream received beyond `heldByteCount`.
    ///
    /// Not `nghttp2_session_consume_stream`, which waits for half a window: a window would then
    /// have to hold two of the largest messages, or a stream could stall for ever.
    package func returnStreamCredit(_ stream: StreamID, heldByteCount: Int) {
        let received = nghttp2_session_get_stream_effective_recv_data_length(session, stream)
        let credit = Int(received) - heldByteCount
        guard credit >= ConnectionLimits.creditStepByteCount else { return }
        if nghttp2_submit_window_update(session, 0, stream, Int32(credit)) == 0 { submitted() }
    }

    // The connection.

    /// Asks whether the peer is there.
    func ping() {
        _ = nghttp2_submit_ping(session, 0, nil)
        submitted()
    }

    /// Asks for an answer behind all that the peer has sent when it reads the notice of a drain. It
    /// has data of its own: the answer to another PING may be on its way.
    func pingForDrain() {
        let data = EventSink.drainPing
        data.withUnsafeBufferPointer { _ = nghttp2_submit_ping(session, 0, $0.baseAddress) }
        submitted()
    }

    func takeDrainAnswer() -> Bool {
        defer { sink.sawDrainAnswer = false }
        return sink.sawDrainAnswer
    }

    /// "No new streams soon": a GOAWAY that names no last stream (RFC 9113 section 6.8).
    func announceGoAway() {
        _ = nghttp2_submit_shutdown_notice(session)
        submitted()
    }

    /// No stream after those seen so far is taken; those go on to their end.
    package func goAway(_ code: ErrorCode) {
        let last = nghttp2_session_get_last_proc_stream_id(session)
        _ = nghttp2_submit_goaway(session, 0, last, code.rawValue, nil, 0)
        submitted()
    }

    /// GOAWAY, after which nothing is read or written. The debug data is for the peer's developers.
    func terminate(_ code: ErrorCode, debugData: String) {
        let last = nghttp2_session_get_last_proc_stream_id(session)
        var debugData = debugData
        // A GOAWAY of its own, since the one that ends the session takes no debug data.
        debugData.withUTF8 {
            _ = nghttp2_submit_goaway(session, 0, last, code.rawValue, $0.baseAddress, $0.count)
        }
        _ = nghttp2_session_terminate_session(session, code.rawValue)
        submitted()
    }

    /// The library's words for the connection error that it has found since the last call.
    func takeProtocolError() -> String? { sink.protocolError.take() }

    func takePings() -> EventSink.Pings? { sink.pings.take() }

    /// The client's SETTINGS came.
    var isPrefaceComplete: Bool { sink.sawSettings }

    /// To be called every tick. What of it is over time: the header block that is under way.
    func tick() -> ConnectionFault? {
        sink.flood.tick()
        return sink.isHeaderBlockLate() ? .lateHeaders : nil
    }
}
