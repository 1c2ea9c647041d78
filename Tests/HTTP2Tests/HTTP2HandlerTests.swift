// The channel handler on an embedded channel: writes per read, back-pressure, drain, the end.

import HTTP2
import NIOCore
import NIOEmbedded
import Testing

/// Answers each request with a body of `bodyByteCount` bytes and trailers.
private final class Responder: SessionDelegate {
    final class Life { var isOver = false }

    let life: Life
    let bodyByteCount: Int
    private(set) var session: Session?
    private(set) var isClosed = false
    private(set) var isDraining = false

    init(_ life: Life, bodyByteCount: Int = 10) {
        self.life = life
        self.bodyByteCount = bodyByteCount
    }

    deinit { life.isOver = true }

    func opened(_ session: Session, on channel: any Channel) { self.session = session }

    func receive(_ events: [Event], from input: ByteBuffer) {
        for case .endOfStream(let stream) in events { respond(stream) }
    }

    func respond(_ stream: StreamID) {
        guard let session, let body = session.respond(stream, Headers([(":status", "200")]))
        else { return }
        session.append(to: body, reserving: bodyByteCount) {
            $0.writeRepeatingByte(1, count: bodyByteCount)
        }
        session.end(body, trailers: Headers([("t", "u")]))
    }

    func drainStarted() { isDraining = true }
    func tick() {}
    func closed() {
        isClosed = true
        session = nil
    }
}

private struct Rig {
    let channel = EmbeddedChannel()
    let client: Session
    let responder: Responder

    init(_ responder: Responder, limits: ConnectionLimits = ConnectionLimits()) throws {
        self.responder = responder
        client = try Session(role: .client, limits: limits)
        let handler = try HTTP2Handler(role: .server, limits: limits, delegate: responder)
        try channel.pipeline.syncOperations.addHandler(handler)
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        try exchange()
    }

    /// What the server wrote, one buffer per flush.
    func takeWrites() throws -> [ByteBuffer] {
        var writes: [ByteBuffer] = []
        while let write = try channel.readOutbound(as: ByteBuffer.self) { writes.append(write) }
        return writes
    }

    func sendFromClient() throws {
        var bytes = ByteBuffer()
        _ = try client.send(into: &bytes, byteLimit: 1 << 20)
        if bytes.readableBytes > 0 { try channel.writeInbound(bytes) }
    }

    /// Until both are silent; answers what the client saw.
    @discardableResult
    func exchange() throws -> [Event] {
        var events: [Event] = []
        while true {
            try sendFromClient()
            channel.embeddedEventLoop.run()
            let writes = try takeWrites()
            if writes.isEmpty { return events }
            for write in writes {
                try client.receive(write)
                events += client.takeEvents()
            }
        }
    }

    func request(ends: Bool = true) throws -> OutboundStream {
        let stream = try client.request(
            Headers([
                (":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a"),
            ]))
        if ends { client.end(stream, trailers: nil) }
        return stream
    }
}

