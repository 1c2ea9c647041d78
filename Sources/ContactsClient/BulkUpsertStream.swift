// One bulk upsert as the caller sees it: contacts in, results out, both with back-pressure.
//
// In: contacts, from any task. Out: results in batches, as they come. Any thread; the call itself
// is in `BulkUpsertExchange`, on the event loop.

public import Contacts
internal import NIOCore
internal import RPC

/// A bulk upsert under way.
///
/// Send and read at the same time: the server takes no more contacts when nobody reads its results,
/// so a task that first sends everything and then reads waits for ever once the window is full.
public final class BulkUpsertStream: Sendable {
    private let state: UpsertState
    private let eventLoop: any EventLoop
    private let exchange: NIOLoopBound<BulkUpsertExchange>

    init(state: UpsertState, exchange: BulkUpsertExchange, eventLoop: any EventLoop) {
        self.state = state
        self.eventLoop = eventLoop
        self.exchange = NIOLoopBound(exchange, eventLoop: eventLoop)
    }

    deinit {
        let exchange = exchange
        eventLoop.execute { exchange.value.cancel() }
    }

    /// What the server understood: the import's id, the options and limits in force.
    ///
    /// - Throws: `ClientError` when the server refuses the call.
    public func started() async throws -> UpsertStarted {
        try await waiting { fields in
            if let started = fields.started { return .success(started) }
            return fields.end.map { .failure($0 ?? .endedEarly) }
        }
    }

    /// Sends contacts as one message. Suspends while the server has not room for more.
    ///
    /// - Throws: `ClientError` once the call has ended, or after `finish`.
    public func send(_ contacts: [Contact]) async throws {
        var message = RequestEncoder()
        message.append(contacts)
        try await send(message)
    }

    /// Sends contacts that are encoded already, as one message.
    ///
    /// - Throws: `ClientError` once the call has ended.
    public func send(_ message: RequestEncoder) async throws {
        try await send(bytes: message.bytes)
    }

    func send(bytes: [UInt8]) async throws {
        // Waiting costs more than all the rest: most messages find room.
        let isAsked =
            if !Task.isCancelled, let put = state.attempt({ $0.put(bytes) }) {
                try put.get()
            } else {
                try await waiting { $0.put(bytes) }
            }
        guard isAsked else { return }
        let exchange = exchange
        eventLoop.execute { exchange.value.fetch() }
    }

    /// Says that no more contacts come. The server answers what it has and ends the call.
    public func finish() {
        state.change { $0.isFinished = true }
        let exchange = exchange
        eventLoop.execute { exchange.value.finish() }
    }

    /// The results, in sequence order, in the batches in which they came. To be read once.
    public var results: Results { Results(stream: self) }

    /// The counts, once the call has ended and all results were read.
    ///
    /// - Throws: `ClientError` when the call ended with an error and without a summary.
    public func summary() async throws -> UpsertSummary {
        try await waiting { fields in
            guard let end = fields.end else { return nil }
            if let summary = fields.summary { return .success(summary) }
            return .failure(end ?? .endedEarly)
        }
    }

    /// Results as an asynchronous sequence of batches. Batches that nobody has read stay with the
    /// server once a few are here.
    public struct Results: AsyncSequence, Sendable {
        let stream: BulkUpsertStream

        /// Makes the iterator.
        public func makeAsyncIterator() -> Iterator { Iterator(stream: stream) }

        /// Gives one batch after another.
        public struct Iterator: AsyncIteratorProtocol {
            let stream: BulkUpsertStream

            /// The next batch; `nil` once the call has ended with OK.
            ///
            /// - Throws: `ClientError` when the call ended with an error.
            public func next() async throws -> [ContactResult]? { try await stream.nextBatch() }
        }
    }

    private func nextBatch() async throws -> [ContactResult]? {
        let (batch, resumes) =
            if !Task.isCancelled, let taken = state.attempt({ $0.take() }) {
                try taken.get()
            } else {
                try await waiting { $0.take() }
            }
        if resumes {
            let exchange = exchange
            eventLoop.execute { exchange.value.pull() }
        }
        return batch
    }

    /// Waits for something; a task that is cancelled meanwhile cancels the call.
    private func waiting<Value: Sendable>(
        _ attempt: @escaping @Sendable (inout UpsertFields) -> Result<Value, ClientError>?
    ) async throws -> Value {
        let exchange = exchange
        return try await withTaskCancellationHandler {
            if Task.isCancelled { throw ClientError.cancelledByCaller }
            return try await state.wait(attempt).get()
        } onCancel: {
            eventLoop.execute { exchange.value.cancel() }
        }
    }
}
