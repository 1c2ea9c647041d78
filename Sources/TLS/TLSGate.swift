// In: TLS's events, from the handler below. Out: word of the handshake's end, once, and a channel
// that is closed when it fails or takes too long.
// On which thread: the channel's event loop.

internal import NIOCore
internal import NIOSSL
internal import NIOTLS

/// Stands right above NIOSSL's handler. Nothing is read before `whenReady` was called.
///
///   shaking ──(handshake done, ALPN h2)──▶ open
///      └──(error, end of file, too slow, no h2, drain)──▶ failed: told, closed
final class TLSGate: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    enum Side {
        case server
        /// With the name by which the server was asked for; nil: by its address.
        case client(serverName: String?)
    }
    private enum State { case shaking, open, failed }

    private let side: Side
    private let tls: NIOSSLHandler
    private let whenReady: ([String]) throws -> Void
    private let whenFailed: (TLSFailure) -> Void
    private let limit: TimeAmount
    private var state = State.shaking
    private var timeout: Scheduled<Void>?

    static let applicationProtocol = "h2"

    /// - Parameters:
    ///   - whenReady: Is given the names in the other side's certificate, if it was asked for one.
    ///     What it throws closes the channel.
    ///   - whenFailed: On the client also after `whenReady`: in TLS 1.3 its handshake ends before the
    ///     server has looked at its certificate (RFC 8446 section 4.4.2.4).
    init(
        _ side: Side, above tls: NIOSSLHandler, limit: TimeAmount,
        whenReady: @escaping ([String]) throws -> Void,
        whenFailed: @escaping (TLSFailure) -> Void
    ) {
        self.side = side
        self.tls = tls
        self.limit = limit
        self.whenReady = whenReady
        self.whenFailed = whenFailed
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let context = NIOLoopBound(context, eventLoop: context.eventLoop)
        timeout = context.value.eventLoop.assumeIsolated().scheduleTask(in: limit) { [weak self] in
            self?.fail(.tooSlow, context.value)
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) { timeout?.cancel() }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case TLSUserEvent.handshakeCompleted(let negotiated):
            finish(negotiated, context)
        case is ChannelShouldQuiesceEvent where state == .shaking:
            // Nobody's fault, so nobody is told.
            state = .failed
            context.close(promise: nil)
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    private func finish(_ negotiated: String?, _ context: ChannelHandlerContext) {
        guard state == .shaking else { return }
        let certificate = tls.peerCertificate
        if case .client(let name?) = side {
            guard let certificate, PeerIdentities.has(name, certificate) else {
                return fail(.wrongName, context)
            }
        }
        guard negotiated == Self.applicationProtocol else { return fail(.noHTTP2, context) }
        timeout?.cancel()
        state = .open
        do {
            try whenReady(certificate.map(PeerIdentities.of) ?? [])
        } catch {
            context.close(promise: nil)
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if state == .open { context.fireChannelRead(data) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if state == .shaking { return fail(TLSFailure(error), context) }
        if state == .open, case .client = side { whenFailed(TLSFailure(error)) }
        context.fireErrorCaught(error)
    }

    func channelInactive(context: ChannelHandlerContext) {
        if state == .shaking { fail(.closed, context) }
        context.fireChannelInactive()
    }

    private func fail(_ failure: TLSFailure, _ context: ChannelHandlerContext) {
        guard state == .shaking else { return }
        state = .failed
        timeout?.cancel()
        whenFailed(failure)
        context.close(promise: nil)
    }
}