struct HTTP2HandlerTests {
    @Test
    func `A read cycle with many requests makes one write`() throws {
        let rig = try Rig(Responder(.init()))
        for _ in 0..<50 { _ = try rig.request() }
        try rig.sendFromClient()
        let writes = try rig.takeWrites()
        #expect(writes.count == 1)
        try rig.client.receive(#require(writes.first))
        let closed = rig.client.takeEvents().filter { if case .closed = $0 { true } else { false } }
        #expect(closed.count == 50)
        _ = try? rig.channel.finish()
    }

    @Test
    func `Several submissions outside of a read make one write`() throws {
        let rig = try Rig(Responder(.init()))
        let streams = try (0..<5).map { _ in try rig.request(ends: false).id }
        try rig.exchange()
        for stream in streams { rig.responder.respond(stream) }
        #expect(try rig.takeWrites().isEmpty)
        rig.channel.embeddedEventLoop.run()
        #expect(try rig.takeWrites().count == 1)
        _ = try? rig.channel.finish()
    }

    @Test
    func `Nothing is pulled while the channel is not writable`() throws {
        let rig = try Rig(Responder(.init(), bodyByteCount: 50_000))
        rig.channel.isWritable = false
        _ = try rig.request()
        try rig.sendFromClient()
        rig.channel.embeddedEventLoop.run()
        #expect(try rig.takeWrites().isEmpty)
        rig.channel.isWritable = true
        rig.channel.pipeline.fireChannelWritabilityChanged()
        let byteCount = try rig.takeWrites().reduce(0) { $0 + $1.readableBytes }
        #expect(byteCount > 50_000)
        _ = try? rig.channel.finish()
    }

    @Test
    func `One turn writes no more than its bound, the next goes on`() throws {
        var limits = ConnectionLimits()
        limits.outputByteCountPerTurn = 100_000
        let rig = try Rig(Responder(.init(), bodyByteCount: 1_000_000), limits: limits)
        _ = try rig.request()
        try rig.sendFromClient()
        let first = try rig.takeWrites()
        #expect(first.count == 1)
        // The last frame may lie across the bound.
        #expect(first.allSatisfy { $0.readableBytes <= 100_000 + 16_393 })
        rig.channel.embeddedEventLoop.run()
        let rest = try rig.takeWrites().reduce(0) { $0 + $1.readableBytes }
        #expect(rest > 850_000)
        _ = try? rig.channel.finish()
    }

    @Test
    func `A drain lets streams end, then closes`() throws {
        let rig = try Rig(Responder(.init()))
        let open = try rig.request(ends: false)
        try rig.exchange()
        rig.channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        let events = try rig.exchange()
        #expect(rig.responder.isDraining)
        let lastStreams = events.compactMap { event -> StreamID? in
            if case .goAway(let last, .noError) = event { last } else { nil }
        }
        #expect(lastStreams == [StreamID.max, open.id])
        #expect(rig.channel.isActive)
        rig.client.end(open, trailers: nil)
        try rig.exchange()
        rig.channel.embeddedEventLoop.advanceTime(by: ConnectionLimits.linger)
        #expect(!rig.channel.isActive)
        #expect(rig.responder.isClosed)
    }

    @Test
    func `Streams between a drain's two GOAWAYs are served, also after a keepalive`() throws {
        let rig = try Rig(Responder(.init()))
        let open = try rig.request(ends: false)
        try rig.exchange()
        let limits = ConnectionLimits()
        rig.channel.embeddedEventLoop.advanceTime(
            by: .nanoseconds(
                ConnectionLimits.tick.nanoseconds * Int64(limits.silentTicksBeforePing)))
        try rig.exchange()
        rig.channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        rig.channel.embeddedEventLoop.run()
        // The client has not seen the notice when it begins more.
        let crossed = try (0..<3).map { _ in try rig.request().id }
        try rig.sendFromClient()
        let late = try rig.request().id
        try rig.sendFromClient()
        let events = try rig.exchange()
        let lastStreams = events.compactMap { event -> StreamID? in
            if case .goAway(let last, .noError) = event { last } else { nil }
        }
        #expect(lastStreams == [StreamID.max, late])
        let served = events.compactMap { event -> StreamID? in
            if case .closed(let stream, .noError) = event { stream } else { nil }
        }
        #expect(served == crossed + [late])
        rig.client.end(open, trailers: nil)
        try rig.exchange()
        rig.channel.embeddedEventLoop.advanceTime(by: ConnectionLimits.linger)
        #expect(!rig.channel.isActive)
    }

    @Test
    func `A drain does not wait for ever for the PING`() throws {
        let rig = try Rig(Responder(.init()))
        rig.channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        rig.channel.embeddedEventLoop.run()
        rig.channel.embeddedEventLoop.advanceTime(by: ConnectionLimits.drainNotice)
        rig.channel.embeddedEventLoop.advanceTime(by: ConnectionLimits.linger)
        #expect(!rig.channel.isActive)
    }

    @Test
    func `A silent peer is asked, and closed when it does not answer`() throws {
        let rig = try Rig(Responder(.init()))
        let limits = ConnectionLimits()
        let tick = ConnectionLimits.tick.nanoseconds
        rig.channel.embeddedEventLoop.advanceTime(
            by: .nanoseconds(tick * Int64(limits.silentTicksBeforePing)))
        // The answer counts as life.
        try rig.exchange()
        rig.channel.embeddedEventLoop.advanceTime(
            by: .nanoseconds(tick * Int64(limits.silentTicksBeforePing)))
        #expect(rig.channel.isActive)
        rig.channel.embeddedEventLoop.advanceTime(
            by: .nanoseconds(tick * Int64(limits.ticksForPingAnswer + 1)))
        #expect(!rig.channel.isActive)
        #expect(rig.responder.isClosed)
    }

    /// Text among frames would be taken for one of four megabytes.
    @Test(arguments: [
        (true, ["GET / HTTP/1.1\r\n\r\n"], false), (false, ["GET / HTTP/1.1\r\n\r\n"], true),
        (false, ["PRI * H/TT2P.0\r\n\r\nSM\r\n\r\n"], true), (false, ["PRI ", "* x"], false),
        (false, ["\u{16}\u{3}\u{1}"], false),
    ])
    func `HTTP/1.1 is answered where nothing was said before`(
        speaksFirst: Bool, sent: [String], isAnswered: Bool
    ) throws {
        let channel = EmbeddedChannel()
        try channel.pipeline.syncOperations.addHandler(
            HTTP2Handler(
                role: .server, limits: ConnectionLimits(), delegate: Responder(.init()),
                speaksFirst: speaksFirst))
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        for text in sent { try channel.writeInbound(ByteBuffer(string: text)) }
        channel.embeddedEventLoop.advanceTime(by: ConnectionLimits.linger)
        var written = ""
        while let bytes = try channel.readOutbound(as: ByteBuffer.self) {
            written += String(buffer: bytes)
        }
        #expect(written.hasPrefix("HTTP/1.1 505 ") == isAnswered)
        #expect(written.contains("HTTP/1.1") == isAnswered)
        // SETTINGS come first in any case.
        #expect(written.utf8.count > 9)
        #expect(!channel.isActive)
    }

    @Test
    func `A closed connection frees its delegate and its session`() throws {
        let life = Responder.Life()
        weak var session: Session?
        do {
            let rig = try Rig(Responder(life, bodyByteCount: 1_000_000))
            _ = try rig.request()
            _ = try rig.request(ends: false)
            try rig.sendFromClient()
            session = rig.responder.session
            #expect(session != nil)
            _ = try? rig.channel.finish()
            #expect(rig.responder.isClosed)
        }
        #expect(life.isOver)
        #expect(session == nil)
    }
}
