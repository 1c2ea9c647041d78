// A server against peers that send what no gRPC library would.

import HTTP2
import NIOConcurrencyHelpers
import NIOCore
import RPC
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(5)), .serialized)
struct RawPeerTests {
    @Test
    func `A preface in pieces is put together`() async throws {
        let server = try await EchoServer.start()
        let peer = try RawPeer(port: server.port)
        for byte in try peer.takeSessionBytes() { try peer.send([byte]) }
        let stream = try peer.open()
        try peer.sendData(RawPeer.envelope([1, 2, 3]), on: stream, end: true)
        #expect(try peer.status(of: stream).code == "0")
        #expect(peer.body(of: stream) == RawPeer.envelope([1, 2, 3]))
        try await server.stop()
    }

    @Test
    func `What is not HTTP/2 is hung up on`() async throws {
        let server = try await EchoServer.start()
        let peer = try RawPeer(port: server.port)
        try peer.send(Array("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n".utf8))
        // The server's settings may come first; the end must.
        try peer.receiveUntilEnd()
        #expect(peer.isAtEnd)
        try await server.stop()
    }

    @Test
    func `DATA of one byte each makes whole messages`() async throws {
        let server = try await EchoServer.start()
        let peer = try RawPeer(port: server.port)
        let stream = try peer.open()
        let bytes = RawPeer.envelope(Array(0..<100)) + RawPeer.envelope([]) + RawPeer.envelope([9])
        for byte in bytes { try peer.sendData([byte], on: stream) }
        try peer.sendData([], on: stream, end: true)
        #expect(try peer.status(of: stream).code == "0")
        #expect(peer.body(of: stream) == bytes)
        try await server.stop()
    }

    @Test
    func `Padded DATA is unpadded, and its window comes back`() async throws {
        let server = try await EchoServer.start()
        let peer = try RawPeer(port: server.port)
        let stream = try peer.open(RawPeer.headers("/test.Echo/Count"))
        let padding = [UInt8](repeating: 0, count: 255)
        // 25,000 frames of 266 bytes are more than the stream's window.
        var burst: [UInt8] = []
        for _ in 0..<100 {
            burst += [0, 1, 6, 0, 8] + [0, 0, 0, UInt8(stream)]
            burst += [255] + RawPeer.envelope([5]) + padding
        }
        for _ in 0..<250 { try peer.send(burst) }
        try peer.sendData([], on: stream, end: true)
        #expect(try peer.status(of: stream).code == "0")
        #expect(peer.body(of: stream) == RawPeer.envelope(Array("25000 25000".utf8)))
        try await server.stop()
    }

    @Test(arguments: [
        ("application/json", "POST", "415"), ("application/grpc-web", "POST", "415"),
        ("application/grpc", "GET", "405"), ("application/grpc", "PUT", "405"),
    ])
    func `A request that is not gRPC gets an HTTP status`(
        contentType: String, method: String, status: String
    ) async throws {
        let server = try await EchoServer.start()
        let peer = try RawPeer(port: server.port)
        let stream = try peer.open(
            RawPeer.headers(method: method, contentType: contentType))
        #expect(try peer.status(of: stream).http == status)
        try await server.stop()
    }

    @Test(arguments: [("application/json", "POST"), ("application/grpc", "PUT")])
    func `A request that is not gRPC is told to stop when it is answered`(
        contentType: String, method: String
    ) async throws {
        let server = try await EchoServer.start()
        let peer = try RawPeer(port: server.port)
        let stream = try peer.open(RawPeer.headers(method: method, contentType: contentType))
        try peer.receiveClosed(stream)
        #expect(!peer.body(of: stream).isEmpty)
        #expect(peer.closeCode(of: stream) == .noError)
        try await server.stop()
    }

