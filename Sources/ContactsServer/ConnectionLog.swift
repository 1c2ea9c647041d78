// In: connections and calls that were refused or ended because of their peer. Out: a line each, some of them
// when there are many; reason and address, nothing that the peer has sent. Any thread.

internal import HTTP2
internal import Logging
internal import NIOConcurrencyHelpers
internal import NIOCore
internal import RPC

final class ConnectionLog: Sendable {
    /// A flood of connections or calls must not become a flood of lines.
    static let linesPerPeriod = 20
    static let period = TimeAmount.seconds(10)

    private struct State {
        var begin = NIODeadline.now()
        var lineCount = 0
        var droppedCount = 0
    }

    private let logger: Logger
    private let state = NIOLockedValueBox(State())

    init(_ logger: Logger) { self.logger = logger }

    func ended(_ fault: ConnectionFault, _ address: SocketAddress?, _ detail: String) {
        write("connection ended", fault.rawValue, address?.description ?? "unknown", detail)
    }

    func refused(_ refusal: Refusal, _ address: String) {
        write("connection refused", refusal.rawValue, address, "")
    }

    @Sendable func refusedCall(_ refusal: Refusal, _ address: String) {
        write("call refused", refusal.rawValue, address, "")
    }

    private func write(
        _ what: Logger.Message, _ reason: String, _ address: String, _ detail: String
    ) {
        guard let droppedCount = admitLine() else { return }
        var metadata: Logger.Metadata = ["reason": "\(reason)", "peer": "\(address)"]
        if !detail.isEmpty { metadata["detail"] = "\(detail)" }
        if droppedCount > 0 { metadata["lines_left_out"] = "\(droppedCount)" }
        logger.info(what, metadata: metadata)
    }

    /// How many lines were left out before this one; nil: this one is too.
    private func admitLine() -> Int? {
        state.withLockedValue { state in
            let now = NIODeadline.now()
            if now - state.begin >= Self.period {
                state.begin = now
                state.lineCount = 0
            }
            guard state.lineCount < Self.linesPerPeriod else {
                state.droppedCount += 1
                return nil
            }
            state.lineCount += 1
            defer { state.droppedCount = 0 }
            return state.droppedCount
        }
    }
}
