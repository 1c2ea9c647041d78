// What a connection may begin and hold, at each limit and one past it.

import HTTP2
import NIOCore
import NIOEmbedded
import Testing

@testable import RPC

@Suite(.timeLimit(.minutes(5)))
struct LimitTests {
    @Test
    func `Streams are counted by the second`() {
        var rate = StreamRate(limit: 3)
        var now = NIODeadline.uptimeNanoseconds(5)
        for _ in 0..<2 {
            let begun = [0, 0, 999, 999].map { rate.open(at: now + .milliseconds($0)) }
            #expect(begun == [true, true, true, false])
            now = now + .seconds(1)
        }
    }

    @Test
    func `Beginnings of messages are bounded for all: the newest go, and those that are late`()
        throws
    {
        let limit = SharedLimit(100_000, leastShare: 1_000)
        let others = SharedLimit.Part(of: limit)
        others.add(40_000)
        let rig = try Embedded(unfinished: limit)
        func refused(_ kind: String) -> Int { rig.options.counters.refusals.count(of: kind) }
        for count in 1...4 {
            let stream = try rig.client.request(RawPeer.headers())
            rig.client.append(to: stream, reserving: 16_384) {
                $0.writeBytes(RawPeer.envelope([], length: 30_000))
                $0.writeRepeatingByte(1, count: 16_379)
            }
            try rig.exchange()
            #expect(limit.count == 40_000 + min(count, 3) * 16_384)
            #expect(refused("unfinished_messages") == max(0, count - 3))
        }
        // Now all hold too much, this connection less than its share.
        others.add(30_000)
        for tick in 1...3 {
            rig.channel.embeddedEventLoop.advanceTime(by: ConnectionLimits.tick)
            try rig.exchange()
            #expect(refused("late_message") == (tick < 2 ? 0 : 2))
        }
        #expect(limit.count == 70_000 + 16_384 && refused("unfinished_messages") == 1)
        _ = try? rig.channel.finish()
    }

    @Test
    func `The beginning of a message counts also when what is before it is pulled late`() throws {
        let rig = try Embedded()
        let stream = try rig.client.request(RawPeer.headers("/test.Echo/Each"))
        // The first message's answer is more than the handler leaves unsent at once.
        let first = RawPeer.envelope([UInt8](repeating: 1, count: 300_000))
        rig.client.append(to: stream, reserving: first.count + 10_000) {
            $0.writeBytes(first + RawPeer.envelope([], length: 20_000))
            $0.writeRepeatingByte(1, count: 9_995)
        }
        try rig.exchange()
        #expect(rig.options.unfinished.count == 10_000)
        _ = try? rig.channel.finish()
    }

    @Test
    func `Calls that need no key are ended when there are too many in all`() throws {
        let limit = SharedLimit(20, leastShare: 16)
        let rig = try Embedded(openCalls: limit)
        for _ in 0..<10 { _ = try rig.client.request(RawPeer.headers("/test.Echo/Anybody")) }
        try rig.exchange()
        let others = SharedLimit.Part(of: limit)
        others.add(9)
        rig.channel.embeddedEventLoop.advanceTime(by: ConnectionLimits.tick)
        try rig.exchange()
        #expect(rig.options.counters.refusals.count(of: "streams") == 0 && limit.count == 19)
        others.add(1)
        rig.channel.embeddedEventLoop.advanceTime(by: ConnectionLimits.tick)
        try rig.exchange()
        #expect(rig.options.counters.refusals.count(of: "streams") == 6)
        let statuses = rig.events.compactMap { event -> String? in
            if case .head(_, let fields, _) = event { fields["grpc-status"] } else { nil }
        }
        #expect(statuses == [String](repeating: "14", count: 6))
        _ = try? rig.channel.finish()
    }

