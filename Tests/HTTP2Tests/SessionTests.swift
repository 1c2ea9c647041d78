// A client's and a server's session, joined by hand: bytes of one go to the other, cut anywhere.

import NIOCore
import Testing

@testable import HTTP2

/// Two sessions without sockets.
private struct Pair {
    let client: Session
    let server: Session
    var clientEvents: [Event] = []
    var serverEvents: [Event] = []
    /// Of all streams.
    var clientBytes: [UInt8] = []
    var serverBytes: [UInt8] = []
    let cut: Int

    init(_ limits: ConnectionLimits = ConnectionLimits(), cut: Int = .max) throws {
        client = try Session(role: .client, limits: limits)
        server = try Session(role: .server, limits: limits)
        self.cut = cut
        try run()
    }

    /// Until both have nothing more to say.
    mutating func run() throws {
        while true {
            let toServer = try Self.move(from: client, to: server, cut, &serverEvents, &serverBytes)
            let toClient = try Self.move(from: server, to: client, cut, &clientEvents, &clientBytes)
            if !toServer, !toClient { break }
        }
        // Those that sending brought.
        clientEvents += client.takeEvents()
        serverEvents += server.takeEvents()
    }

    private static func move(
        from: Session, to: Session, _ cut: Int, _ events: inout [Event], _ body: inout [UInt8]
    ) throws -> Bool {
        var bytes = ByteBuffer()
        _ = try from.send(into: &bytes, byteLimit: 1 << 24)
        if bytes.readableBytes == 0 { return false }
        while bytes.readableBytes > 0 {
            let piece = bytes.readSlice(length: min(cut, bytes.readableBytes)) ?? ByteBuffer()
            try to.receive(piece)
            for event in to.takeEvents() {
                if case .data(_, let slice) = event {
                    body += slice.bytes(of: piece).readableBytesView
                }
                events.append(event)
            }
        }
        return true
    }

    mutating func open(_ more: [(name: String, value: String)] = []) throws -> OutboundStream {
        var headers = Headers([
            (":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a"),
        ])
        for field in more { headers.add(field.name, field.value) }
        let stream = try client.request(headers)
        try run()
        return stream
    }
}

struct SessionTests {
    @Test func `Streams take turns on a client's connection`() throws {
        var pair = try Pair()
        let streams = try (0..<3).map { _ in try pair.open() }
        for stream in streams {
            pair.client.append(to: stream, reserving: 200_000) {
                $0.writeRepeatingByte(7, count: 200_000)
            }
        }
        pair.serverEvents = []
        try pair.run()
        Self.expectTurns(pair.serverEvents, streams.map(\.id))
    }

    @Test func `Streams take turns on a server's connection`() throws {
        var pair = try Pair()
        let streams = try (0..<3).map { _ in try pair.open().id }
        let responses = streams.compactMap {
            pair.server.respond($0, Headers([(":status", "200")]))
        }
        try pair.run()
        for response in responses {
            pair.server.append(to: response, reserving: 200_000) {
                $0.writeRepeatingByte(7, count: 200_000)
            }
        }
        pair.clientEvents = []
        try pair.run()
        Self.expectTurns(pair.clientEvents, streams)
    }

    /// At no time is a stream ahead of another by more than two frames.
    private static func expectTurns(_ events: [Event], _ streams: [StreamID]) {
        var counts = Dictionary(uniqueKeysWithValues: streams.map { ($0, 0) })
        for event in events {
            guard case .data(let stream, let slice) = event else { continue }
            counts[stream, default: 0] += Int(slice.byteCount)
            let most = counts.values.max() ?? 0
            let least = counts.values.min() ?? 0
            #expect(most - least <= 2 * 16384)
        }
        #expect(counts.values.allSatisfy { $0 == 200_000 })
    }

    @Test(arguments: [1, 2, 3, 7, 10, 64, Int.max])
    func `A request and its response go over, however the bytes are cut`(cut: Int) throws {
        var pair = try Pair(cut: cut)
        let request = try pair.open([("x", "y")])
        pair.client.append(to: request, reserving: 3) { $0.writeBytes([1, 2, 3]) }
        pair.client.end(request, trailers: nil)
        try pair.run()
        guard
            case .head(let stream, let head, false)? = pair.serverEvents.first(where: {
                if case .head = $0 { true } else { false }
            })
        else {
            Issue.record("no head")
            return
        }
        #expect(head["x"] == "y")
        #expect(head[":path"] == "/")
        #expect(pair.serverBytes == [1, 2, 3])
        let response = try #require(pair.server.respond(stream, Headers([(":status", "200")])))
        pair.server.append(to: response, reserving: 2) { $0.writeBytes([4, 5]) }
        pair.server.end(response, trailers: Headers([("t", "u")]))
        try pair.run()
        #expect(pair.clientBytes == [4, 5])
        let trailers = pair.clientEvents.contains {
            if case .trailers(stream, Headers([("t", "u")])) = $0 { true } else { false }
        }
        #expect(trailers)
        for events in [pair.clientEvents, pair.serverEvents] {
            let closed = events.contains {
                if case .closed(stream, .noError) = $0 { true } else { false }
            }
            #expect(closed)
        }
    }

