// One bulk upsert on the event loop: between the call and what the caller's tasks see.
//
// In: encoded messages, response messages. Out: changes of the shared state. Event loop thread.

internal import Contacts
internal import HTTP2
internal import NIOCore
internal import RPC

final class BulkUpsertExchange: ClientCallHandler {
    let state = UpsertState(UpsertFields())
    private let decoder = ResponseDecoder()
    private var call: ClientCall?
    private var sentByteCount = 0

    /// Sends the options at once, so that `started` comes before the first contact.
    func begin(_ call: ClientCall, _ options: UpsertOptions) {
        self.call = call
        var message = RequestEncoder()
        message.setOptions(options)
        state.change { $0.unsentByteCount += message.byteCount }
        send(message.bytes)
    }

    func send(_ bytes: [UInt8]) {
        guard let call else { return }
        call.send(maxByteCount: bytes.count) { $0.writeBytes(bytes) }
        sentByteCount += bytes.count
        settleSent(call)
    }

    /// Tells the caller's side what has left: all that was handed over but what the call holds.
    private func settleSent(_ call: ClientCall) {
        let gone = sentByteCount - call.unsentByteCount
        guard gone > 0 else { return }
        sentByteCount -= gone
        state.change { $0.unsentByteCount -= gone }
    }

    func finish() { call?.halfClose() }

    func cancel() { call?.cancel() }

    /// Takes response messages while there is room for their results.
    func pull() {
        guard let call else { return }
        while state.takesMore, let message = call.nextMessage() {
            receive(message)
            call.returnCredit(message.creditByteCount)
        }
    }

    private func receive(_ message: ReceivedMessage) {
        var results: [ContactResult] = []
        let answer = message.bytes.withUnsafeReadableBytes {
            try? decoder.bulkUpsert($0, appendingTo: &results)
        }
        switch answer {
        case .started(let started): state.change { $0.started = started }
        case .results:
            if !results.isEmpty { state.change { $0.batches.append(results) } }
        case .summary(let summary): state.change { $0.summary = summary }
        case nil: call?.cancel()
        }
    }

    func started(_ call: ClientCall, metadata: Headers) {}

    func messagesAvailable(_ call: ClientCall) { pull() }

    func writable(_ call: ClientCall) { settleSent(call) }

    func ended(_ call: ClientCall, _ status: RPCStatus) {
        self.call = nil
        state.change { fields in
            fields.end = .some(status.code == .ok ? nil : ClientError(status))
        }
    }
}
