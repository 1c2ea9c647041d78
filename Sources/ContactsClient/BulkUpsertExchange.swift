// One bulk upsert on the event loop: between the call and what the caller's tasks see.
//
// In: encoded messages, response messages. Out: changes of the shared state. Event loop thread.

internal import Contacts
internal import HTTP2
internal import NIOCore
internal import RPC

final class BulkUpsertExchange: ClientCallHandler {
    /// An empty buffer larger than this is given back: a large message is followed by small ones.
    private static let keptByteCount = 256 * 1024

    let state = UpsertState(UpsertFields())
    private let decoder = ResponseDecoder()
    private var call: ClientCall?
    /// Empty; its memory is for messages to come.
    private var spare = ByteBuffer()
    /// What a read has brought, until it is handed over.
    private var results: [ContactResult] = []

    /// Sends the options at once, so that `started` comes before the first contact.
    func begin(_ call: ClientCall, _ options: UpsertOptions) {
        self.call = call
        var message = RequestEncoder()
        message.setOptions(options)
        _ = state.attempt { $0.put(message.bytes) }
        fetch()
    }

    /// Sends all that tasks have put down since the last time.
    func fetch() {
        guard let call else { return }
        var messages = spare
        spare = ByteBuffer()
        _ = state.attempt { fields -> Void? in fields.fetch(&messages) }
        call.send(envelopes: &messages)
        messages.clear()
        if messages.capacity <= Self.keptByteCount { spare = messages }
        settle(call)
    }

    /// Tells the caller's side what is still to be sent.
    private func settle(_ call: ClientCall) {
        state.change { $0.unsentByteCount = call.unsentByteCount }
    }

    func finish() {
        fetch()
        call?.halfClose()
    }

    func cancel() { call?.cancel() }

    /// Takes response messages while there is room for their results.
    func pull() {
        guard let call else { return }
        var creditByteCount = 0
        var room = state.attempt { $0.room } ?? 0
        var hasMore = true
        while hasMore, room > 0 {
            while results.count < room, hasMore {
                guard let message = call.nextMessage() else {
                    hasMore = false
                    break
                }
                receive(message)
                creditByteCount += message.creditByteCount
            }
            room = handOver(hasMore: hasMore)
        }
        if creditByteCount > 0 { call.returnCredit(creditByteCount) }
    }

    /// - Returns: The room for more.
    private func handOver(hasMore: Bool) -> Int {
        let results = results
        self.results = []
        return state.change { fields in
            fields.add(results, hasMore: hasMore)
            return fields.room
        }
    }

    private func receive(_ message: ReceivedMessage) {
        let answer = message.bytes.withUnsafeReadableBytes {
            try? decoder.bulkUpsert($0, appendingTo: &results)
        }
        switch answer {
        case .results: break
        case .started(let started): state.change { $0.started = started }
        case .summary(let summary): state.change { $0.summary = summary }
        case nil: call?.cancel()
        }
    }

    func started(_ call: ClientCall, metadata: Headers) {}

    func messagesAvailable(_ call: ClientCall) { pull() }

    func writable(_ call: ClientCall) { settle(call) }

    func ended(_ call: ClientCall, _ status: RPCStatus) {
        self.call = nil
        spare = ByteBuffer()
        // The results before the end: it may be told of in the middle of a read.
        _ = handOver(hasMore: false)
        state.change { fields in
            fields.dropMessages()
            fields.end = .some(status.code == .ok ? nil : ClientError(status))
        }
    }
}
