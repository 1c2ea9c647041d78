// In: events of one HTTP/2 connection. Out: each to the call of its stream; refusals of requests
// that are not gRPC; the connection's flow-control credit.
// On which thread: the connection's event loop.

package import HTTP2
package import NIOCore

/// What all connections of a server share.
package struct ServerOptions: Sendable {
    package var limits = ConnectionLimits()
    /// 4 MiB, as every gRPC library has it.
    package var maxMessageByteCount = 4 * 1024 * 1024
    package var age = ConnectionAgeLimits()
    /// Whether to speak before the client does. In clear text it may turn out to speak HTTP/1.1.
    package var speaksFirst = true
    package var budget: ReceiveBudget
    package var counters = ServerCounters()
    /// For beginnings of messages.
    package var unfinished = SharedLimit(
        UnfinishedMessages.byteCountOfAll, leastShare: UnfinishedMessages.leastShareByteCount)
    /// For what handlers take out of messages and have not answered, which they count themselves.
    package var unanswered = SharedLimit(.max, leastShare: 1)
    /// For bytes of answers that clients have not taken.
    package var unsent = SharedLimit(.max, leastShare: 1)
    /// For calls that are open, whatever they do.
    package var openCalls = SharedLimit(.max, leastShare: 1)
    /// Calls that a connection may begin in one second: more than a client's library manages with
    /// calls that do anything, while each costs tens of microseconds here. Those beyond it are
    /// refused so that the client may try again, and if there are only such, the connection ends.
    package var streamsPerSecond = 10_000
    /// Told of each connection that is ended because of its peer: why, its address, and the HTTP/2
    /// library's words. On the connection's loop.
    package var connectionFailed: @Sendable (ConnectionFault, SocketAddress?, String) -> Void = {
        _, _, _ in
    }

    /// Told of calls that handlers refuse: why, and the client's address. On the connection's loop.
    package var callRefused: @Sendable (Refusal, String) -> Void = { _, _ in }

    package init(budget: ReceiveBudget) { self.budget = budget }

    /// A stream can hold the largest message while credit below the step waits. To be asserted when
    /// the server starts, since with a smaller window streams would stall for ever.
    package var isConsistent: Bool {
        limits.streamWindowByteCount >= maxMessageByteCount + Envelope.prefixByteCount
            + ConnectionLimits.creditStepByteCount
    }
}

