// Our client against our server, over sockets of the loopback.

import HTTP2
import NIOConcurrencyHelpers
import NIOCore
import RPC
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(5)))
struct EchoTests {
    @Test
    func `One message comes back`() async throws {
        let server = try await EchoServer.start()
        let client = try await EchoClient.connect(server.port)
        let outcome = try await client.unary("Each", [1, 2, 3])
        #expect(outcome.messages == [[1, 2, 3]])
        #expect(outcome.startedCount == 1)
        #expect(outcome.status.code == .ok)
        let empty = try await client.unary("Each")
        #expect(empty.messages == [[]])
        try await client.close()
        try await server.stop()
    }

    @Test
    func `A client stream is counted and answered at its end`() async throws {
        let server = try await EchoServer.start()
        let client = try await EchoClient.connect(server.port)
        let outcome = try await client.call("Count") { call, _ in
            for _ in 0..<10_000 {
                call.send(maxByteCount: 150) { $0.writeRepeatingByte(9, count: 150) }
            }
            call.halfClose()
        }
        #expect(outcome.messages == [Array("10000 1500000".utf8)])
        try await client.close()
        try await server.stop()
    }

    @Test
    func `Both sides of a stream talk in turns`() async throws {
        let server = try await EchoServer.start()
        let client = try await EchoClient.connect(server.port)
        let outcome = try await client.call("Each") { call, recorder in
            var left = 100
            recorder.onMessage = { call in
                left -= 1
                if left == 0 { return call.halfClose() }
                call.send(maxByteCount: 8) { $0.writeInteger(left) }
            }
            call.send(maxByteCount: 8) { $0.writeInteger(left) }
        }
        #expect(outcome.messages.count == 100)
        #expect(outcome.status.code == .ok)
        try await client.close()
        try await server.stop()
    }

    @Test
    func `Messages of the largest size go through in both directions`() async throws {
        let server = try await EchoServer.start()
        let client = try await EchoClient.connect(server.port)
        let limit = 4 * 1024 * 1024
        let outcome = try await client.call("Each", keepsMessages: false) { call, _ in
            for _ in 0..<12 {
                call.send(maxByteCount: limit) { $0.writeRepeatingByte(1, count: limit) }
            }
            call.halfClose()
        }
        #expect(outcome.byteCount == 12 * limit)
        #expect(outcome.status.code == .ok)
        let tooLong = try await client.unary("Each", [UInt8](repeating: 1, count: limit + 1))
        #expect(tooLong.status.code == .resourceExhausted)
        #expect(tooLong.status.message.contains("\(limit)"))
        try await client.close()
        try await server.stop()
    }

    @Test
    func `Mixed sizes never stall a window`() async throws {
        let server = try await EchoServer.start()
        let client = try await EchoClient.connect(server.port)
        // 1.9 MiB is credit that nghttp2 alone would keep back, waiting for half a window.
        let sizes = [1_900_000, 4 << 20, 1_900_000, 4 << 20, 7, 4 << 20, 2_100_000, 4 << 20]
        let outcome = try await client.call("Each", keepsMessages: false) { call, _ in
            for size in sizes {
                call.send(maxByteCount: size) { $0.writeRepeatingByte(1, count: size) }
            }
            call.halfClose()
        }
        #expect(outcome.byteCount == sizes.reduce(0, +))
        try await client.close()
        try await server.stop()
    }

    @Test
    func `A status carries message, details and metadata`() async throws {
        let server = try await EchoServer.start()
        let client = try await EchoClient.connect(server.port)
        let status = try await client.unary("Fail").status
        #expect(status.code == .failedPrecondition)
        #expect(status.message == "no: 100 % \u{fc}ber\n")
        #expect(status.details == [1, 2, 255])
        #expect(status.metadata["retry-after"] == "5")
        try await client.close()
        try await server.stop()
    }

    @Test
    func `An unknown method is named`() async throws {
        let server = try await EchoServer.start()
        let client = try await EchoClient.connect(server.port)
        let status = try await client.unary("Nope").status
        #expect(status.code == .unimplemented)
        #expect(status.message.contains("/test.Echo/Nope"))
        try await client.close()
        try await server.stop()
    }

    @Test
    func `The deadline ends a silent call at the client`() async throws {
        let server = try await EchoServer.start()
        let client = try await EchoClient.connect(server.port)
        let status = try await client.unary("Silent", timeout: .milliseconds(100)).status
        #expect(status.code == .deadlineExceeded)
        try await eventually { server.options.counters.openCallCount == 0 }
        try await client.close()
        try await server.stop()
    }

    @Test
    func `The deadline ends a silent call at the server`() async throws {
        let server = try await EchoServer.start()
        let client = try await EchoClient.connect(server.port)
        // Only told, so that the client's own clock cannot be faster.
        let deadline = Headers([("grpc-timeout", "100m")])
        let status = try await client.call("Silent", metadata: deadline) { call, _ in
            call.halfClose()
        }.status
        #expect(status.code == .deadlineExceeded)
        #expect(server.log.ends.withLockedValue { $0 } == [.deadline])
        try await eventually { server.options.counters.openCallCount == 0 }
        try await client.close()
        try await server.stop()
    }