    @Test
    func `Who is refused because of others is not ended for it, unless it goes on and on`() throws {
        let limit = SharedLimit(1, leastShare: 1)
        let rig = try Embedded(openCalls: limit)
        func refused(_ kind: String) -> Int { rig.options.counters.refusals.count(of: kind) }
        func begin(_ count: Int) throws {
            for _ in 0..<count where rig.channel.isActive {
                _ = try? rig.client.request(RawPeer.headers("/test.Echo/Silent"))
                try rig.exchange()
            }
        }
        for _ in 0..<9 {
            try begin(240)
            rig.channel.embeddedEventLoop.advanceTime(by: .seconds(1))
        }
        #expect(refused("streams") == 9 * 240 - 1 && refused("useless_frames") == 0)
        #expect(limit.count == 1)
        rig.channel.embeddedEventLoop.advanceTime(by: ConnectionLimits.tick)
        try begin(250 + ConnectionLimits().cheapFrameCountPerTick + 100)
        #expect(refused("useless_frames") == 1)
        _ = try? rig.channel.finish()
    }

    @Test
    func `A connection that begins too many large messages loses the newest`() async throws {
        let server = try await EchoServer.start()
        let peer = try RawPeer(port: server.port)
        let part = 1 << 20
        let message = RawPeer.envelope([], length: 4 << 20) + [UInt8](repeating: 1, count: part - 5)
        var streams: [StreamID] = []
        for _ in 0..<UnfinishedMessages.byteCountOfConnection / part {
            let stream = try peer.open(RawPeer.headers("/test.Echo/Count"))
            try Self.send(message, peer, stream)
            streams.append(stream)
        }
        try await eventually {
            server.options.unfinished.count == UnfinishedMessages.byteCountOfConnection
        }
        #expect(server.options.counters.refusals.count(of: "unfinished_messages") == 0)
        let last = try peer.open()
        try peer.sendData(RawPeer.envelope([], length: 100), on: last)
        #expect(try peer.status(of: last).code == "8")
        #expect(server.options.counters.refusals.count(of: "unfinished_messages") == 1)
        // The others come to their end.
        try peer.sendFrame(RawPeer.FrameType.reset, stream: streams[1], [0, 0, 0, 8])
        let rest = [UInt8](repeating: 1, count: (4 << 20) + 5 - part)
        try Self.send(rest, peer, streams[0])
        try peer.sendData([], on: streams[0], end: true)
        #expect(try peer.status(of: streams[0]).code == "0")
        try await server.stop()
    }

    /// Reads now and then, or both sides' buffers would fill.
    private static func send(_ bytes: [UInt8], _ peer: RawPeer, _ stream: StreamID) throws {
        for start in stride(from: 0, to: bytes.count, by: 16384) {
            try peer.sendData(Array(bytes[start..<min(start + 16384, bytes.count)]), on: stream)
        }
    }

    @Test
    func `A message that does not come to its end is given up`() throws {
        let rig = try Embedded()
        let (client, options) = (rig.client, rig.options)
        let stream = try client.request(RawPeer.headers())
        // A whole message, then one that comes a byte a tick.
        client.append(to: stream, reserving: 10) {
            $0.writeBytes(RawPeer.envelope([1]) + RawPeer.envelope([], length: 100))
        }
        try rig.exchange()
        for tick in 0...UnfinishedMessages.maxTickCount {
            let isOver = options.counters.refusals.count(of: "late_message") > 0
            #expect(!isOver, "given up after \(tick) ticks")
            client.append(to: stream, reserving: 1) { $0.writeInteger(UInt8(tick)) }
            try rig.exchange()
            rig.channel.embeddedEventLoop.advanceTime(by: ConnectionLimits.tick)
        }
        try rig.exchange()
        #expect(options.counters.refusals.count(of: "late_message") == 1)
        let status = rig.events.compactMap { event -> String? in
            if case .trailers(_, let fields) = event { fields["grpc-status"] } else { nil }
        }
        #expect(status == ["8"])
        #expect(options.unfinished.count == 0)
        _ = try? rig.channel.finish()
    }

