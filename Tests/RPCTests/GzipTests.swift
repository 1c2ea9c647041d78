// gzip of messages: what it makes, what it refuses, and how compressed calls are held back.

import HTTP2
import NIOCore
import Testing

@testable import RPC

struct GzipTests {
    /// By Python's zlib.
    private static let hello: [UInt8] = [
        31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 203, 72, 205, 201, 201, 87, 200, 64, 144, 0, 128, 136,
        249, 229, 17, 0, 0, 0,
    ]
    private static let nothing: [UInt8] = [
        31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ]

    private func inflate(_ bytes: [UInt8], limit: Int = 300) throws(EnvelopeError) -> [UInt8] {
        var output = ByteBuffer()
        try Gzip.inflate(ByteBuffer(bytes: bytes), limit: limit, into: &output)
        return Array(output.readableBytesView)
    }

    private func deflate(_ bytes: [UInt8]) -> [UInt8]? {
        Gzip.deflate(ByteBuffer(bytes: bytes)).map { Array($0.readableBytesView) }
    }

    @Test
    func `What another program compressed is read`() throws {
        let text = Array("hello hello hello".utf8)
        #expect(try inflate(Self.hello) == text)
        #expect(try inflate(Self.nothing) == [])
        // Several members are one message (RFC 1952 section 2.2).
        #expect(try inflate(Self.hello + Self.nothing + Self.hello) == text + text)
    }

    @Test(arguments: [1024, 1025, 4096, 70_000, 4 << 20])
    func `What is compressed comes back`(count: Int) throws {
        let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 / 7) }
        let compressed = try #require(deflate(bytes))
        #expect(compressed.count < bytes.count)
        #expect(try inflate(compressed, limit: count) == bytes)
        #expect(throws: EnvelopeError.inflatesTooLong(limit: count - 1)) {
            try inflate(compressed, limit: count - 1)
        }
    }

    @Test
    func `What would not become shorter is left alone`() {
        var generator = SystemRandomNumberGenerator()
        #expect(
            deflate((0..<5000).map { _ in UInt8.random(in: 0...255, using: &generator) }) == nil)
    }

    @Test
    func `A cut message, garbage and what follows a message are refused`() {
        for count in 0..<Self.hello.count {
            #expect(throws: EnvelopeError.corrupt) { try inflate(Array(Self.hello[..<count])) }
        }
        #expect(throws: EnvelopeError.corrupt) { try inflate(Self.hello + [0]) }
        #expect(throws: EnvelopeError.corrupt) { try inflate(Self.hello + [1, 2, 3, 4, 5]) }
        #expect(throws: EnvelopeError.corrupt) { try inflate(Array("hello hello".utf8)) }
        // Its checksum, and its length.
        for index in 20..<28 {
            var damaged = Self.hello
            damaged[index] ^= 1
            #expect(throws: EnvelopeError.corrupt) { try inflate(damaged) }
        }
    }

    @Test
    func `Members are counted`() throws {
        let most = Array(repeatElement(Self.hello, count: Gzip.mostMembers).joined())
        #expect(try inflate(most, limit: 17 * Gzip.mostMembers).count == 17 * Gzip.mostMembers)
        #expect(throws: EnvelopeError.corrupt) { try inflate(most + Self.nothing, limit: 1 << 20) }
    }

    @Test
    func `The limit holds over all members together`() throws {
        #expect(try inflate(Self.hello + Self.hello, limit: 34).count == 34)
        #expect(throws: EnvelopeError.inflatesTooLong(limit: 33)) {
            try inflate(Self.hello + Self.hello, limit: 33)
        }
    }

    @Test
    func `Credit counts what came, and memory what became of it`() throws {
        let message = [UInt8](repeating: 7, count: 100_000)
        let compressed = RawPeer.envelope(try #require(deflate(message)), flag: 1)
        let plain = RawPeer.envelope([1, 2, 3])
        var inbox = Inbox(maxMessageByteCount: 100_000, inflates: true)
        inbox.append(ByteBuffer(bytes: compressed + plain + compressed))
        let onWire = 2 * compressed.count + plain.count
        #expect(inbox.heldByteCount == onWire)
        var credits: [Int] = []
        while let message = try inbox.next() { credits.append(message.creditByteCount) }
        #expect(credits == [100_005, 8, 100_005])
        #expect(inbox.completeByteCount == 200_018)
        #expect(inbox.heldByteCount == onWire)
        inbox.credit(credits[0])
        #expect((compressed.count..<onWire).contains(inbox.heldByteCount))
        inbox.credit(credits[1] + credits[2])
        #expect(inbox.heldByteCount == 0)
        #expect(inbox.completeByteCount == 0)
    }

    @Test
    func `An empty message has credit to give back too`() throws {
        var inbox = Inbox(maxMessageByteCount: 100, inflates: true)
        inbox.append(ByteBuffer(bytes: RawPeer.envelope(Self.nothing, flag: 1)))
        let message = try #require(try inbox.next())
        #expect(message.bytes.readableBytes == 0)
        #expect(inbox.heldByteCount == Self.nothing.count + Envelope.prefixByteCount)
        inbox.credit(message.creditByteCount)
        #expect(inbox.heldByteCount == 0)
    }
}

