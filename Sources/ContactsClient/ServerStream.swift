// The answers of one call that sends no end of messages: an export, or a watch of events.
//
// In: response messages, on the event loop. Out: batches, to one task. Messages wait as bytes and
// are decoded by the task that reads; what it has not taken, the server may not send again, so that
// memory is bounded by the call's window.

internal import Contacts
internal import DequeModule
internal import HTTP2
internal import NIOCore
internal import RPC

/// Batches of a server's stream, as an asynchronous sequence.
///
/// The call begins with the first `next()`; each iteration is a call of its own. It is cancelled
/// when its task is cancelled and when the iteration ends early. A batch that nobody has taken
/// stays with the server once a few are here.
public struct ServerStream<Batch: Sendable>: AsyncSequence, Sendable {
    let begin: @Sendable () async throws -> StreamReading<Batch>

    /// Makes the iterator.
    public func makeAsyncIterator() -> Iterator { Iterator(begin: begin) }

    /// Gives one batch after another.
    public struct Iterator: AsyncIteratorProtocol {
        let begin: @Sendable () async throws -> StreamReading<Batch>
        /// The call; when the iterator goes, it goes and is cancelled.
        private var reading: StreamReading<Batch>?

        init(begin: @escaping @Sendable () async throws -> StreamReading<Batch>) {
            self.begin = begin
        }

        /// The next batch; `nil` once the call has ended with OK.
        ///
        /// - Throws: `ClientError` when the call ended with an error.
        public mutating func next() async throws -> Batch? {
            if let reading { return try await reading.next() }
            let reading = try await begin()
            self.reading = reading
            return try await reading.next()
        }
    }
}

/// One call, as the task that reads it sees it.
final class StreamReading<Batch: Sendable>: Sendable {
    typealias Decode =
        @Sendable (ResponseDecoder, UnsafeRawBufferPointer) throws(DecodeError) -> Batch

    private let state: StreamState
    private let exchange: NIOLoopBound<StreamExchange>
    private let eventLoop: any EventLoop
    private let decode: Decode

    init(
        state: StreamState, exchange: StreamExchange, eventLoop: any EventLoop,
        decode: @escaping Decode
    ) {
        self.state = state
        self.exchange = NIOLoopBound(exchange, eventLoop: eventLoop)
        self.eventLoop = eventLoop
        self.decode = decode
    }

    deinit {
        let exchange = exchange
        eventLoop.execute { exchange.value.cancel() }
    }

    func next() async throws -> Batch? {
        let exchange = exchange
        let eventLoop = eventLoop
        let message = try await withTaskCancellationHandler {
            if Task.isCancelled { throw ClientError.cancelledByCaller }
            return try await state.wait { fields -> Result<WaitingMessage?, ClientError>? in
                if let message = fields.messages.popFirst() { return .success(message) }
                return fields.end.map { $0.map { .failure($0) } ?? .success(nil) }
            }.get()
        } onCancel: {
            eventLoop.execute { exchange.value.cancel() }
        }
        guard let message else { return nil }
        eventLoop.execute { exchange.value.taken(message.creditByteCount) }
        do {
            // An arena is a few hundred kilobytes of memory that is not touched until it is used.
            let decoder = ResponseDecoder()
            return try message.bytes.withUnsafeBytes { try decode(decoder, $0) }
        } catch {
            eventLoop.execute { exchange.value.cancel() }
            throw ClientError.malformed
        }
    }
}

/// A message that no task has taken.
struct WaitingMessage: Sendable {
    /// A copy: a slice would hold on to the whole buffer that it came in.
    var bytes: [UInt8]
    var creditByteCount: Int
}

struct StreamFields: Sendable {
    /// At most a window of them, for their credit is out.
    var messages: Deque<WaitingMessage> = []
    /// How the call ended; `.some(nil)` is OK.
    var end: ClientError??
}

typealias StreamState = SharedState<StreamFields>

/// One call on the event loop.
final class StreamExchange: ClientCallHandler {
    let state = StreamState(StreamFields())
    private var call: ClientCall?

    /// Sends the request.
    func begin(_ call: ClientCall, _ message: [UInt8]) {
        self.call = call
        call.send(maxByteCount: message.count) { $0.writeBytes(message) }
        call.halfClose()
    }

    /// A task has taken messages of so many bytes.
    func taken(_ byteCount: Int) { call?.returnCredit(byteCount) }

    func cancel() { call?.cancel() }

    func started(_ call: ClientCall, metadata: Headers) {}

    func messagesAvailable(_ call: ClientCall) {
        while let message = call.nextMessage() {
            let waiting = WaitingMessage(
                bytes: Array(message.bytes.readableBytesView),
                creditByteCount: message.creditByteCount)
            state.change { $0.messages.append(waiting) }
        }
    }

    func writable(_ call: ClientCall) {}

    func ended(_ call: ClientCall, _ status: RPCStatus) {
        self.call = nil
        state.change { $0.end = .some(status.code == .ok ? nil : ClientError(status)) }
    }
}