    @Test
    func `An answer of HTTP that is not taken ends its stream`() throws {
        var limits = ConnectionLimits()
        limits.streamWindowByteCount = 0
        let rig = try Embedded(client: limits)
        let stream = try rig.client.request(RawPeer.headers(contentType: "text/plain")).id
        func isClosed() -> Bool {
            rig.events.contains { if case .closed(stream, .cancel) = $0 { true } else { false } }
        }
        try rig.exchange()
        for _ in 0...3 {
            #expect(!isClosed())
            rig.channel.embeddedEventLoop.advanceTime(by: ConnectionLimits.tick)
            try rig.exchange()
        }
        #expect(isClosed())
        _ = try? rig.channel.finish()
    }

    @Test
    func
        `A finished call waits for a client that reads slowly, and five minutes for one that does not`()
        throws
    {
        var limits = ConnectionLimits()
        limits.streamWindowByteCount = 40_000
        let rig = try Embedded(client: limits)
        let stream = try rig.client.request(RawPeer.headers())
        let message = RawPeer.envelope([UInt8](repeating: 1, count: 300_000))
        rig.client.append(to: stream, reserving: message.count) { $0.writeBytes(message) }
        rig.client.end(stream, trailers: nil)
        try rig.exchange()
        func isClosed() -> Bool {
            rig.events.contains { if case .closed(stream.id, .cancel) = $0 { true } else { false } }
        }
        func tick() throws {
            rig.channel.embeddedEventLoop.advanceTime(by: ConnectionLimits.tick)
            try rig.exchange()
        }
        for _ in 0..<5 {
            rig.client.returnStreamCredit(stream.id, heldByteCount: 0)
            try tick()
        }
        // The last of these is seen with the next tick.
        for _ in 0..<31 {
            #expect(!isClosed())
            try tick()
        }
        #expect(isClosed())
        _ = try? rig.channel.finish()
    }

    @Test(arguments: [true, false])
    func `Clients whose deadlines are over may reset their calls`(isOver: Bool) throws {
        let rig = try Embedded()
        for _ in 0..<2 {
            let streams = try (0..<200).map { _ in
                try rig.client.request(
                    RawPeer.headers("/test.Echo/Silent", more: [("grpc-timeout", "4S")]))
            }
            try rig.exchange()
            rig.channel.embeddedEventLoop.advanceTime(
                by: isOver ? .milliseconds(3900) : .milliseconds(100))
            for stream in streams { rig.client.reset(stream.id, .cancel) }
            try rig.exchange()
        }
        let count = rig.options.counters.refusals.count(of: "too_many_resets")
        #expect(count == (isOver ? 0 : 1))
        _ = try? rig.channel.finish()
    }

    /// Else one that has to wait would keep its event loop busy, and advancing the time would not end.
    @Test
    func `Who waits to decompress is asked again now and then`() throws {
        let rig = try Embedded()
        let budget = rig.options.budget
        budget.chargeWork(budget.workLimitByteCount)
        let stream = try rig.client.request(
            RawPeer.headers("/test.Echo/Count", more: [("grpc-encoding", "gzip")]))
        let text = ByteBuffer(bytes: [UInt8](repeating: 65, count: 5000))
        let compressed = try #require(Gzip.deflate(text))
        let message = RawPeer.envelope(Array(compressed.readableBytesView), flag: 1)
        rig.client.append(to: stream, reserving: message.count) { $0.writeBytes(message) }
        rig.client.end(stream, trailers: nil)
        func isAnswered() -> Bool {
            rig.events.contains { if case .closed(stream.id, _) = $0 { true } else { false } }
        }
        for _ in 0..<20 {
            try rig.exchange()
            rig.channel.embeddedEventLoop.advanceTime(by: .milliseconds(50))
        }
        #expect(!isAnswered())
        budget.chargeWork(-budget.workLimitByteCount)
        rig.channel.embeddedEventLoop.advanceTime(by: .milliseconds(50))
        try rig.exchange()
        #expect(isAnswered())
        _ = try? rig.channel.finish()
    }

