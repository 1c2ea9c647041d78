// In: calls to be made; events of one HTTP/2 connection. Out: requests; each event to the call of
// its stream; word of the connection's own state to its user.
// On which thread: the connection's event loop.

package import HTTP2
package import NIOCore

/// How a client's connections behave.
package struct ClientOptions: Sendable {
    package var limits = ConnectionLimits()
    /// The largest message taken from a server; 4 MiB, as every gRPC library has it.
    package var maxMessageByteCount = 4 * 1024 * 1024
    /// `http`, or `https` when TLS is below in the pipeline.
    package var scheme = "http"
    package var userAgent = "rpc-swift/1"

    package init() {}
}

/// One connection to a server, and the table of the calls on it.
package final class ClientConnection: SessionDelegate {
    package enum Change: Sendable, Equatable {
        /// The server's settings came: it speaks HTTP/2.
        case ready
        /// The server takes no more calls here; those under way go on.
        case goingAway
        case closed
    }

    package let eventLoop: any EventLoop
    private let authority: String
    private let options: ClientOptions
    private let onChange: ((Change) -> Void)?
    private var session: Session?
    private var calls: [StreamID: ClientCall] = [:]
    private var touchedCalls: [ClientCall] = []
    private var isGoingAway = false

    private init(
        authority: String, options: ClientOptions, eventLoop: any EventLoop,
        onChange: ((Change) -> Void)?
    ) {
        precondition(
            options.limits.streamWindowByteCount >= options.maxMessageByteCount
                + Envelope.prefixByteCount + ConnectionLimits.creditStepByteCount,
            "the stream window is too small for the largest message")
        self.authority = authority
        self.options = options
        self.eventLoop = eventLoop
        self.onChange = onChange
    }

    /// Makes a channel a client's connection. Call it in the channel's initializer, so that no byte
    /// from the server is missed; calls can start when the channel is active.
    package static func install(
        on channel: any Channel, authority: String, options: ClientOptions = ClientOptions(),
        onChange: ((Change) -> Void)? = nil
    ) throws -> ClientConnection {
        try ChannelSetup.apply(to: channel)
        let connection = ClientConnection(
            authority: authority, options: options, eventLoop: channel.eventLoop,
            onChange: onChange)
        let handler = try HTTP2Handler(
            role: .client, limits: options.limits, delegate: connection)
        try channel.pipeline.syncOperations.addHandler(handler)
        return connection
    }

    package var openCallCount: Int { calls.count }

    /// Starts a call; its body is open. Over the server's limit of streams it waits its turn.
    /// Names in the metadata are lower case; values of names ending in `-bin` are base64.
    package func start(
        _ path: String, metadata: Headers = Headers(), timeout: TimeAmount? = nil,
        handler: any ClientCallHandler
    ) throws(RPCStatus) -> ClientCall {
        guard let session, !isGoingAway else {
            throw RPCStatus(.unavailable, "the connection takes no more calls")
        }
        let headers = requestHeaders(path, metadata, timeout)
        let outbound: OutboundStream
        do throws(HTTP2Error) {
            outbound = try session.request(headers)
        } catch {
            throw RPCStatus(.unavailable, "the connection takes no more calls")
        }
        let call = ClientCall(
            outbound: outbound, session: session, eventLoop: eventLoop,
            maxMessageByteCount: options.maxMessageByteCount, handler: handler)
        calls[call.stream] = call
        if let timeout { call.schedule(timeout) }
        return call
    }

    /// No more calls from here; when those under way have ended the connection closes.
    package func close() {
        guard !isGoingAway else { return }
        isGoingAway = true
        session?.goAway(.noError)
    }

    /// The order is the one that the specification asks for (gRPC PROTOCOL-HTTP2, "Requests").
    private func requestHeaders(
        _ path: String, _ metadata: Headers, _ timeout: TimeAmount?
    ) -> Headers {
        var headers = Headers([
            (":method", "POST"), (":scheme", options.scheme), (":path", path),
            (":authority", authority), ("te", "trailers"),
        ])
        if let timeout { headers.add("grpc-timeout", Timeout.text(timeout)) }
        headers.add("content-type", "application/grpc+proto")
        headers.add("user-agent", options.userAgent)
        for field in metadata.pairs { headers.add(field.name, field.value) }
        return headers
    }

    // Events.

    package func opened(_ session: Session, on channel: any Channel) { self.session = session }

    package func receive(_ events: [Event], from input: ByteBuffer) {
        // The call of the last frame: most frames in a row belong to one stream.
        var current: ClientCall?
        for event in events {
            switch event {
            case .data(let stream, let slice):
                if current?.stream != stream { current = touchedCall(of: stream) }
                current?.receive(slice.bytes(of: input))
            case .head(let stream, let headers, let endStream):
                touchedCall(of: stream)?.receiveHead(headers, endStream: endStream)
            case .trailers(let stream, let headers):
                touchedCall(of: stream)?.receiveTrailers(headers)
            case .endOfStream(let stream):
                touchedCall(of: stream)?.endOfStream()
            case .closed(let stream, let code):
                close(stream, .forReset(code))
            case .writable(let stream):
                calls[stream]?.writable()
            case .goAway(let lastStream, let code):
                goAway(lastStream, code)
            case .settings:
                onChange?(.ready)
            case .refused:
                // `closed` tells the call.
                break
            }
        }
        // What a client receives is its own request: no budget, credit goes back at once.
        if let session, session.uncreditedByteCount >= ConnectionLimits.creditStepByteCount {
            session.returnConnectionCredit(session.uncreditedByteCount)
        }
        deliver()
    }

    package func drainStarted() { close() }

    package func tick() {}

    package func closed() {
        let open = calls.values.sorted { $0.stream < $1.stream }
        let undelivered = touchedCalls
        calls = [:]
        touchedCalls = []
        isGoingAway = true
        session = nil
        for call in undelivered { call.deliver() }
        for call in open {
            call.streamClosed(RPCStatus(.unavailable, "the connection was lost"))
        }
        onChange?(.closed)
    }

    /// The stream's call, noted for delivery.
    private func touchedCall(of stream: StreamID) -> ClientCall? {
        guard let call = calls[stream] else { return nil }
        if !call.isTouched {
            call.isTouched = true
            touchedCalls.append(call)
        }
        return call
    }

    private func deliver() {
        guard !touchedCalls.isEmpty else { return }
        let touched = touchedCalls
        touchedCalls = []
        for call in touched {
            call.isTouched = false
            call.deliver()
        }
    }

    private func close(_ stream: StreamID, _ status: @autoclosure () -> RPCStatus) {
        guard let call = calls.removeValue(forKey: stream) else { return }
        call.streamClosed(status())
    }

    /// Calls after the last one that the server will look at have done nothing there.
    private func goAway(_ lastStream: StreamID, _ code: ErrorCode) {
        let status = RPCStatus(
            .unavailable, "the server is going away (HTTP/2 error code \(code.rawValue))")
        for call in calls.values.filter({ $0.stream > lastStream }) { call.fail(status) }
        guard !isGoingAway else { return }
        isGoingAway = true
        onChange?(.goingAway)
    }
}