    @Test(arguments: [
        "application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8",
    ])
    func `A content type of gRPC is taken, without te`(contentType: String) async throws {
        let server = try await EchoServer.start()
        let peer = try RawPeer(port: server.port)
        let stream = try peer.open(RawPeer.headers(contentType: contentType))
        try peer.sendData([], on: stream, end: true)
        #expect(try peer.status(of: stream).code == "0")
        try await server.stop()
    }

    @Test
    func `An unknown method, encoding or timeout is refused with its status`() async throws {
        let server = try await EchoServer.start()
        let peer = try RawPeer(port: server.port)
        let unknown = try peer.open(RawPeer.headers("/test.Nothing/Each"))
        #expect(try peer.status(of: unknown).code == "12")
        let snappy = try peer.open(RawPeer.headers(more: [("grpc-encoding", "snappy")]))
        #expect(try peer.status(of: snappy).code == "12")
        let accepted = peer.events.contains {
            if case .head(snappy, let headers, _) = $0 {
                headers["grpc-accept-encoding"] == "identity,gzip"
            } else {
                false
            }
        }
        #expect(accepted)
        let timeout = try peer.open(RawPeer.headers(more: [("grpc-timeout", "soon")]))
        #expect(try peer.status(of: timeout).code == "13")
        let deadline = try peer.open(RawPeer.headers(more: [("grpc-timeout", "30m")]))
        #expect(try peer.status(of: deadline).code == "4")
        // The connection is none the worse.
        let stream = try peer.open()
        try peer.sendData(RawPeer.envelope([1]), on: stream, end: true)
        #expect(try peer.status(of: stream).code == "0")
        try await server.stop()
    }

    @Test
    func `A message over the limit is refused by its prefix alone`() async throws {
        let server = try await EchoServer.start { $0.maxMessageByteCount = 1000 }
        let peer = try RawPeer(port: server.port)
        let fits = try peer.open(RawPeer.headers("/test.Echo/Count"))
        try peer.sendData(
            RawPeer.envelope([UInt8](repeating: 0, count: 1000)), on: fits, end: true)
        #expect(try peer.status(of: fits).code == "0")
        for length in [1001, UInt32.max] {
            let stream = try peer.open()
            try peer.sendData(RawPeer.envelope([], length: length), on: stream)
            let status = try peer.status(of: stream)
            #expect(status.code == "8")
            #expect(status.message?.contains("limit of 1000") == true)
            // The client was still sending: it is told to stop, without an error.
            try peer.receiveClosed(stream)
            #expect(peer.closeCode(of: stream) == .noError)
        }
        try await server.stop()
    }

    @Test(arguments: [
        RawPeer.envelope([1, 2], flag: 1), RawPeer.envelope([1, 2], flag: 2),
        RawPeer.envelope([1, 2], length: 3), [0], [0, 0, 0, 0],
    ])
    func `A broken envelope is INTERNAL`(bytes: [UInt8]) async throws {
        let server = try await EchoServer.start()
        let peer = try RawPeer(port: server.port)
        let stream = try peer.open()
        try peer.sendData(RawPeer.envelope([7]) + bytes, on: stream, end: true)
        #expect(try peer.status(of: stream).code == "13")
        #expect(peer.body(of: stream) == RawPeer.envelope([7]))
        try await server.stop()
    }

    @Test
    func `A reset in mid-call ends the handler, and nothing is kept`() async throws {
        let server = try await EchoServer.start()
        let peer = try RawPeer(port: server.port)
        let stream = try peer.open(RawPeer.headers("/test.Echo/Hold"))
        try peer.sendData(RawPeer.envelope([UInt8](repeating: 1, count: 9000)), on: stream)
        try await eventually { server.options.budget.heldByteCount == 9005 }
        try peer.sendFrame(RawPeer.FrameType.reset, stream: stream, [0, 0, 0, 8])
        try await eventually { server.log.ends.withLockedValue { $0 } == [.reset(.cancel)] }
        try await eventually { server.options.budget.heldByteCount == 0 }
        #expect(server.options.counters.openCallCount == 0)
        try await server.stop()
    }

