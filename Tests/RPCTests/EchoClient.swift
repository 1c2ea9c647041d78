// In: calls as a test words them. Out: what came back, awaited.
// The calls live on the connection's loop; tests await promises.

import HTTP2
import NIOCore
import NIOPosix
import RPC

/// Collects what a call brings.
final class Recorder: ClientCallHandler {
    struct Outcome: Sendable {
        var messages: [[UInt8]] = []
        var byteCount = 0
        var startedCount = 0
        var status: RPCStatus = .ok
    }

    private let done: EventLoopPromise<Outcome>
    private var outcome = Outcome()
    private let keepsMessages: Bool
    var onMessage: (ClientCall) -> Void = { _ in }
    var onWritable: (ClientCall) -> Void = { _ in }

    init(_ done: EventLoopPromise<Outcome>, keepsMessages: Bool = true) {
        self.done = done
        self.keepsMessages = keepsMessages
    }

    func started(_ call: ClientCall, metadata: Headers) { outcome.startedCount += 1 }

    func messagesAvailable(_ call: ClientCall) {
        while let message = call.nextMessage() {
            outcome.byteCount += message.bytes.readableBytes
            if keepsMessages { outcome.messages.append(Array(message.bytes.readableBytesView)) }
            call.returnCredit(message.creditByteCount)
            onMessage(call)
        }
    }

    func writable(_ call: ClientCall) { onWritable(call) }

    func ended(_ call: ClientCall, _ status: RPCStatus) {
        outcome.status = status
        done.succeed(outcome)
    }
}

/// A connection of our own client to an `EchoServer`.
struct EchoClient {
    let channel: any Channel
    let connection: NIOLoopBound<ClientConnection>

    static func connect(
        _ port: Int, options: ClientOptions = ClientOptions()
    ) async throws -> EchoClient {
        let bootstrap = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        return try await bootstrap.connect(host: "127.0.0.1", port: port) { channel in
            channel.eventLoop.makeCompletedFuture {
                let connection = try ClientConnection.install(
                    on: channel, authority: "localhost", options: options)
                return EchoClient(
                    channel: channel,
                    connection: NIOLoopBound(connection, eventLoop: channel.eventLoop))
            }
        }
    }

    /// Starts a call on the loop and lets `body` use it there; awaits its end.
    func call(
        _ method: String, timeout: TimeAmount? = nil, metadata: Headers = Headers(),
        keepsMessages: Bool = true,
        _ body: @escaping @Sendable (ClientCall, Recorder) -> Void
    ) async throws -> Recorder.Outcome {
        let done = channel.eventLoop.makePromise(of: Recorder.Outcome.self)
        channel.eventLoop.execute {
            let recorder = Recorder(done, keepsMessages: keepsMessages)
            do {
                let call = try connection.value.start(
                    "/test.Echo/" + method, metadata: metadata, timeout: timeout,
                    handler: recorder)
                body(call, recorder)
            } catch {
                done.fail(error)
            }
        }
        return try await done.futureResult.get()
    }

    /// One message and the end.
    func unary(
        _ method: String, _ message: [UInt8] = [], timeout: TimeAmount? = nil
    ) async throws -> Recorder.Outcome {
        try await call(method, timeout: timeout) { call, _ in
            call.send(maxByteCount: message.count) { $0.writeBytes(message) }
            call.halfClose()
        }
    }

    func close() async throws { try await channel.close() }
}