    @Test
    func `A cancelled call is reset at the server`() async throws {
        let server = try await EchoServer.start()
        let client = try await EchoClient.connect(server.port)
        let outcome = try await client.call("Each") { call, recorder in
            recorder.onMessage = { $0.cancel() }
            call.send(maxByteCount: 1) { $0.writeInteger(UInt8(1)) }
        }
        #expect(outcome.status.code == .cancelled)
        try await eventually { server.log.ends.withLockedValue { $0 } == [.reset(.cancel)] }
        #expect(try await client.unary("Each", [5]).messages == [[5]])
        try await client.close()
        try await server.stop()
    }

    @Test
    func `A lost connection ends calls as unavailable, and the server's handlers`() async throws {
        let server = try await EchoServer.start()
        let client = try await EchoClient.connect(server.port)
        let channel = client.channel
        let outcome = try await client.call("Each") { call, recorder in
            recorder.onMessage = { _ in channel.close(promise: nil) }
            call.send(maxByteCount: 1) { $0.writeInteger(UInt8(1)) }
        }
        #expect(outcome.status.code == .unavailable)
        try await eventually { server.log.ends.withLockedValue { $0 } == [.connectionLost] }
        try await eventually { server.options.counters.openConnectionCount == 0 }
        #expect(server.options.counters.openCallCount == 0)
        #expect(server.options.budget.heldByteCount == 0)
        try await server.stop()
    }

    @Test
    func `A draining server ends its calls, tells the client and closes`() async throws {
        let server = try await EchoServer.start()
        let client = try await EchoClient.connect(server.port)
        let outcome = try await client.call("Each") { call, recorder in
            recorder.onMessage = { _ in server.drain() }
            call.send(maxByteCount: 1) { $0.writeInteger(UInt8(1)) }
        }
        #expect(outcome.status.code == .unavailable)
        #expect(outcome.status.message == "the server is going away")
        try await client.channel.closeFuture.get()
        await #expect(throws: RPCStatus.self) { try await client.unary("Each") }
        try await eventually { server.options.counters.openConnectionCount == 0 }
        try await server.stop()
    }

    @Test
    func `More calls than the server takes at once wait for their turn`() async throws {
        let server = try await EchoServer.start { $0.limits.maxConcurrentStreams = 3 }
        let client = try await EchoClient.connect(server.port)
        let answers = try await withThrowingTaskGroup(of: [UInt8].self) { group in
            for number in 0..<50 {
                group.addTask {
                    try await client.unary("Each", [UInt8(number)]).messages.first ?? []
                }
            }
            return try await group.reduce(into: Set<[UInt8]>()) { $0.insert($1) }
        }
        #expect(answers.count == 50)
        try await client.close()
        try await server.stop()
    }

    @Test
    func `An exhausted budget stops a connection until credit comes back`() async throws {
        let server = try await EchoServer.start {
            $0.budget = ReceiveBudget(limitByteCount: 1 << 20)
            $0.limits.connectionWindowByteCount = 128 * 1024
        }
        let client = try await EchoClient.connect(server.port)
        let held = Task {
            // Long enough for a busy machine to fill the budget before the call ends.
            try await client.call("Hold", timeout: .seconds(30)) { call, _ in
                for _ in 0..<4096 {
                    call.send(maxByteCount: 1024) { $0.writeRepeatingByte(1, count: 1024) }
                }
            }
        }
        // Beyond the limit lies at most what the windows still let through.
        try await eventually { server.options.budget.heldByteCount >= 1 << 20 }
        try await Task.sleep(for: .milliseconds(100))
        #expect(server.options.budget.heldByteCount <= (1 << 20) + 192 * 1024)
        // Whoever holds little goes on: more than a window's bytes go through.
        let other = try await EchoClient.connect(server.port)
        for _ in 0..<8 {
            let bytes = [UInt8](repeating: 1, count: 50_000)
            #expect(try await other.unary("Each", bytes).messages == [bytes])
        }
        try await other.close()
        #expect(try await held.value.status.code == .deadlineExceeded)
        try await eventually { server.options.budget.heldByteCount == 0 }
        #expect(try await client.unary("Each", [1]).messages == [[1]])
        try await client.close()
        try await server.stop()
    }
}

/// Waits until the condition holds. All tests run at once, so that it may take long.
func eventually(
    _ condition: @Sendable () -> Bool, sourceLocation: SourceLocation = #_sourceLocation
) async throws {
    for _ in 0..<6000 {
        if condition() { return }
        try await Task.sleep(for: .milliseconds(10))
    }
    Issue.record("the condition did not come true in 60 s", sourceLocation: sourceLocation)
}