    @Test
    func `Data sent after the server's status does not use up the connection's window`()
        async throws
    {
        let server = try await EchoServer.start()
        let peer = try RawPeer(port: server.port)
        let chunk = [UInt8](repeating: 0, count: 16384)
        // 64 streams of 512 KiB are twice the connection's window.
        for _ in 0..<64 {
            let stream = try peer.open(RawPeer.headers("/test.Echo/Fail"))
            for _ in 0..<32 { try peer.sendData(chunk, on: stream) }
            #expect(try peer.status(of: stream).code == "9")
        }
        let stream = try peer.open()
        try peer.sendData(RawPeer.envelope([1]), on: stream, end: true)
        #expect(try peer.status(of: stream).code == "0")
        try await server.stop()
    }

    @Test(arguments: [true, false])
    func `A peer that never reads keeps the server's unsent bytes bounded`(
        hasWindow: Bool
    ) async throws {
        let server = try await EchoServer.start()
        var limits = ConnectionLimits()
        limits.streamWindowByteCount = hasWindow ? 1 << 30 : 0
        limits.connectionWindowByteCount = hasWindow ? 1 << 30 : 65535
        let peer = try RawPeer(port: server.port, limits: limits)
        let stream = try peer.open(RawPeer.headers("/test.Echo/Flood"))
        try peer.sendData(RawPeer.envelope([1]), on: stream)
        try await eventually { server.log.mostUnsentByteCount.withLockedValue { $0 } > 0 }
        try await Task.sleep(for: .milliseconds(200))
        let most = server.log.mostUnsentByteCount.withLockedValue { $0 }
        #expect(most < EchoHandler.unsentLimit + 70_000)
        try peer.sendFrame(RawPeer.FrameType.reset, stream: stream, [0, 0, 0, 8])
        try await eventually { server.log.ends.withLockedValue { $0 } == [.reset(.cancel)] }
        try await server.stop()
    }

    @Test
    func `Too many or too large header fields are RESOURCE_EXHAUSTED`() async throws {
        let server = try await EchoServer.start()
        let peer = try RawPeer(port: server.port)
        let many = try peer.open(
            RawPeer.headers(more: (0..<96).map { (name: "k\($0)", value: "v") }))
        #expect(try peer.status(of: many).code == "8")
        let most = try peer.open(
            RawPeer.headers(more: (0..<95).map { (name: "k\($0)", value: "v") }))
        try peer.sendData([], on: most, end: true)
        #expect(try peer.status(of: most).code == "0")
        let large = String(repeating: "x", count: 17_000)
        let long = try peer.open(RawPeer.headers(more: [(name: "k", value: large)]))
        #expect(try peer.status(of: long).code == "8")
        try await server.stop()
    }

    @Test
    func `A flood of PING frames ends the connection`() async throws {
        let server = try await EchoServer.start()
        let peer = try RawPeer(port: server.port)
        _ = try peer.open()
        let frame: [UInt8] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]
        let burst = [UInt8]((0..<1000).map { _ in frame }.joined())
        // The server may hang up before all is sent.
        for _ in 0..<10 { try? peer.send(burst) }
        try await eventually { server.options.counters.openConnectionCount == 0 }
        #expect(server.log.ends.withLockedValue { $0 } == [.connectionLost])
        try await server.stop()
    }

    @Test
    func `Resets that the peer provokes end the connection`() async throws {
        let server = try await EchoServer.start()
        let peer = try RawPeer(port: server.port)
        _ = try peer.open()
        // A WINDOW_UPDATE of zero makes the server reset the stream (CVE-2025-8671).
        for _ in 0..<1000 {
            guard let stream = try? peer.session.request(RawPeer.headers()).id,
                let bytes = try? peer.takeSessionBytes(), (try? peer.send(bytes)) != nil,
                (try? peer.sendFrame(8, stream: stream, [0, 0, 0, 0])) != nil
            else { break }
        }
        try await eventually { server.options.counters.openConnectionCount == 0 }
        try await server.stop()
    }
}