@Suite(.timeLimit(.minutes(5)), .serialized)
struct CompressedCallTests {
    private static let gzip: [(name: String, value: String)] = [
        ("grpc-encoding", "gzip"), ("grpc-accept-encoding", "identity, gzip"),
    ]

    private func gzipped(_ bytes: [UInt8]) throws -> [UInt8] {
        let deflated = try #require(Gzip.deflate(ByteBuffer(bytes: bytes)))
        return RawPeer.envelope(Array(deflated.readableBytesView), flag: 1)
    }

    private func head(_ peer: RawPeer, _ stream: StreamID) -> Headers? {
        for case .head(stream, let headers, _) in peer.events { return headers }
        return nil
    }

    @Test
    func `A compressed call is answered compressed, small messages as they are`() async throws {
        let server = try await EchoServer.start()
        let peer = try RawPeer(port: server.port)
        let stream = try peer.open(RawPeer.headers(more: Self.gzip))
        let long = [UInt8](repeating: 65, count: Gzip.leastByteCount)
        let short = [UInt8](repeating: 65, count: Gzip.leastByteCount - 1)
        try peer.sendData(
            gzipped(long) + RawPeer.envelope(short) + gzipped(short), on: stream, end: true)
        #expect(try peer.status(of: stream).code == "0")
        #expect(head(peer, stream)?["grpc-encoding"] == "gzip")
        #expect(head(peer, stream)?["grpc-accept-encoding"] == "identity,gzip")
        #expect(
            try peer.body(of: stream)
                == gzipped(long) + RawPeer.envelope(short) + RawPeer.envelope(short))
        try await server.stop()
    }

    @Test(arguments: [
        [("grpc-encoding", "gzip")], [("grpc-accept-encoding", "gzip")],
        [("grpc-encoding", "gzip"), ("grpc-accept-encoding", "gzipped,deflate")],
    ])
    func `Who does not take gzip, or does not use it, is answered without`(
        more: [(String, String)]
    ) async throws {
        let server = try await EchoServer.start()
        let peer = try RawPeer(port: server.port)
        let stream = try peer.open(
            RawPeer.headers(more: more.map { (name: $0.0, value: $0.1) }))
        let message = RawPeer.envelope([UInt8](repeating: 65, count: 5000))
        try peer.sendData(message, on: stream, end: true)
        #expect(try peer.status(of: stream).code == "0")
        #expect(head(peer, stream)?["grpc-encoding"] == nil)
        #expect(peer.body(of: stream) == message)
        try await server.stop()
    }

    @Test(arguments: [[], [("grpc-encoding", "identity")]])
    func `A compressed message of a call without the encoding is an error`(
        more: [(String, String)]
    ) async throws {
        let server = try await EchoServer.start()
        let peer = try RawPeer(port: server.port)
        let stream = try peer.open(
            RawPeer.headers(more: more.map { (name: $0.0, value: $0.1) }))
        try peer.sendData(gzipped([UInt8](repeating: 65, count: 5000)), on: stream)
        #expect(try peer.status(of: stream).code == "13")
        try await server.stop()
    }

    /// Half a gibibyte would become of less than a connection's window of bytes.
    @Test
    func `Compressed messages wait while enough of them is in memory`() async throws {
        let server = try await EchoServer.start {
            $0.budget = ReceiveBudget(limitByteCount: 8 << 20)
        }
        let message = try gzipped([UInt8](repeating: 0, count: 1 << 20))
        var peers: [RawPeer] = []
        for _ in 0..<4 {
            let peer = try RawPeer(port: server.port)
            let stream = try peer.open(RawPeer.headers("/test.Echo/Hold", more: Self.gzip))
            for _ in 0..<128 { try peer.sendData(message, on: stream) }
            peers.append(peer)
        }
        let end = ContinuousClock.now + .seconds(10)
        while server.options.budget.heldByteCount < 8 << 20, ContinuousClock.now < end {
            try await Task.sleep(for: .milliseconds(10))
        }
        // Some are inflated, the others are kept as they came.
        let held = server.options.budget.heldByteCount
        #expect(((8 << 20)...(16 << 20)).contains(held), "\(held)")
        // What is held goes with its calls, and others are served again.
        peers = []
        let peer = try RawPeer(port: server.port)
        let stream = try peer.open(RawPeer.headers("/test.Echo/Count", more: Self.gzip))
        for _ in 0..<16 { try peer.sendData(message, on: stream) }
        try peer.sendData([], on: stream, end: true)
        #expect(try peer.status(of: stream).code == "0")
        #expect(peer.body(of: stream) == RawPeer.envelope(Array("16 \(16 << 20)".utf8)))
        try await server.stop()
    }
}
