// In: calls from nghttp2. Out: one entry in the `EventSink` each, and 0. Nothing here calls
// `mem_recv` or `mem_send`, which would crash the library; submitting is allowed.
// On which thread: the connection's event loop, inside `Session.receive` or `Session.send`.

internal import CNghttp2

extension Session {
    /// The thunks, registered. The caller deletes the object.
    static func makeCallbacks() -> OpaquePointer? {
        var callbacks: OpaquePointer?
        guard nghttp2_session_callbacks_new(&callbacks) == 0 else { return nil }
        nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, onBeginFrame)
        nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, onBeginHeaders)
        nghttp2_session_callbacks_set_on_header_callback(callbacks, onHeader)
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, onDataChunk)
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, onFrame)
        nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, onInvalidFrame)
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, onStreamClose)
        nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, onFrameSent)
        nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, onFrameNotSent)
        return callbacks
    }

    /// Where nghttp2 gets the body of this stream. The stream object outlives the C stream: the
    /// session releases it after `on_stream_close`.
    static func dataProvider(for outbound: OutboundStream) -> nghttp2_data_provider {
        var provider = nghttp2_data_provider()
        provider.source.ptr = Unmanaged.passUnretained(outbound).toOpaque()
        provider.read_callback = readBody
        return provider
    }
}

private func withSink(_ userData: UnsafeMutableRawPointer?, _ body: (EventSink) -> Void) -> CInt {
    guard let userData else { return 0 }
    Unmanaged<EventSink>.fromOpaque(userData)._withUnsafeGuaranteedRef(body)
    return 0
}

private func onBeginFrame(
    session: OpaquePointer?, header: UnsafePointer<nghttp2_frame_hd>?,
    userData: UnsafeMutableRawPointer?
) -> CInt {
    guard let session, let header = header?.pointee else { return 0 }
    var goesOn = true
    _ = withSink(userData) { sink in
        switch UInt32(header.type) {
        case NGHTTP2_DATA.rawValue:
            let endsStream = header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
            sink.beginData(header.stream_id, endsStream: endsStream)
        case NGHTTP2_HEADERS.rawValue:
            sink.isIdle = false
            if nghttp2_session_find_stream(session, header.stream_id) == nil {
                sink.judge(header.stream_id)
            }
            sink.numbers.headers(on: header.stream_id)
            goesOn = sink.role == .client || sink.flood.faultOfStreams == nil
            sink.flood.headers(byteCount: header.length)
        default: break
        }
    }
    return goesOn ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE.rawValue
}

private func onBeginHeaders(
    _: OpaquePointer?, _: UnsafePointer<nghttp2_frame>?, userData: UnsafeMutableRawPointer?
) -> CInt {
    withSink(userData) { $0.beginHeaders() }
}

private func onHeader(
    _: OpaquePointer?, _: UnsafePointer<nghttp2_frame>?, name: UnsafePointer<UInt8>?,
    nameCount: Int, value: UnsafePointer<UInt8>?, valueCount: Int, flags: UInt8,
    userData: UnsafeMutableRawPointer?
) -> CInt {
    var goesOn = true
    _ = withSink(userData) { sink in
        goesOn = sink.header(
            name: UnsafeBufferPointer(start: name, count: nameCount),
            value: UnsafeBufferPointer(start: value, count: valueCount))
    }
    return goesOn ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE.rawValue
}

private func onDataChunk(
    _: OpaquePointer?, flags: UInt8, stream: Int32, bytes: UnsafePointer<UInt8>?, count: Int,
    userData: UnsafeMutableRawPointer?
) -> CInt {
    withSink(userData) { sink in
        sink.data(stream, UnsafeBufferPointer(start: bytes, count: count))
    }
}

