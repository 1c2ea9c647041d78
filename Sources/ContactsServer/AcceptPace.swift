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

    /// So much of a second's connections may come at once.
    private static let slack = TimeAmount.milliseconds(10)
    /// One that is closed at once costs a fraction, and lets others behind it come sooner.
    private static let refusedPerServed: Int64 = 4

    private let admission: Admission
    private let interval: TimeAmount
    private let refusedInterval: TimeAmount
    /// When the next one would be due, had they come evenly.
    private var due = NIODeadline.uptimeNanoseconds(0)
    private var laterRead: Scheduled<Void>?

    init(_ admission: Admission, connectionsPerSecond: Int) {
        self.admission = admission
        interval = .nanoseconds(1_000_000_000 / Int64(connectionsPerSecond))
        refusedInterval = .nanoseconds(interval.nanoseconds / Self.refusedPerServed)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let now = context.eventLoop.now
        let channel = unwrapInboundIn(data)
        let mayCome = admission.mayCome(channel.remoteAddress, at: now)
        due = max(due, now) + (mayCome ? interval : refusedInterval)
        if mayCome { context.fireChannelRead(data) } else { channel.close(promise: nil) }
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
