// Liveness, readiness and what is open over HTTP/1.1, for those who ask without gRPC.
//
// In: GET /livez, /readyz, /status. Out: 200, or 503 with a word why. Event loop threads; nothing is
// read of a request but its first line, and a connection serves one.

internal import Ingest
internal import NIOCore
internal import NIOHTTP1
internal import NIOPosix

package final class AdminServer: Sendable {
    /// A probe asks and reads at once or not at all.
    private static let timeLimit = TimeAmount.seconds(10)

    private let listener: any Channel

    /// Starts to listen.
    ///
    /// - Throws: `IOError` when the address cannot be bound.
    package init(host: String, port: Int, server: ContactsServer) throws {
        let status = server.status
        listener = try ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    channel.eventLoop.scheduleTask(in: Self.timeLimit) {
                        channel.close(promise: nil)
                    }
                    try pipeline.configureHTTPServerPipeline(withErrorHandling: true)
                    try pipeline.addHandler(AdminHandler(status))
                }
            }
            .bind(host: host, port: port).wait()
    }

    /// Where it listens; the port is the real one when 0 was asked for.
    package var port: Int { listener.localAddress?.port ?? 0 }

    package func stop() {
        try? listener.close().wait()
    }
}

private final class AdminHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let status: ServerStatus
    private var answer = Answer(.badRequest, "")

    private struct Answer {
        let status: HTTPResponseStatus
        let text: String
        let type: String

        init(_ status: HTTPResponseStatus, _ text: String, type: String = "text/plain") {
            self.status = status
            self.text = text
            self.type = type
        }
    }

    init(_ status: ServerStatus) {
        self.status = status
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): answer = answer(to: head)
        case .body: break
        case .end: send(context)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    private func answer(to head: HTTPRequestHead) -> Answer {
        guard head.method == .GET || head.method == .HEAD else {
            return Answer(.methodNotAllowed, "GET it\n")
        }
        switch head.uri.prefix(while: { $0 != "?" }) {
        case "/livez": return Answer(.ok, "ok\n")
        case "/readyz":
            return status.engine.canCommit
                ? Answer(.ok, "ok\n")
                : Answer(.serviceUnavailable, "the database takes no contacts\n")
        case "/status": return Answer(.ok, status.json, type: "application/json")
        default: return Answer(.notFound, "there are /livez, /readyz and /status\n")
        }
    }

    private func send(_ context: ChannelHandlerContext) {
        let text = answer.text
        var headers = HTTPHeaders()
        headers.add(name: "content-type", value: answer.type + "; charset=utf-8")
        headers.add(name: "content-length", value: String(text.utf8.count))
        headers.add(name: "connection", value: "close")
        let head = HTTPResponseHead(
            version: .http1_1, status: answer.status, headers: headers)
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(
            wrapOutboundOut(.body(.byteBuffer(context.channel.allocator.buffer(string: text)))),
            promise: nil)
        let written = context.eventLoop.makePromise(of: Void.self)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: written)
        written.futureResult.assumeIsolated().whenComplete { _ in context.close(promise: nil) }
    }
}