private func onFrame(
    _: OpaquePointer?, frame: UnsafePointer<nghttp2_frame>?, userData: UnsafeMutableRawPointer?
) -> CInt {
    guard let frame else { return 0 }
    let header = frame.pointee.hd
    let endStream = header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
    let isAnswer = header.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) != 0
    return withSink(userData) { sink in
        switch UInt32(header.type) {
        case NGHTTP2_DATA.rawValue:
            if endStream { sink.events.append(.endOfStream(header.stream_id)) }
        case NGHTTP2_HEADERS.rawValue:
            let isRequest = frame.pointee.headers.cat == NGHTTP2_HCAT_REQUEST
            sink.endHeaders(header.stream_id, isRequest: isRequest, endStream: endStream)
        case NGHTTP2_RST_STREAM.rawValue:
            sink.flood.reset()
        case NGHTTP2_SETTINGS.rawValue:
            sink.sawSettings = true
            if !isAnswer { sink.events.append(.settings) }
        case NGHTTP2_PING.rawValue:
            if !isAnswer {
                sink.ping()
            } else if frame.pointee.isDrainPing {
                sink.sawDrainAnswer = true
            }
        case NGHTTP2_GOAWAY.rawValue:
            let goAway = frame.pointee.goaway
            sink.events.append(
                .goAway(
                    lastStream: goAway.last_stream_id, ErrorCode(rawValue: goAway.error_code)))
        default: break
        }
    }
}

extension nghttp2_frame {
    fileprivate var isDrainPing: Bool {
        withUnsafeBytes(of: ping.opaque_data) { $0.elementsEqual(EventSink.drainPing) }
    }
}

private func onInvalidFrame(
    _: OpaquePointer?, frame: UnsafePointer<nghttp2_frame>?, error: CInt,
    userData: UnsafeMutableRawPointer?
) -> CInt {
    guard let header = frame?.pointee.hd else { return 0 }
    let stream = header.stream_id
    return withSink(userData) { sink in
        // Its RST_STREAM may wait to be sent, while the client's next frames are here already.
        sink.numbers.resetByUs(stream)
        if error == NGHTTP2_ERR_REFUSED_STREAM.rawValue {
            sink.events.append(.refused(stream, .tooMany))
        } else {
            sink.flood.cheap()
            if UInt32(header.type) == NGHTTP2_HEADERS.rawValue { sink.flood.headersAreMalformed() }
        }
    }
}

/// Never anything but 0: nghttp2 before 1.55 leaks when this callback fails (CVE-2023-35945).
private func onStreamClose(
    session: OpaquePointer?, stream: Int32, code: UInt32, userData: UnsafeMutableRawPointer?
) -> CInt {
    guard let session else { return 0 }
    return withSink(userData) { sink in
        // Whether we sent all of an answer: the code may be that of the peer's own RST_STREAM. The
        // stream is still there while nghttp2 tells that it closes.
        if code == ErrorCode.noError.rawValue,
            nghttp2_session_get_stream_local_close(session, stream) == 1
        {
            sink.flood.answeredStream()
        }
        sink.closed(stream, ErrorCode(rawValue: code))
    }
}

private func onFrameSent(
    session: OpaquePointer?, frame: UnsafePointer<nghttp2_frame>?,
    userData: UnsafeMutableRawPointer?
) -> CInt {
    guard let session, let frame else { return 0 }
    let header = frame.pointee.hd
    return withSink(userData) { sink in
        switch UInt32(header.type) {
        case NGHTTP2_DATA.rawValue:
            if header.length >= sink.usefulByteCount { sink.flood.useful() }
            sink.isIdle = false
            sink.noteEarlyEnd(of: header, session)
        case NGHTTP2_RST_STREAM.rawValue:
            let code = frame.pointee.rst_stream.error_code
            sink.numbers.resetByUs(header.stream_id)
            if sink.role == .server, !ErrorCode.unprovoked.contains(code) {
                sink.flood.provokedReset()
                sink.events.append(.refused(header.stream_id, .malformed))
            }
        case NGHTTP2_GOAWAY.rawValue:
            let goAway = frame.pointee.goaway
            sink.isGoingAway = true
            if goAway.error_code != ErrorCode.noError.rawValue {
                let bytes = UnsafeBufferPointer(
                    start: goAway.opaque_data, count: goAway.opaque_data_len)
                sink.protocolError = String(decoding: bytes, as: UTF8.self)
            }
        case NGHTTP2_HEADERS.rawValue:
            sink.isIdle = false
            sink.noteEarlyEnd(of: header, session)
        default: break
        }
    }
}

