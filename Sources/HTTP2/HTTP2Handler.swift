// In: bytes from the channel. Out: events to the delegate, and per read cycle one buffer written
// and flushed. What is below in the pipeline, a socket or TLS, makes no difference here.
// On which thread: the channel's event loop.

package import NIOCore

/// Fired into a connection's pipeline: the peer shall make a new one, and this one ends with its last
/// stream. Unlike `ChannelShouldQuiesceEvent` it is nothing that streams should hurry for.
package struct ConnectionShouldRetireEvent: Sendable {
    package init() {}
}

/// One HTTP/2 connection on a channel. Add it last; it owns the session and keeps the delegate.
package final class HTTP2Handler<Delegate: SessionDelegate>: ChannelDuplexHandler {
    package typealias InboundIn = ByteBuffer
    package typealias OutboundIn = Never
    package typealias OutboundOut = ByteBuffer

    ///   idle ──(active)──▶ open ──(nothing left to say)──▶ lingering ──(end of file)──▶ closed
    private enum State { case idle, open, lingering, closed }

    private enum Drain { case none, noticeSent, goAwayDue, goAwaySent }

    private let session: Session
    private let delegate: Delegate
    private let speaksFirst: Bool
    private var context: ChannelHandlerContext?
    private var state = State.idle
    private var drain = Drain.none
    private var delegateKnowsOfDrain = false
    private var isPumping = false
    /// Something was written: what follows must be frames.
    private var hasSpoken = false
    private var silentTickCount = 0
    private var pingGuard = PingGuard()
    private var fault: ConnectionFault?
    private var ticker: Scheduled<Void>?

    /// - Parameter speaksFirst: Sends SETTINGS at once. A server that waits until the client has said
    ///   something can still answer HTTP/1.1, and spends half as much on a scanner.
    package init(
        role: Session.Role, limits: ConnectionLimits, delegate: Delegate, speaksFirst: Bool = true
    ) throws(HTTP2Error) {
        self.speaksFirst = speaksFirst
        self.session = try Session(role: role, limits: limits)
        self.delegate = delegate
    }

    package func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if context.channel.isActive { open(context) }
    }

    package func channelActive(context: ChannelHandlerContext) {
        open(context)
        context.fireChannelActive()
    }

    private func open(_ context: ChannelHandlerContext) {
        guard state == .idle else { return }
        state = .open
        session.wake = { [weak self] in self?.schedulePump() }
        scheduleTick()
        delegate.opened(session, on: context.channel)
        if speaksFirst { pump() }
    }

    // Bytes in.

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // While lingering the peer's bytes are read only to be dropped.
        guard state == .open, fault == nil else { return }
        silentTickCount = 0
        let input = unwrapInboundIn(data)
        do throws(HTTP2Error) {
            try session.receive(input)
            deliver(from: input)
            judgePings(at: context.eventLoop.now)
        } catch {
            if case .fault(.badPreface) = error { answerStranger(input) }
            // A flood's events are hundreds of calls that end at once, with their connection.
            if case .fault = error, session.role == .server {
                session.recycle(session.takeEvents())
            } else {
                deliver(from: input)
            }
            fail(error)
        }
        if drain == .noticeSent, session.takeDrainAnswer() { sendGoAway() }
    }

    /// After a fault nothing more is read: a flood that goes on is the kernel's, which has room for
    /// little, and not even dropping it costs anything here. The end of file is noticed all the same.
    package func read(context: ChannelHandlerContext) {
        if fault == nil { context.read() }
    }

    /// People who try a server with a browser or with curl speak HTTP/1.1, and would see nothing.
    /// Others, such as a client that speaks TLS, are shown what is spoken here.
    private func answerStranger(_ input: ByteBuffer) {
        let method = input.readableBytesView.prefix(8).prefix { (0x41...0x5A).contains($0) }
        let isHTTP1 =
            method.count >= 3 && input.readableBytesView.dropFirst(method.count).first == 0x20
        var answer = ByteBuffer()
        if session.role == .server, !hasSpoken, isHTTP1 {
            let text = "505: this server speaks gRPC, and HTTP/2 alone.\n"
            // RFC 9110 section 15.6.6.
            answer.writeString(
                """
                HTTP/1.1 505 HTTP Version Not Supported\r\ncontent-type: text/plain\r\n\
                content-length: \(text.utf8.count)\r\nconnection: close\r\n\r\n\(text)
                """)
        } else {
            pump()
        }
        if let context, state == .open { endOutput(context, last: answer) }
    }

    package func channelReadComplete(context: ChannelHandlerContext) {
        pump()
        context.fireChannelReadComplete()
    }

    private func deliver(from input: ByteBuffer) {
        let events = session.takeEvents()
        if events.isEmpty { return }
        delegate.receive(events, from: input)
        session.recycle(consume events)
    }

    private func judgePings(at now: NIODeadline) {
        guard session.role == .server, let pings = session.takePings() else { return }
        if pings.beginBusy { pingGuard.pinged(at: now, isIdle: false) }
        for _ in 0..<pings.idleCount where !pingGuard.isFlooded {
            pingGuard.pinged(at: now, isIdle: true)
        }
        if pingGuard.isFlooded { end(by: .tooManyPings) }
    }

    private func fail(_ error: HTTP2Error) {
        switch error {
        case .fault(let fault): end(by: fault)
        case .noMoreStreams: abandon()
        case .library(let code, let operation): end(by: .library, "\(operation) \(code)")
        }
    }

    /// Says why, if somebody may listen, and closes soon, whether it was read or not: a peer that
    /// does not read would keep its connection for as long as it sends.
    private func end(by fault: ConnectionFault, _ detail: String = "") {
        guard self.fault == nil, state == .open || state == .lingering else { return }
        self.fault = fault
        delegate.failed(fault, detail: detail)
        if let code = fault.goAwayCode, state == .open {
            session.terminate(code, debugData: fault.rawValue)
            pump()
        } else if fault != .protocolError, state == .open {
            return abandon()
        }
        // nghttp2's own GOAWAY goes the usual way.
        context?.eventLoop.assumeIsolated().scheduleTask(in: ConnectionLimits.linger) {
            [weak self] in self?.context?.close(promise: nil)
        }
    }

    // Bytes out.

    package func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { pump() }
        context.fireChannelWritabilityChanged()
    }

    private func schedulePump() {
        context?.eventLoop.assumeIsolated().execute { [weak self] in self?.pump() }
    }

    /// One turn: all that may go now, in one write. While the channel is not writable nothing is
    /// pulled, so that what waits stays under nghttp2's flow control instead of the socket's queue.
    private func pump() {
        guard let context, state == .open, !isPumping else { return }
        session.isPumpExpected = true
        guard context.channel.isWritable else {
            if session.hasTooManyUnsentFrames { end(by: .unreadAcknowledgements) }
            return
        }
        isPumping = true
        if drain == .goAwayDue {
            drain = .goAwaySent
            session.goAway(.noError)
        }
        var output = ByteBuffer()
        let hasMore = collect(into: &output)
        session.isPumpExpected = hasMore
        if output.readableBytes > 0 { hasSpoken = true }
        let isFinished = !hasMore && session.isFinished
        // One that was ended for a flood would only be opened anew: it stays as it is for a while.
        if isFinished, session.role == .client || fault == nil || fault == .protocolError {
            endOutput(context, last: output)
        } else if output.readableBytes > 0 {
            context.writeAndFlush(wrapOutboundOut(output), promise: nil)
        }
        delegate.written()
        isPumping = false
        if hasMore, state == .open { schedulePump() }
        if let detail = session.takeProtocolError() { end(by: .protocolError, detail) }
        if let fault = session.floodFault { end(by: fault) }
        if session.hasEarlyEnds { scheduleEarlyEnds(session.takeEarlyEnds()) }
    }

    private func scheduleEarlyEnds(_ streams: [StreamID]) {
        context?.eventLoop.assumeIsolated().scheduleTask(in: ConnectionLimits.earlyEndGrace) {
            [weak self] in
            guard let self, self.state == .open else { return }
            self.session.stopEarlyEnds(streams)
        }
    }

    /// Sending may bring events, and these may bring more to send.
    private func collect(into output: inout ByteBuffer) -> Bool {
        let limit = session.limits.outputByteCountPerTurn
        while state == .open {
            let before = output.readableBytes
            if before >= limit { return true }
            do throws(HTTP2Error) {
                _ = try session.send(into: &output, byteLimit: limit - before)
            } catch {
                fail(error)
                return false
            }
            deliver(from: ByteBuffer())
            if output.readableBytes == before { return false }
        }
        return false
    }

    // The end.

    package func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ChannelShouldQuiesceEvent {
            startDrain()
        } else if event is ConnectionShouldRetireEvent {
            retire()
        } else {
            context.fireUserInboundEventTriggered(event)
        }
    }

    /// Open streams go on to their end, then the connection closes. The peer is told twice: first
    /// that it should stop, then, when requests under way have come in, which was the last one.
    package func startDrain() {
        guard state == .open, !delegateKnowsOfDrain else { return }
        delegateKnowsOfDrain = true
        retire()
        delegate.drainStarted()
    }

    /// The same, of which calls need not know.
    private func retire() {
        guard state == .open, drain == .none, let context else { return }
        drain = .noticeSent
        session.announceGoAway()
        session.pingForDrain()
        context.eventLoop.assumeIsolated().scheduleTask(in: ConnectionLimits.drainNotice) {
            [weak self] in self?.sendGoAway()
        }
    }

    /// It names the last stream that was taken, so it is made when it can be sent: none may come between.
    private func sendGoAway() {
        guard state == .open, drain == .noticeSent else { return }
        drain = .goAwayDue
        schedulePump()
    }

    /// Nothing is left to send or to wait for: half-close, and give the peer time to read.
    private func endOutput(_ context: ChannelHandlerContext, last output: ByteBuffer) {
        state = .lingering
        let written = context.eventLoop.makePromise(of: Void.self)
        context.writeAndFlush(wrapOutboundOut(output), promise: written)
        written.futureResult.assumeIsolated().whenComplete { [weak self] _ in
            self?.context?.close(mode: .output, promise: nil)
        }
        context.eventLoop.assumeIsolated().scheduleTask(in: ConnectionLimits.linger) {
            [weak self] in self?.context?.close(promise: nil)
        }
    }

    /// Closes without a word more. TLS below takes a moment for it, in which nothing is taken in.
    private func abandon() {
        if state == .open { state = .lingering }
        context?.close(promise: nil)
    }

    package func errorCaught(context: ChannelHandlerContext, error: any Error) { abandon() }

    package func channelInactive(context: ChannelHandlerContext) {
        end()
        context.fireChannelInactive()
    }

    package func handlerRemoved(context: ChannelHandlerContext) {
        end()
        self.context = nil
    }

    private func end() {
        guard state != .closed else { return }
        let wasOpened = state != .idle
        state = .closed
        ticker?.cancel()
        ticker = nil
        session.wake = nil
        if wasOpened { delegate.closed() }
    }

    private func scheduleTick() {
        ticker = context?.eventLoop.assumeIsolated().scheduleTask(in: ConnectionLimits.tick) {
            [weak self] in self?.tick()
        }
    }

    private func tick() {
        guard state == .open else { return }
        scheduleTick()
        guard fault == nil else { return }
        if let fault = session.tick() { return end(by: fault) }
        if session.role == .server, !session.isPrefaceComplete { return end(by: .latePreface) }
        silentTickCount += 1
        if silentTickCount == session.limits.silentTicksBeforePing { session.ping() }
        let limit = session.limits.silentTicksBeforePing + session.limits.ticksForPingAnswer
        if silentTickCount > limit { return end(by: .silence) }
        delegate.tick()
    }
}
