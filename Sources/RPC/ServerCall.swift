// In: the body of one request as chunks, and its end. Out: messages that the handler pulls; the
// handler's messages and status, as response headers, body and trailers.
// On which thread: the connection's event loop.

package import HTTP2
package import NIOCore

/// One call on the server. Bound to its event loop; everything here is called on it.
///
/// Back-pressure is the handler's: it pulls messages when it can take them and returns their credit
/// when they are done; what it does not pull or credit, the client may not send more of.
package final class ServerCall {
    /// What a client has for the rest of a call that was aborted.
    private static let abortGrace = TimeAmount.seconds(1)

    /// Path and metadata are there while the router looks for a handler, and gone afterwards.
    package private(set) var head: RequestHead
    package let eventLoop: any EventLoop
    /// The client's socket address, as text.
    package let peerAddress: String
    /// The names in the client's certificate, verified during the TLS handshake: URIs, then DNS names,
    /// else the common name. Empty in clear text, and where clients need no certificate.
    package let peerIdentities: [String]
    /// What the handlers of this connection's calls hold of `ServerOptions.unanswered`.
    package let unanswered: SharedLimit.Part
    let unsentAnswers: SharedLimit.Part
    var expectedByteCount = 0

    let stream: StreamID
    private let session: Session
    private let budget: ReceiveBudget
    private var state = ServerCallState()
    private var inbox: Inbox
    /// Of the inbox; here it costs nothing to ask.
    private let inflates: Bool
    private let acceptsGzip: Bool
    private var outbound: OutboundStream?
    private var handler: (any CallHandler)?
    /// Cleared when the stream is gone, which ends the cycle with the connection's table of calls.
    private(set) var connection: ServerConnection?
    /// Kept until the stream is gone, for what counts open calls.
    package var lease: AnyObject?
    private var deadline: Scheduled<Void>?
    private var chargedByteCount = 0
    private var dischargedByteCount = 0
    private var inflatedByteCount = 0
    /// In the connection's list of calls with what may not be decompressed yet.
    var isWaitingToInflate = false
    /// `grpc-encoding: gzip` was sent.
    private var mayCompress = false

    /// Messages from here on are compressed, those that are worth it; if the client takes gzip, and
    /// this was set when the headers went out. As it is, a client that compresses is answered
    /// compressed, and nobody else: most clients say that they take gzip, also those for whom the
    /// processor is what is scarce.
    package var compressesMessages: Bool

    /// Of a message whose end has not come, and the ticks since its call had a whole one.
    private(set) var unfinishedByteCount = 0
    private var unfinishedTickCount = 0

    /// In the connection's list of calls to be delivered to.
    var isTouched = false
    /// In the connection's list of calls that wait to answer.
    var isWaitingToAnswer = false
    /// Of a finished call.
    var unsentAtTick = 0
    /// Ticks since the call was finished, or since its client took something of the answer.
    private var unreadTickCount = 0
    private var unreadByteCount = Int.max
    private let begun: NIODeadline

    /// Of a call whose reset is taken for its deadline's.
    private static let leastForgivenAge = TimeAmount.milliseconds(10)

    /// What a client takes in a tick at least, to be one that reads.
    private static let leastReadByteCount = 4096
    /// So many ticks an answer waits for a client that takes nothing, five minutes; fewer while all
    /// answers together wait with too much, and when the client has yet to take the status alone.
    private static let maxUnreadTickCount = 30
    private static let maxUnreadTickCountWhenFull = 3

    init(head: RequestHead, stream: StreamID, session: Session, connection: ServerConnection) {
        self.head = head
        self.stream = stream
        self.session = session
        self.connection = connection
        self.eventLoop = connection.eventLoop
        self.begun = connection.eventLoop.now
        self.peerAddress = connection.peerAddress
        self.peerIdentities = connection.peerIdentities
        self.unanswered = connection.unanswered
        self.unsentAnswers = connection.unsent
        self.budget = connection.options.budget
        self.inflates = head.isCompressed
        self.acceptsGzip = head.acceptsGzip
        self.inbox = Inbox(
            maxMessageByteCount: connection.options.maxMessageByteCount, inflates: inflates)
        self.compressesMessages = head.isCompressed
    }

    deinit {
        // What a handler has not credited by now never will be.
        budget.charge(-chargedByteCount)
        budget.chargeInflated(-inflatedByteCount)
    }

    // For the handler.

    /// The next whole message, or nil. A body that breaks the rules ends the call with the status
    /// for it, and `ended` is called from in here. Compressed messages wait while the server has
    /// enough to do; `messagesAvailable` is called again for them.
    package func nextMessage() -> ReceivedMessage? {
        guard !state.isFinished, !inflates || mayInflate() else { return nil }
        do throws(EnvelopeError) {
            if let message = try inbox.next() {
                if inflates {
                    recharge()
                    connection?.inflated(
                        inbox.lastInflatedByteCount, surplus: max(0, inbox.lastSurplusByteCount))
                }
                unfinishedTickCount = 0
                return message
            }
            if state.isHalfClosed { try inbox.finish() }
            rechargeUnfinished()
        } catch {
            if inflates {
                budget.chargeSurplus(inbox.lastSurplusByteCount, at: eventLoop.now)
                refusedMessage(byteCount: inbox.lastInflatedByteCount)
            }
            refused(.envelope)
            end(with: error.status, by: .protocolError(error.status))
        }
        return nil
    }

    /// The client has half-closed and every message was pulled. False while a cut-off message is
    /// left, for which `nextMessage` ends the call.
    package var isRequestComplete: Bool { state.isHalfClosed && inbox.isEmpty }

    package var isFinished: Bool { state.isFinished }

    /// Whether the connection's window is used up, so that not even a small message can come.
    package var isHeldBack: Bool { connection?.isHeldBack ?? false }

    /// Messages of so many bytes (`ReceivedMessage.creditByteCount`) are done: the client may send
    /// as many again.
    package func returnCredit(_ byteCount: Int) {
        inbox.credit(byteCount)
        dischargedByteCount = max(0, dischargedByteCount - byteCount)
        recharge()
        passCreditOn()
        connection?.recheckWithheldCredit()
    }

    /// Pulled messages of so many bytes hold no memory here any more, though their credit is still
    /// out: they leave the shared budget. What became of them the handler charges itself.
    package func discharge(_ byteCount: Int) {
        dischargedByteCount += byteCount
        recharge()
    }

    /// Sends the response's headers at once; else they go with the first message. Names are lower
    /// case; values of those ending in `-bin` are base64.
    package func sendHeaders(_ metadata: Headers = Headers()) {
        if state.send() == .sendHeadersFirst { submitHeaders(metadata) }
    }

    /// Sends one message. `write` appends it to the stream's buffer, behind its prefix; it is not
    /// called when the call is over.
    package func send(
        maxByteCount hint: Int, _ write: (inout ByteBuffer) -> Void
    ) {
        switch state.send() {
        case .sendHeadersFirst: submitHeaders()
        case .send: break
        case .drop: return
        }
        guard let outbound else { return }
        if mayCompress, compressesMessages, hint >= Gzip.leastByteCount {
            return sendCompressed(on: outbound, write)
        }
        session.append(to: outbound, reserving: hint + Envelope.prefixByteCount) { buffer in
            Envelope.write(into: &buffer, write)
        }
    }

    private func sendCompressed(
        on outbound: OutboundStream, _ write: (inout ByteBuffer) -> Void
    ) {
        var message = ByteBuffer()
        write(&message)
        let compressed =
            message.readableBytes >= Gzip.leastByteCount ? Gzip.deflate(message) : nil
        let bytes = compressed ?? message
        session.append(
            to: outbound, reserving: bytes.readableBytes + Envelope.prefixByteCount
        ) { buffer in
            Envelope.write(into: &buffer, isCompressed: compressed != nil) {
                $0.writeImmutableBuffer(bytes)
            }
        }
    }

    /// The call answers anybody, whoever calls. Its messages are small, and all such calls of its
    /// connection hold little together: the newest that holds anything ends with RESOURCE_EXHAUSTED
    /// when they hold more. To be called by the router.
    package func answerAnybody() {
        inbox.limitMessages(to: AnybodysCalls.messageByteCount)
        connection?.anybodysCalls.add(self)
    }

    /// Of all such calls of the connection, those too that were finished and not read.
    package var unsentByteCountToAnybody: Int { connection?.anybodysCalls.unsentByteCount ?? 0 }

    /// Bytes sent that flow control or the socket holds back. Stop sending above a bound of your
    /// own that is over the low-water mark; `writable` tells when to go on.
    package var unsentByteCount: Int { outbound?.unsentByteCount ?? 0 }

    /// Ends the call. When the client is still sending, its stream is reset without an error once
    /// the trailers are out (RFC 9113 section 8.1).
    package func finish(_ status: RPCStatus) {
        let action = state.finish()
        if action == .ignore { return }
        var trailers = Headers()
        if action == .sendTrailersOnly {
            trailers.add(":status", "200")
            trailers.add("content-type", head.contentType)
        }
        status.add(to: &trailers)
        if let outbound {
            session.end(outbound, trailers: trailers)
        } else if action == .sendTrailersOnly {
            session.respondAndEnd(stream, trailers)
        }
        letGo()
    }

    /// Counts that the call is refused, and has it logged; it is to be finished too.
    package func refused(_ refusal: Refusal) { connection?.refuse(refusal) }

    /// Counts that the server ends the call, and has it logged. The client may have done nothing wrong.
    package func wasEnded(for refusal: Refusal) { connection?.note(refusal) }

    /// A message of so many bytes, as it was decompressed, was of no use. The longer it took to find
    /// out, the longer nothing is read of the connection.
    package func refusedMessage(byteCount: Int) { connection?.refusedMessage(byteCount: byteCount) }

    /// Ends the call from outside of its handler, which is told. The status waits behind what was sent
    /// before; a client that does not take that loses the stream.
    package func abort(_ status: RPCStatus) {
        end(with: status, by: .aborted)
        eventLoop.assumeIsolated().scheduleTask(in: Self.abortGrace) { [weak self] in
            guard let self, connection != nil else { return }
            session.reset(stream, .cancel)
        }
    }

    private func submitHeaders(_ metadata: Headers = Headers()) {
        var headers = Headers([
            (":status", "200"), ("content-type", head.contentType),
            ("grpc-accept-encoding", RequestHead.acceptedEncodings),
        ])
        if compressesMessages, acceptsGzip {
            mayCompress = true
            headers.add("grpc-encoding", Gzip.name)
        }
        for field in metadata.pairs { headers.add(field.name, field.value) }
        outbound = session.respond(stream, headers)
    }

    // For the connection.

    /// What of the request is in memory.
    var heldByteCount: Int { inbox.heldByteCount }

    func dropRequestHead() { head.drop() }

    func start(_ handler: any CallHandler) {
        guard !state.isFinished else { return }
        self.handler = handler
        guard let timeout = head.timeout else { return }
        deadline = eventLoop.assumeIsolated().scheduleTask(in: timeout) { [weak self] in
            self?.end(with: RPCStatus(.deadlineExceeded, "the deadline is over"), by: .deadline)
        }
    }

    func receive(_ chunk: consuming ByteBuffer) {
        if !state.isFinished { inbox.append(chunk) }
    }

    func halfClose() { state.halfClose() }

    /// Tells the handler of all that a read brought.
    func deliver() {
        guard !state.isFinished else { return }
        handler?.messagesAvailable(self)
        inbox.settle()
        recharge()
        rechargeUnfinished()
        passCreditOn()
    }

    func writable() { handler?.writable(self) }

    func drain() { handler?.draining(self) }

    /// The stream is gone. Nothing is sent any more.
    func streamClosed(by cause: CallEnd) {
        let handler = handler
        let mustTell = state.streamClosed()
        letGo()
        connection?.heldByteCount -= chargedByteCount
        connection = nil
        outbound = nil
        lease = nil
        if mustTell { handler?.ended(self, by: cause) }
    }

    private func end(with status: RPCStatus, by cause: CallEnd) {
        guard !state.isFinished else { return }
        let handler = handler
        finish(status)
        handler?.ended(self, by: cause)
    }

    /// The call is over for its handler.
    private func letGo() {
        deadline?.cancel()
        deadline = nil
        handler = nil
        inbox.discard()
        recharge()
        rechargeUnfinished()
    }

    private func rechargeUnfinished() {
        let byteCount = inbox.unfinishedByteCount
        connection?.unfinished.add(byteCount - unfinishedByteCount)
        unfinishedByteCount = byteCount
    }

    /// The client's own time is as good as over. Not that of a call which was given next to none: a
    /// flood of such would be a flood of calls that nobody waits for.
    var isPastDeadline: Bool {
        guard let timeout = head.timeout else { return false }
        let age = eventLoop.now - begun
        return age >= max(.nanoseconds(timeout.nanoseconds / 10 * 9), Self.leastForgivenAge)
    }

    /// A tick of a finished call.
    ///
    /// - Returns: Whether its client has not read for too long.
    func unreadTick() -> Bool {
        let byteCount = unsentByteCount
        if unreadByteCount - byteCount >= Self.leastReadByteCount {
            unreadByteCount = byteCount
            unreadTickCount = 0
        }
        unreadTickCount += 1
        let isFull = connection?.options.unsent.isFull ?? true
        let limit =
            byteCount == 0 || isFull ? Self.maxUnreadTickCountWhenFull : Self.maxUnreadTickCount
        return unreadTickCount > limit
    }

    /// A tick in which the server would have taken more of the message under way, if there is one.
    func messageTick() {
        guard unfinishedByteCount > 0 else { return }
        unfinishedTickCount += 1
        let isFull = connection?.options.unfinished.isFull ?? false
        if unfinishedTickCount > UnfinishedMessages.maxTickCount
            || isFull && unfinishedTickCount > UnfinishedMessages.maxTickCountWhenFull
        {
            giveUp(
                .lateMessage, isFull ? .unavailable : .resourceExhausted,
                "a message takes too long to come")
        }
    }

    /// Ends the call for what it keeps here. UNAVAILABLE: because of what others keep, so that it may be
    /// tried again.
    func giveUp(_ refusal: Refusal, _ code: RPCCode, _ why: String) {
        wasEnded(for: refusal)
        let status = RPCStatus(code, why)
        end(with: status, by: .protocolError(status))
    }

    private func recharge() {
        let byteCount = max(0, inbox.completeByteCount - dischargedByteCount)
        if inflates { rechargeInflated() }
        guard byteCount != chargedByteCount else { return }
        budget.charge(byteCount - chargedByteCount)
        connection?.heldByteCount += byteCount - chargedByteCount
        chargedByteCount = byteCount
    }

    private func rechargeInflated() {
        let byteCount = max(0, inbox.uncreditedByteCount - dischargedByteCount)
        budget.chargeInflated(byteCount - inflatedByteCount)
        inflatedByteCount = byteCount
    }

    /// When the server has enough to do, the handler is called again a little later.
    private func mayInflate() -> Bool {
        if !inbox.mayHoldMessages { return true }
        return connection?.mayInflate(for: self) ?? true
    }

    private func passCreditOn() {
        guard connection != nil, !state.isHalfClosed, !state.isFinished else { return }
        session.returnStreamCredit(stream, heldByteCount: inbox.heldByteCount)
    }
}