extension EventSink {
    /// A server that answered in full before the request's end asks the client to stop sending,
    /// without an error (RFC 9113 section 8.1); see `Session.stopEarlyEnds`. The answer's last frame,
    /// which may be DATA where it is not gRPC's, was sent.
    fileprivate func noteEarlyEnd(of header: nghttp2_frame_hd, _ session: OpaquePointer) {
        let endStream = header.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
        if endStream, role == .server,
            nghttp2_session_get_stream_remote_close(session, header.stream_id) == 0
        {
            earlyEnds.append(header.stream_id)
        }
    }
}

/// A request that could not be sent any more (the peer is going away) never becomes a stream, so
/// `onStreamClose` does not tell of it. An answer that cannot be sent, since it is too large, would leave
/// its stream open.
private func onFrameNotSent(
    session: OpaquePointer?, frame: UnsafePointer<nghttp2_frame>?, error: CInt,
    userData: UnsafeMutableRawPointer?
) -> CInt {
    guard let frame, UInt32(frame.pointee.hd.type) == NGHTTP2_HEADERS.rawValue else { return 0 }
    let stream = frame.pointee.hd.stream_id
    return withSink(userData) { sink in
        switch sink.role {
        case .client: sink.closed(stream, .refusedStream)
        case .server where error == NGHTTP2_ERR_FRAME_SIZE_ERROR.rawValue:
            _ = nghttp2_submit_rst_stream(session, 0, stream, ErrorCode.internalError.rawValue)
        case .server: break
        }
    }
}

private func readBody(
    session: OpaquePointer?, stream: Int32, target: UnsafeMutablePointer<UInt8>?, count: Int,
    flags: UnsafeMutablePointer<UInt32>?, source: UnsafeMutablePointer<nghttp2_data_source>?,
    userData: UnsafeMutableRawPointer?
) -> Int {
    guard let userData, let flags, let body = source?.pointee.ptr else {
        return Int(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue)
    }
    let sink = Unmanaged<EventSink>.fromOpaque(userData).takeUnretainedValue()
    let outbound = Unmanaged<OutboundStream>.fromOpaque(body).takeUnretainedValue()
    switch sink.fill(outbound, UnsafeMutableRawBufferPointer(start: target, count: count)) {
    case .bytes(let count):
        return count
    case .nothingYet:
        outbound.isDeferred = true
        return Int(NGHTTP2_ERR_DEFERRED.rawValue)
    case .last(let count, let trailers):
        flags.pointee |= NGHTTP2_DATA_FLAG_EOF.rawValue
        guard let trailers else { return count }
        // END_STREAM moves from the last DATA frame to the trailers.
        flags.pointee |= NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue
        let code = trailers.withFields { nghttp2_submit_trailer(session, stream, $0, $1) }
        return code == 0 ? count : Int(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue)
    }
}

extension Headers {
    /// The fields as nghttp2 wants them; it copies them before it returns.
    func withFields<Result>(_ body: (UnsafePointer<nghttp2_nv>?, Int) -> Result) -> Result {
        bytes.withUnsafeBufferPointer { bytes in
            withUnsafeTemporaryAllocation(of: nghttp2_nv.self, capacity: count) { list in
                // nghttp2 only reads through these, but its structure does not say so.
                let base = UnsafeMutablePointer(mutating: bytes.baseAddress)
                for index in 0..<count {
                    let name = nameRange(index)
                    let value = valueRange(index)
                    list.initializeElement(
                        at: index,
                        to: nghttp2_nv(
                            name: base.map { $0 + name.lowerBound },
                            value: base.map { $0 + value.lowerBound },
                            namelen: name.count, valuelen: value.count,
                            flags: isSecret(index) ? UInt8(NGHTTP2_NV_FLAG_NO_INDEX.rawValue) : 0))
                }
                return body(UnsafePointer(list.baseAddress), count)
            }
        }
    }
}