    @Test(arguments: [true, false])
    func `Who has brought what it seemed to bring does not wait for bombs`(isTrusted: Bool) throws {
        let rig = try Embedded()
        var state: UInt32 = 1
        // Letters that come down to half.
        func text(_ count: Int) -> [UInt8] {
            (0..<count).map { _ in
                state = state &* 1_664_525 &+ 1_013_904_223
                return 65 + UInt8(state >> 28)
            }
        }
        func call(_ count: Int) throws -> StreamID {
            let stream = try rig.client.request(
                RawPeer.headers("/test.Echo/Count", more: [("grpc-encoding", "gzip")]))
            let compressed = try #require(Gzip.deflate(ByteBuffer(bytes: text(count))))
            let message = RawPeer.envelope(Array(compressed.readableBytesView), flag: 1)
            rig.client.append(to: stream, reserving: message.count) { $0.writeBytes(message) }
            rig.client.end(stream, trailers: nil)
            try rig.exchange()
            return stream.id
        }
        func isAnswered(_ id: StreamID) -> Bool {
            rig.events.contains { if case .closed(id, _) = $0 { true } else { false } }
        }
        #expect(isAnswered(try call(isTrusted ? 256 * 1024 : 255 * 1024)))
        rig.options.budget.chargeSurplus(1 << 30, at: rig.channel.eventLoop.now)
        #expect(isAnswered(try call(1024)) == isTrusted)
        _ = try? rig.channel.finish()
    }

    @Test
    func `Finished calls that nobody reads are reset when there is too much, the newest first`()
        throws
    {
        var limits = ConnectionLimits()
        limits.streamWindowByteCount = 0
        // Two answers and most of a third.
        let rig = try Embedded(client: limits, unsent: SharedLimit(140_000, leastShare: 1_000))
        let (client, options) = (rig.client, rig.options)
        var streams: [StreamID] = []
        for _ in 0..<4 {
            let stream = try client.request(RawPeer.headers())
            let message = RawPeer.envelope([UInt8](repeating: 1, count: 50_000))
            client.append(to: stream, reserving: message.count) { $0.writeBytes(message) }
            client.end(stream, trailers: nil)
            try rig.exchange()
            streams.append(stream.id)
        }
        #expect(options.unsent.count == 4 * 50_005)
        // The first tick sees what there is, the second that nothing was taken.
        for expected in [[], [streams[3], streams[2]], []] {
            let before = rig.events.count
            rig.channel.embeddedEventLoop.advanceTime(by: ConnectionLimits.tick)
            try rig.exchange()
            let closed = rig.events[before...].compactMap { event -> StreamID? in
                if case .closed(let stream, _) = event { stream } else { nil }
            }
            #expect(closed.sorted(by: >) == expected)
        }
        #expect(options.unsent.count == 2 * 50_005)
        #expect(options.counters.refusals.count(of: "unread_answer") == 2)
        _ = try? rig.channel.finish()
        #expect(options.unsent.count == 0)
    }
}

/// A server's connection on an embedded loop, and a client's session.
private final class Embedded {
    let channel = EmbeddedChannel()
    let options: ServerOptions
    let client: Session
    private(set) var events: [Event] = []

    init(
        client limits: ConnectionLimits = ConnectionLimits(), unsent: SharedLimit? = nil,
        unfinished: SharedLimit? = nil, openCalls: SharedLimit? = nil
    ) throws {
        var options = ServerOptions(budget: ReceiveBudget(limitByteCount: 64 << 20))
        if let unsent { options.unsent = unsent }
        if let unfinished { options.unfinished = unfinished }
        if let openCalls { options.openCalls = openCalls }
        self.options = options
        client = try Session(role: .client, limits: limits)
        try ServerConnection.serve(channel, router: EchoRouter(log: EchoLog()), options: options)
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        try exchange()
    }

    /// Until both are silent.
    func exchange() throws {
        while true {
            var bytes = ByteBuffer()
            _ = try client.send(into: &bytes, byteLimit: 1 << 20)
            if bytes.readableBytes > 0 { try channel.writeInbound(bytes) }
            channel.embeddedEventLoop.run()
            guard let answer = try channel.readOutbound(as: ByteBuffer.self) else { return }
            try client.receive(answer)
            events += client.takeEvents()
        }
    }
}

extension Refusals {
    func count(of kind: String) -> Int { all.first { $0.kind == kind }?.count ?? -1 }
}