    @Test
    func `A small response with trailers leaves in one go`() throws {
        var pair = try Pair()
        let request = try pair.open()
        pair.client.end(request, trailers: nil)
        try pair.run()
        let response = try #require(
            pair.server.respond(request.id, Headers([(":status", "200")])))
        pair.server.append(to: response, reserving: 2) { $0.writeBytes([4, 5]) }
        pair.server.end(response, trailers: Headers([("t", "u")]))
        var output = ByteBuffer()
        #expect(try !pair.server.send(into: &output, byteLimit: 1 << 20))
        // HEADERS, DATA, HEADERS: their types lie behind each length.
        var types: [UInt8] = []
        while let high: UInt8 = output.readInteger(), let low: UInt16 = output.readInteger(),
            let type: UInt8 = output.readInteger()
        {
            types.append(type)
            output.moveReaderIndex(forwardBy: 5 + Int(high) << 16 + Int(low))
        }
        #expect(types == [1, 0, 1])
    }

    @Test
    func `A writer is told when its bytes have gone`() throws {
        var limits = ConnectionLimits()
        limits.streamWindowByteCount = 100_000
        limits.connectionWindowByteCount = 1 << 20
        var pair = try Pair(limits)
        let request = try pair.open()
        pair.client.append(to: request, reserving: 200_000) {
            $0.writeRepeatingByte(1, count: 200_000)
        }
        try pair.run()
        func isWritable() -> Bool {
            pair.clientEvents.contains { if case .writable = $0 { true } else { false } }
        }
        #expect(request.unsentByteCount == 100_000)
        #expect(!isWritable())
        pair.server.returnStreamCredit(request.id, heldByteCount: 0)
        try pair.run()
        #expect(request.unsentByteCount == 0)
        #expect(isWritable())
    }

    @Test
    func `Credit of a stream goes back in steps, less what is held`() throws {
        var limits = ConnectionLimits()
        limits.streamWindowByteCount = 100_000
        var pair = try Pair(limits)
        let request = try pair.open()
        pair.client.append(to: request, reserving: 300_000) {
            $0.writeRepeatingByte(1, count: 300_000)
        }
        try pair.run()
        let step = ConnectionLimits.creditStepByteCount
        pair.server.returnStreamCredit(request.id, heldByteCount: 100_000 - step + 1)
        try pair.run()
        #expect(request.unsentByteCount == 200_000)
        pair.server.returnStreamCredit(request.id, heldByteCount: 100_000 - step)
        try pair.run()
        #expect(request.unsentByteCount == 200_000 - step)
    }

    @Test
    func `Header blocks are bounded in fields and in bytes`() throws {
        var limits = ConnectionLimits()
        limits.headerFieldCount = 10
        limits.headerListByteCount = 1000
        var pair = try Pair(limits)
        // With the pseudo fields: ten fields, eleven fields, and over a thousand bytes.
        let six = (0..<6).map { (name: "k\($0)", value: "v") }
        _ = try pair.open(six)
        _ = try pair.open(six + [(name: "k6", value: "v")])
        _ = try pair.open([(name: "k", value: String(repeating: "x", count: 900))])
        let heads = pair.serverEvents.compactMap { event -> Headers? in
            if case .head(_, let headers, _) = event { headers } else { nil }
        }
        #expect(heads.map(\.isTruncated) == [false, true, true])
        #expect(heads.map(\.count) == [10, 10, 4])
    }

    @Test
    func `Two GOAWAYs let requests under way come in`() throws {
        var pair = try Pair()
        let first = try pair.open()
        pair.server.announceGoAway()
        pair.server.ping()
        try pair.run()
        #expect(!pair.server.takeDrainAnswer())
        pair.server.pingForDrain()
        try pair.run()
        #expect(pair.server.takeDrainAnswer())
        #expect(!pair.server.takeDrainAnswer())
        pair.server.goAway(.noError)
        try pair.run()
        let lastStreams = pair.clientEvents.compactMap { event -> StreamID? in
            if case .goAway(let last, _) = event { last } else { nil }
        }
        #expect(lastStreams == [StreamID.max, first.id])
        #expect(throws: HTTP2Error.noMoreStreams) { try pair.client.request(Headers()) }
        #expect(!pair.server.isFinished)
        pair.client.end(first, trailers: nil)
        pair.server.respondAndEnd(first.id, Headers([(":status", "200")]))
        try pair.run()
        #expect(pair.server.isFinished)
        #expect(pair.client.isFinished)
    }

    @Test
    func `A stream that is reset without an error is none that was answered`() throws {
        var limits = ConnectionLimits()
        limits.resetCountPerTick = 2
        var pair = try Pair(limits)
        for _ in 0..<2 { pair.client.reset(try pair.open().id, .noError) }
        try pair.run()
        #expect(pair.server.floodFault == nil)
        // One that was answered pays for one more.
        let answered = try pair.open()
        pair.client.end(answered, trailers: nil)
        pair.server.respondAndEnd(answered.id, Headers([(":status", "200")]))
        try pair.run()
        pair.client.reset(try pair.open().id, .noError)
        try pair.run()
        #expect(pair.server.floodFault == nil)
        pair.client.reset(try pair.open().id, .noError)
        #expect(throws: HTTP2Error.fault(.tooManyResets)) { try pair.run() }
    }

    @Test
    func `A wrong preface is an error`() throws {
        let server = try Session(role: .server, limits: ConnectionLimits())
        #expect(throws: HTTP2Error.fault(.badPreface)) {
            try server.receive(ByteBuffer(string: "GET / HTTP/1.1\r\n\r\n............"))
        }
    }

    @Test
    func `Headers are found by name, in order`() {
        let headers = Headers([("a", "1"), ("b", ""), ("a", "2"), ("ab", "3")])
        #expect(headers["a"] == "1")
        #expect(headers["b"] == "")
        #expect(headers["ab"] == "3")
        #expect(headers["c"] == nil)
        #expect(headers.values("a") == ["1", "2"])
        #expect(headers.pairs.map(\.name) == ["a", "b", "a", "ab"])
        #expect(headers.listByteCount == 8 + 4 * 32)
    }
}
