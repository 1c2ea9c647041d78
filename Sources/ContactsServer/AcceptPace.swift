// In: the listener's reads, and the connections that they accept. Out: no more connections in a second
// than it may; the others wait in the kernel, where one costs nothing here.
// On which thread: the listener's event loop.

internal import NIOCore

/// Accepting costs some 80 µs, the end of a connection that was one too many included: a flood that is
/// accepted as it comes keeps a processor from everybody else, however soon it is closed.
final class AcceptPace: ChannelDuplexHandler {
    typealias InboundIn = any Channel
    typealias InboundOut = any Channel
    typealias OutboundIn = any Channel

    /// So many may come at once.
    private static let slack = TimeAmount.milliseconds(10)

    private let interval: TimeAmount
    /// When the next one would be due, had they come evenly.
    private var due = NIODeadline.uptimeNanoseconds(0)
    private var laterRead: Scheduled<Void>?

    init(connectionsPerSecond: Int) {
        interval = .nanoseconds(1_000_000_000 / Int64(connectionsPerSecond))
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        due = max(due, context.eventLoop.now) + interval
        context.fireChannelRead(data)
    }

    func read(context: ChannelHandlerContext) {
        guard laterRead == nil else { return }
        let time = due - Self.slack
        if time <= context.eventLoop.now { return context.read() }
        laterRead = context.eventLoop.assumeIsolated().scheduleTask(deadline: time) {
            self.laterRead = nil
            context.read()
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        laterRead?.cancel()
        laterRead = nil
    }
}
