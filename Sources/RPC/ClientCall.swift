// In: the caller's messages; the response's headers, body and trailers. Out: the request's body;
// messages that the handler pulls, and at last one status.
// On which thread: the connection's event loop.

package import HTTP2
package import NIOCore

/// What the user of a client call implements. All methods are called on the call's event loop,
/// never re-entrantly from `send`, `halfClose` or `returnCredit`.
package protocol ClientCallHandler: AnyObject {
    /// The response's headers came. Not called for a call that is answered by a status alone.
    func started(_ call: ClientCall, metadata: Headers)
    /// Messages may be there: pull with `nextMessage` until it gives nil.
    func messagesAvailable(_ call: ClientCall)
    /// The call's unsent bytes fell to `ConnectionLimits.outboundLowWaterByteCount`.
    func writable(_ call: ClientCall)
    /// The last that is heard of the call, after its messages have been pulled; its trailing
    /// metadata is in the status. Called from `nextMessage` when that gave the last message before.
    func ended(_ call: ClientCall, _ status: RPCStatus)
}

/// One call of a client. Bound to its event loop; everything here is called on it.
package final class ClientCall {
    package let eventLoop: any EventLoop
    let stream: StreamID

    private let session: Session
    private let outbound: OutboundStream
    private var state = ClientCallState()
    private var inbox: Inbox
    private var handler: (any ClientCallHandler)?
    private var deadline: Scheduled<Void>?
    private var isStreamGone = false

    /// In the connection's list of calls to be delivered to.
    var isTouched = false

    init(
        outbound: OutboundStream, session: Session, eventLoop: any EventLoop,
        maxMessageByteCount: Int, handler: any ClientCallHandler
    ) {
        self.outbound = outbound
        self.stream = outbound.id
        self.session = session
        self.eventLoop = eventLoop
        self.inbox = Inbox(maxMessageByteCount: maxMessageByteCount)
        self.handler = handler
    }

    // For the caller.

    /// Sends one message; `write` appends it to the stream's buffer, behind its prefix. Not called
    /// once the request is half-closed or the call has ended.
    package func send(maxByteCount hint: Int, _ write: (inout ByteBuffer) -> Void) {
        guard state.canSend else { return }
        session.append(to: outbound, reserving: hint + Envelope.prefixByteCount) { buffer in
            Envelope.write(into: &buffer, write)
        }
    }

    /// Sends messages that have their prefixes already.
    ///
    /// - Parameter envelopes: They are moved out of it; it may get other memory, and no bytes.
    package func send(envelopes: inout ByteBuffer) {
        guard state.canSend, envelopes.readableBytes > 0 else { return }
        session.append(to: outbound, reserving: 0) { buffer in
            if buffer.readableBytes == 0 {
                swap(&buffer, &envelopes)
            } else {
                buffer.writeBuffer(&envelopes)
            }
        }
    }

    /// Bytes sent that flow control or the socket holds back. Stop sending above a bound of your
    /// own that is over the low-water mark; `writable` tells when to go on.
    package var unsentByteCount: Int { outbound.unsentByteCount }

    package func halfClose() {
        guard state.canSend else { return }
        state.halfClose()
        session.end(outbound, trailers: nil)
    }

    /// The next whole message, or nil. After the last one the status is told from in here.
    package func nextMessage() -> ReceivedMessage? {
        guard !state.isEnded else { return nil }
        do throws(EnvelopeError) {
            if let message = try inbox.next() { return message }
            guard let status = state.knownStatus else { return nil }
            if status.code == .ok { try inbox.finish() }
            end(status)
        } catch {
            end(error.status, resetting: .cancel)
        }
        return nil
    }

    /// Messages of so many bytes are done: the server may send as many again.
    package func returnCredit(_ byteCount: Int) {
        inbox.credit(byteCount)
        passCreditOn()
    }

    /// Ends the call as CANCELLED, here and at the server.
    package func cancel() {
        end(RPCStatus(.cancelled, "the call was cancelled by its caller"), resetting: .cancel)
    }

    // For the connection.

    func schedule(_ timeout: TimeAmount) {
        deadline = eventLoop.assumeIsolated().scheduleTask(in: timeout) { [weak self] in
            // The server keeps the same deadline; whose status comes first does not matter.
            self?.end(RPCStatus(.deadlineExceeded, "the deadline is over"), resetting: .cancel)
        }
    }

    func receiveHead(_ headers: Headers, endStream: Bool) {
        switch state.head(headers, endStream: endStream) {
        case .started: handler?.started(self, metadata: headers)
        case .fail(let status): end(status, resetting: .cancel)
        case .wait, .ignore: break
        }
    }

    func receive(_ chunk: consuming ByteBuffer) {
        if !state.isEnded { inbox.append(chunk) }
    }

    func receiveTrailers(_ headers: Headers) { state.trailers(headers) }

    func endOfStream() { state.endOfStream() }

    /// Tells the handler of all that a read brought.
    func deliver() {
        guard !state.isEnded else { return }
        handler?.messagesAvailable(self)
        guard !state.isEnded else { return }
        if state.knownStatus != nil, !inbox.mayHoldMessages { _ = nextMessage() }
        inbox.settle()
        passCreditOn()
    }

    func writable() { handler?.writable(self) }

    /// The stream is gone. What it brought in the same read is delivered first.
    func streamClosed(_ status: @autoclosure () -> RPCStatus) {
        isStreamGone = true
        if isTouched { deliver() }
        if state.endsWithStream { end(status()) }
    }

    func fail(_ status: RPCStatus) {
        if state.endsWithStream { end(status, resetting: .cancel) }
    }

    private func end(_ status: RPCStatus, resetting code: ErrorCode = .noError) {
        guard !state.isEnded else { return }
        let handler = handler
        // A stream that the server has ended and we have not would stay open at our side.
        let isOpen = !isStreamGone && (code != .noError || !state.isHalfClosed)
        state.end()
        deadline?.cancel()
        deadline = nil
        self.handler = nil
        inbox.discard()
        if isOpen { session.reset(stream, code) }
        handler?.ended(self, status)
    }

    private func passCreditOn() {
        guard !isStreamGone, !state.isEnded else { return }
        session.returnStreamCredit(stream, heldByteCount: inbox.heldByteCount)
    }
}
