// In: what to answer to each path. Out: a gRPC server on the loopback that answers just that, and
// what a test can see of it: how much it could send, and how its calls ended.
// Bound to the loop of each call; the log is for any thread.

import HTTP2
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import RPC
import Synchronization

/// What to answer.
enum FakeAnswer: Sendable {
    /// The messages, then the status.
    case messages([[UInt8]], then: RPCStatus = .ok)
    /// The messages again and again, for ever.
    case endless([[UInt8]])
    /// The messages, then nothing.
    case open([[UInt8]])
}

/// What a test can see of the server.
final class FakeLog: Sendable {
    let requests = NIOLockedValueBox<[String: [UInt8]]>([:])
    /// Messages that came.
    let requestCounts = NIOLockedValueBox<[String: Int]>([:])
    let sentMessageCount = Atomic<Int>(0)
    let ends = NIOLockedValueBox<[CallEnd]>([])
}

struct FakeServer {
    let channel: any Channel
    let log: FakeLog

    var port: Int { channel.localAddress?.port ?? 0 }

    static func start(_ answers: [String: FakeAnswer]) async throws -> FakeServer {
        let log = FakeLog()
        let options = ServerOptions(budget: ReceiveBudget(limitByteCount: 64 << 20))
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { child in
                child.eventLoop.makeCompletedFuture {
                    try ServerConnection.serve(
                        child, router: FakeRouter(answers: answers, log: log), options: options)
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        return FakeServer(channel: channel, log: log)
    }
}

private struct FakeRouter: CallRouter {
    let answers: [String: FakeAnswer]
    let log: FakeLog

    func handler(for head: RequestHead, call: ServerCall) -> (any CallHandler)? {
        answers[head.path].map { FakeHandler(head.path, $0, log) }
    }
}

private final class FakeHandler: CallHandler {
    private static let unsentLimit = 256 * 1024

    private let path: String
    private let answer: FakeAnswer
    private let log: FakeLog
    private var next = 0
    private var isDone = false

    init(_ path: String, _ answer: FakeAnswer, _ log: FakeLog) {
        self.path = path
        self.answer = answer
        self.log = log
    }

    func messagesAvailable(_ call: ServerCall) {
        while let message = call.nextMessage() {
            let bytes = Array(message.bytes.readableBytesView)
            log.requests.withLockedValue { $0[path] = bytes }
            log.requestCounts.withLockedValue { $0[path, default: 0] += 1 }
            call.returnCredit(message.creditByteCount)
        }
        if call.isRequestComplete { send(call) }
    }

    private func send(_ call: ServerCall) {
        let (messages, isEndless) =
            switch answer {
            case .messages(let messages, _), .open(let messages): (messages, false)
            case .endless(let messages): (messages, true)
            }
        while !call.isFinished, !isDone, call.unsentByteCount < Self.unsentLimit {
            guard next < messages.count || isEndless else {
                isDone = true
                if case .messages(_, let status) = answer { call.finish(status) }
                return
            }
            let bytes = messages[next % messages.count]
            call.send(maxByteCount: bytes.count) { $0.writeBytes(bytes) }
            log.sentMessageCount.wrappingAdd(1, ordering: .relaxed)
            next += 1
        }
    }

    func writable(_ call: ServerCall) { send(call) }

    func ended(_ call: ServerCall, by cause: CallEnd) {
        log.ends.withLockedValue { $0.append(cause) }
    }

    func draining(_ call: ServerCall) {}
}
