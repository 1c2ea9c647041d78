// In: calls of `/test.Echo/...`. Out: the messages they sent, in the ways their methods name.
// A service for the tests of both sides; bound to the loop of each call.

import HTTP2
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import RPC

/// What a test can see of the handlers' ends.
final class EchoLog: Sendable {
    let ends = NIOLockedValueBox<[CallEnd]>([])
    let mostUnsentByteCount = NIOLockedValueBox(0)
}

/// `/test.Echo/Each` answers each message with itself; `Count` answers the number of messages and
/// bytes at the end; `Fail` answers a status at once; `Flood` sends 64 KiB messages for ever;
/// `Silent` and `Anybody` never answer, the latter needs no key; `Hold` pulls messages and never returns their credit.
struct EchoRouter: CallRouter {
    let log: EchoLog

    func handler(for head: RequestHead, call: ServerCall) -> (any CallHandler)? {
        let name = head.path.hasPrefix("/test.Echo/") ? head.path.dropFirst(11) : ""
        switch name {
        case "Each", "Count", "Flood", "Silent", "Hold":
            return EchoHandler(String(name), log)
        case "Anybody":
            call.answerAnybody()
            return EchoHandler("Silent", log)
        case "Fail":
            call.finish(
                RPCStatus(
                    .failedPrecondition, "no: 100 % \u{fc}ber\n", details: [1, 2, 255],
                    metadata: .init([("retry-after", "5")])))
            return nil
        default: return nil
        }
    }
}

final class EchoHandler: CallHandler {
    private let method: String
    private let log: EchoLog
    private var messageCount = 0
    private var byteCount = 0
    static let unsentLimit = 256 * 1024

    init(_ method: String, _ log: EchoLog) {
        self.method = method
        self.log = log
    }

    func messagesAvailable(_ call: ServerCall) {
        switch method {
        case "Flood": flood(call)
        case "Silent": return
        case "Hold": while call.nextMessage() != nil {}
        default: echo(call)
        }
    }

    private func echo(_ call: ServerCall) {
        while call.unsentByteCount < Self.unsentLimit, let message = call.nextMessage() {
            messageCount += 1
            byteCount += message.bytes.readableBytes
            if method == "Each" {
                call.send(maxByteCount: message.bytes.readableBytes) {
                    $0.writeImmutableBuffer(message.bytes)
                }
            }
            call.returnCredit(message.creditByteCount)
        }
        log.mostUnsentByteCount.withLockedValue { $0 = max($0, call.unsentByteCount) }
        guard call.isRequestComplete else { return }
        if method == "Count" {
            call.send(maxByteCount: 40) { $0.writeString("\(messageCount) \(byteCount)") }
        }
        call.finish(.ok)
    }

    private func flood(_ call: ServerCall) {
        while call.nextMessage() != nil {}
        while !call.isFinished, call.unsentByteCount < Self.unsentLimit {
            call.send(maxByteCount: 65536) { $0.writeRepeatingByte(7, count: 65536) }
        }
        log.mostUnsentByteCount.withLockedValue { $0 = max($0, call.unsentByteCount) }
    }

    func writable(_ call: ServerCall) { messagesAvailable(call) }

    func ended(_ call: ServerCall, by cause: CallEnd) {
        log.ends.withLockedValue { $0.append(cause) }
    }

    func draining(_ call: ServerCall) {
        call.finish(RPCStatus(.unavailable, "the server is going away"))
    }
}

/// An echo server on an ephemeral port of the loopback.
struct EchoServer {
    let channel: any Channel
    let log: EchoLog
    let options: ServerOptions
    let children: Children

    final class Children: Sendable { let channels = NIOLockedValueBox<[any Channel]>([]) }

    static let group = MultiThreadedEventLoopGroup.singleton

    var port: Int { channel.localAddress?.port ?? 0 }

    static func start(
        _ change: (inout ServerOptions) -> Void = { _ in }
    ) async throws -> EchoServer {
        let log = EchoLog()
        var options = ServerOptions(budget: ReceiveBudget(limitByteCount: 64 << 20))
        change(&options)
        let children = Children()
        let channel = try await ServerBootstrap(group: group)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { [options] child in
                child.eventLoop.makeCompletedFuture {
                    children.channels.withLockedValue { $0.append(child) }
                    try ServerConnection.serve(
                        child, router: EchoRouter(log: log), options: options)
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        return EchoServer(channel: channel, log: log, options: options, children: children)
    }

    func drain() {
        for child in children.channels.withLockedValue({ $0 }) {
            child.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        }
    }

    func stop() async throws {
        try await channel.close()
    }
}
