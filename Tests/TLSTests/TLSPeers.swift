// In: certificates. Out: a server that answers each call with the names of its caller, and a client
// that asks it; on real sockets of the loopback.

import HTTP2
import Logging
import NIOCore
import NIOPosix
import RPC
import TLS

/// Tells each caller who it is, in the message of a status.
struct WhoRouter: CallRouter {
    func handler(for head: RequestHead, call: ServerCall) -> (any CallHandler)? {
        call.finish(
            RPCStatus(.failedPrecondition, call.peerIdentities.joined(separator: ",")))
        return nil
    }
}

struct WhoServer {
    let channel: any Channel
    let certificates: ServerCertificates

    var port: Int { channel.localAddress?.port ?? 0 }

    static func start(
        _ files: ServerCertificateFiles, limit: TimeAmount = .seconds(5)
    ) async throws -> WhoServer {
        let certificates = try ServerCertificates(files, logger: Logger(label: "test"))
        let options = ServerOptions(budget: ReceiveBudget(limitByteCount: 64 << 20))
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { child in
                child.eventLoop.makeCompletedFuture {
                    try certificates.serve(child, limit: limit) { identities in
                        try ServerConnection.serve(
                            child, router: WhoRouter(), options: options,
                            peerIdentities: identities)
                    }
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        return WhoServer(channel: channel, certificates: certificates)
    }
}

struct WhoClient {
    let channel: any Channel
    let connection: NIOLoopBound<ClientConnection>
    /// Succeeds with the server's settings.
    let ready: EventLoopFuture<Void>

    static func connect(_ port: Int, _ tls: ClientTLS) async throws -> WhoClient {
        let bootstrap = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        return try await bootstrap.connect(host: "127.0.0.1", port: port) { channel in
            channel.eventLoop.makeCompletedFuture {
                let ready = channel.eventLoop.makePromise(of: Void.self)
                try tls.connect(channel, limit: .seconds(10)) { ready.fail($0) }
                var options = ClientOptions()
                options.scheme = "https"
                let connection = try ClientConnection.install(
                    on: channel, authority: "localhost", options: options
                ) { change in
                    if change == .ready { ready.succeed() }
                }
                channel.closeFuture.whenComplete { _ in ready.fail(ChannelError.eof) }
                return WhoClient(
                    channel: channel,
                    connection: NIOLoopBound(connection, eventLoop: channel.eventLoop),
                    ready: ready.futureResult)
            }
        }
    }

    /// What the server calls us.
    func who() async throws -> String {
        try await ready.get()
        let answer = channel.eventLoop.makePromise(of: String.self)
        let connection = connection
        channel.eventLoop.execute {
            do {
                let call = try connection.value.start("/test.Who/Am", handler: Answer(answer))
                call.halfClose()
            } catch {
                answer.fail(error)
            }
        }
        return try await answer.futureResult.get()
    }

    private final class Answer: ClientCallHandler {
        private let promise: EventLoopPromise<String>

        init(_ promise: EventLoopPromise<String>) { self.promise = promise }

        func started(_ call: ClientCall, metadata: Headers) {}
        func messagesAvailable(_ call: ClientCall) {}
        func writable(_ call: ClientCall) {}
        func ended(_ call: ClientCall, _ status: RPCStatus) {
            if status.code == .failedPrecondition {
                promise.succeed(status.message)
            } else {
                promise.fail(status)
            }
        }
    }
}

/// Reads until the end of file.
final class EndOfFile: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {}
    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}