/// One client's connection: the table of its calls.
package final class ServerConnection: SessionDelegate {
    let options: ServerOptions
    let eventLoop: any EventLoop
    private(set) var peerAddress = ""
    let peerIdentities: [String]

    private let router: any CallRouter
    private(set) var session: Session?
    private(set) var calls: [StreamID: ServerCall] = [:]
    var anybodysCalls = AnybodysCalls()
    /// Streams that HTTP answers, and the ticks for which the client has not taken all of it.
    private var answeredByHTTP: [StreamID: Int] = [:]
    /// Calls to which the events at hand brought something.
    private var touchedCalls: [ServerCall] = []
    /// Of whole messages that this connection's calls have.
    var heldByteCount = 0 {
        didSet {
            guard (heldByteCount > 0) != (oldValue > 0) else { return }
            options.budget.holdersChanged(by: heldByteCount > 0 ? 1 : -1)
        }
    }
    private var isRecheckScheduled = false
    private var isDraining = false
    private var age: ConnectionAge
    private var ageLook: Scheduled<Void>?
    private(set) var channel: (any Channel)?
    private var streamRate: StreamRate
    /// Calls in a second that are refused and do not count as a flood.
    private var refusalRate = StreamRate(limit: 250)
    let unfinished: SharedLimit.Part
    let unanswered: SharedLimit.Part
    let unsent: SharedLimit.Part
    private let openCalls: SharedLimit.Part
    var countedUnsentByteCount = 0
    /// Calls that may not answer yet, in the order in which they came.
    var waitingCalls: CircularBuffer<ServerCall> = []
    var isWakeScheduled = false
    /// Calls with messages that may not be decompressed yet, in the order in which they came.
    var callsToInflate: CircularBuffer<ServerCall> = []
    /// Nothing is read until then, for messages that were of no use.
    var pausedUntil = NIODeadline.uptimeNanoseconds(0)
    var isPaused = false
    /// The end of the pause, or the next call's turn.
    var turn: (time: NIODeadline, task: Scheduled<Void>)?
    /// Bytes that were decompressed as usual, less those that were more.
    var inflationCredit = 0

    /// How soon a connection looks again whether the shared budget has room.
    static let recheckDelay: TimeAmount = .milliseconds(10)

    /// An answer of HTTP that the client has not taken is reset after so many ticks.
    private static let maxFinishedTickCount = 3

    private init(
        router: any CallRouter, options: ServerOptions, peerIdentities: [String],
        eventLoop: any EventLoop
    ) {
        precondition(
            options.isConsistent, "the stream window is too small for the largest message")
        self.router = router
        self.options = options
        self.peerIdentities = peerIdentities
        self.eventLoop = eventLoop
        age = ConnectionAge(
            options.age, openedAt: .now(), chance: .random(in: -1...1))
        streamRate = StreamRate(limit: options.streamsPerSecond)
        unanswered = SharedLimit.Part(of: options.unanswered)
        unsent = SharedLimit.Part(of: options.unsent)
        openCalls = SharedLimit.Part(of: options.openCalls)
        unfinished = SharedLimit.Part(of: options.unfinished)
    }

    /// Serves a channel that was just accepted. Call it in the child channel's initializer; to
    /// drain, fire `ChannelShouldQuiesceEvent` into the channel's pipeline.
    ///
    /// - Parameter peerIdentities: The names in the client's certificate, which was verified.
    package static func serve(
        _ channel: any Channel, router: any CallRouter, options: ServerOptions,
        peerIdentities: [String] = []
    ) throws {
        try ChannelSetup.apply(to: channel)
        let connection = ServerConnection(
            router: router, options: options, peerIdentities: peerIdentities,
            eventLoop: channel.eventLoop)
        let handler = try HTTP2Handler(
            role: .server, limits: options.limits, delegate: connection,
            speaksFirst: options.speaksFirst)
        try channel.pipeline.syncOperations.addHandler(handler)
    }

    package func opened(_ session: Session, on channel: any Channel) {
        self.session = session
        peerAddress = channel.remoteAddress?.description ?? "unknown"
        options.counters.connectionsChanged(by: 1)
        self.channel = channel
        scheduleAgeLook()
    }

    package func receive(_ events: [Event], from input: ByteBuffer) {
        // The call of the last frame: most frames in a row belong to one stream.
        var current: ServerCall?
        for event in events {
            switch event {
            case .data(let stream, let slice):
                if current?.stream != stream { current = touchedCall(of: stream) }
                current?.receive(slice.bytes(of: input))
            case .head(let stream, let headers, _):
                begin(stream, headers)
            case .endOfStream(let stream):
                touchedCall(of: stream)?.halfClose()
            case .closed(let stream, let code):
                close(stream, by: .reset(code))
            case .writable(let stream):
                calls[stream]?.writable()
            case .refused(_, let refusal):
                note(refusal == .tooMany ? .concurrentStreams : .malformedStream)
            case .trailers, .goAway, .settings:
                // A request's trailers have no meaning in gRPC, and the other two are nghttp2's.
                break
            }
        }
        deliver()
        boundUnfinished()
        boundAnybodysCalls()
        recheckWithheldCredit()
    }

    package func drainStarted() {
        isDraining = true
        for call in Array(calls.values) { call.drain() }
    }

    package func written() { wakeWaiting() }

    package func tick() {
        resetUnread()
        for call in calls.values where call.isFinished && call.unreadTick() {
            session?.reset(call.stream, .cancel)
        }
        for (stream, tickCount) in answeredByHTTP {
            answeredByHTTP[stream] = tickCount + 1
            if tickCount == Self.maxFinishedTickCount { session?.reset(stream, .cancel) }
        }
        boundUnfinished()
        // Those that are answered at once may be many for a moment.
        while let call = anybodysCalls.newestBeyondMost {
            call.giveUp(.streams, .resourceExhausted, "too many calls at once of what needs no key")
        }
        boundAnybodysCalls()
        if isHeldBack { return }
        for call in Array(calls.values) { call.messageTick() }
    }

    package func failed(_ fault: ConnectionFault, detail: String) {
        options.counters.refusals.add(fault)
        options.connectionFailed(fault, channel?.remoteAddress, detail)
        // Nothing of them would be sent any more.
        endCalls()
    }

    private func endCalls() {
        let open = Array(calls.values)
        calls = [:]
        anybodysCalls = AnybodysCalls()
        touchedCalls = []
        waitingCalls = []
        callsToInflate = []
        for call in open { call.streamClosed(by: .connectionLost) }
        options.counters.callsChanged(by: -open.count)
        openCalls.add(-openCalls.count)
    }

    package func closed() {
        endCalls()
        options.counters.connectionsChanged(by: -1)
        session = nil
        turn?.task.cancel()
        turn = nil
        countUnsent()
        ageLook?.cancel()
        channel = nil
    }

    // Calls.

    /// The stream's call, noted for delivery.
    private func touchedCall(of stream: StreamID) -> ServerCall? {
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

    private func begin(_ stream: StreamID, _ headers: Headers) {
        guard let session else { return }
        guard streamRate.open(at: eventLoop.now) else {
            note(.streamRate)
            return session.reset(stream, .refusedStream)
        }
        guard openCalls.hasRoomToKeep else {
            note(.streams)
            let isPatient = refusalRate.open(at: eventLoop.now)
            return isPatient
                ? session.refuseForOthers(stream) : session.reset(stream, .refusedStream)
        }
        switch RequestHead.read(headers) {
        case .refusedByHTTP(let answer):
            refuse(headers.isTruncated ? .headers : .noRPC)
            answeredByHTTP[stream] = 0
            let isKnown = headers[":path"].map(router.isKnown) ?? false
            (isKnown ? answer : .notFound).send(
                on: stream, of: session, withText: headers[":method"] != "HEAD")
        case .refused(let status):
            refuse(headers.isTruncated ? .headers : .malformedRequest)
            var trailers = Headers([(":status", "200"), ("content-type", "application/grpc")])
            status.add(to: &trailers)
            session.respondAndEnd(stream, trailers)
        case .accepted(let head):
            let call = ServerCall(head: head, stream: stream, session: session, connection: self)
            calls[stream] = call
            callsChanged(by: 1)
            let handler = router.handler(for: head, call: call)
            call.dropRequestHead()
            guard let handler else {
                if !call.isFinished { refuse(.unknownMethod) }
                call.finish(RPCStatus(.unimplemented, "unknown method \(head.path.prefix(64))"))
                return
            }
            call.start(handler)
            if isDraining { call.drain() }
        }
    }

    /// A call, or what was meant to be one, is refused.
    func refuse(_ refusal: Refusal) {
        note(refusal)
        session?.requestWasRefused(isBearable: refusalRate.open(at: eventLoop.now))
    }

    /// Counts it and has it logged.
    func note(_ refusal: Refusal) {
        options.counters.refusals.add(refusal)
        options.callRefused(refusal, peerAddress)
    }

    private func close(_ stream: StreamID, by cause: CallEnd) {
        anybodysCalls.remove(stream)
        guard let call = calls.removeValue(forKey: stream) else {
            answeredByHTTP[stream] = nil
            return
        }
        callsChanged(by: -1)
        // A client that gives up when its deadline is over does what the server would have done.
        if case .reset(.cancel) = cause, call.isPastDeadline { session?.forgiveReset() }
        call.streamClosed(by: cause)
    }

    private func callsChanged(by change: Int) {
        age.callsChanged(openCount: calls.count, now: .now())
        options.counters.callsChanged(by: change)
        openCalls.add(change)
    }

    private func scheduleAgeLook() {
        guard let look = age.nextLook(now: .now()) else { return }
        ageLook = eventLoop.assumeIsolated().scheduleTask(deadline: look) { [weak self] in
            guard let self else { return }
            if self.age.isOver(now: .now()) {
                self.channel?.pipeline.fireUserInboundEventTriggered(ConnectionShouldRetireEvent())
            } else {
                self.scheduleAgeLook()
            }
        }
    }

    // Messages whose end has not come.

    /// The newest calls are given up first, so that the older ones come to their end.
    private func boundUnfinished() {
        while let call = anybodysCalls.oneTooMany {
            call.giveUp(
                .unfinishedMessages, .resourceExhausted, "too much at once of what needs no key")
        }
        while unfinished.count > UnfinishedMessages.byteCountOfConnection {
            guard let call = newestUnfinished else { return }
            call.giveUp(
                .unfinishedMessages, .resourceExhausted,
                "too many large messages at once on one connection")
        }
        while unfinished.excess > 0 {
            guard let call = newestUnfinished else { return }
            call.giveUp(.unfinishedMessages, .unavailable, "too many messages are under way")
        }
    }

    private var newestUnfinished: ServerCall? {
        calls.values.filter { $0.unfinishedByteCount > 0 }.max { $0.stream < $1.stream }
    }

    /// Nobody without a key shall take the calls of those who have one.
    private func boundAnybodysCalls() {
        while options.openCalls.isFull, let call = anybodysCalls.newestBeyondLeast {
            call.giveUp(.streams, .unavailable, "too many calls are open")
        }
    }

    // The connection's credit.

    /// Every byte received is credited here in the end, of streams that are gone too, or the window
    /// would shrink with each of them. While the server has enough to do it waits.
    func recheckWithheldCredit() {
        guard let session else { return }
        let withheld = session.uncreditedByteCount
        guard withheld >= ConnectionLimits.creditStepByteCount else { return }
        // What the peer may send already will be at work too.
        let open = options.limits.connectionWindowByteCount - withheld
        let room = options.budget.room(whileHolding: heldByteCount) - open
        if room < withheld { scheduleRecheck() }
        guard room >= ConnectionLimits.creditStepByteCount else { return }
        session.returnConnectionCredit(min(withheld, room))
    }

    /// Whether the client may send hardly a byte on any stream, because of what others of this
    /// connection have sent.
    var isHeldBack: Bool {
        guard let session else { return false }
        return options.limits.connectionWindowByteCount - session.uncreditedByteCount
            < Envelope.prefixByteCount
    }

    private func scheduleRecheck() {
        guard !isRecheckScheduled else { return }
        isRecheckScheduled = true
        eventLoop.assumeIsolated().scheduleTask(in: Self.recheckDelay) { [weak self] in
            self?.isRecheckScheduled = false
            self?.recheckWithheldCredit()
        }
    }
}
