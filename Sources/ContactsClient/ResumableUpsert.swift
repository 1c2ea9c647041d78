// A bulk upsert that outlives its connections: contacts in, results out, once each.
//
// In: contacts, from any task. Out: results in batches, as they come. Any thread; the calls are made
// by `ResumeDriver`.

public import Contacts

extension ContactsClient {
    /// Begins a bulk upsert that goes on by itself when its connection breaks or the server goes
    /// away: it connects again and sends again what has no result. It has a connection of its own.
    ///
    /// An import without an id gets one. A dry run is not recorded by the server, so it ends with
    /// its first connection.
    ///
    /// - Parameters:
    ///   - firstSequence: The number of the first contact that will be sent: over 1 to go on with
    ///     an import whose results up to the one before are known.
    ///   - retry: How long it tries again.
    public static func resumableUpsert(
        _ configuration: Configuration, _ options: UpsertOptions = UpsertOptions(),
        firstSequence: UInt64 = 1, retry: RetryPolicy = RetryPolicy()
    ) -> ResumableUpsert {
        ResumableUpsert(configuration, options, firstSequence: firstSequence, retry: retry)
    }
}

/// A bulk upsert that goes on after its connection broke.
///
/// It holds what it has sent until the results have come: as many contacts as the server leaves
/// without a result, at most 16 MiB. Results of contacts that an earlier connection had brought to
/// the server, but whose results it did not bring back, say `replayed`.
///
/// Send and read at the same time: the server takes no more contacts when nobody reads its results,
/// so a task that first sends everything and then reads waits for ever once the window is full.
public final class ResumableUpsert: Sendable {
    /// The import's id, as chosen by the caller or here; empty for a dry run without one.
    public let importID: String

    private let state: ResumeState
    private let driver: Task<Void, Never>

    init(
        _ configuration: ContactsClient.Configuration, _ options: UpsertOptions,
        firstSequence: UInt64, retry: RetryPolicy
    ) {
        var options = options
        let state = ResumeState(
            ResumeFields(firstSequence: max(1, firstSequence), results: options.results))
        options.results = .all
        if options.importID.isEmpty, !options.validateOnly { options.importID = Self.newID() }
        let driver = ResumeDriver(
            state: state, configuration: configuration, options: options,
            policy: options.validateOnly ? .never : retry)
        importID = options.importID
        self.state = state
        self.driver = Task { await driver.run() }
    }

    deinit { driver.cancel() }

    /// A UUID of version 4.
    private static func newID() -> String {
        let high = UInt64.random(in: 0 ... .max) & ~0xF000 | 0x4000
        let low = UInt64.random(in: 0 ... .max) >> 2 | 1 << 63
        return ContactID(high: high, low: low).description
    }

    /// What the server understood at the first call: the options and limits in force.
    ///
    /// - Throws: `ClientError` when the server refuses the call, or was not there for too long.
    public func started() async throws -> UpsertStarted {
        try await waiting { fields in
            if let started = fields.started { return .success(started) }
            return fields.end.map { .failure($0 ?? .endedEarly) }
        }
    }

    /// The server's absence, if there is one at present.
    public var outage: Outage? { state.attempt { $0.outage } }

    /// Sends contacts as one message. Suspends while too many have no result.
    ///
    /// - Throws: `ClientError` once the upsert has ended, or after `finish`.
    public func send(_ contacts: [Contact]) async throws {
        var message = RequestEncoder()
        message.append(contacts)
        try await send(message)
    }

    /// Sends contacts that are encoded already, as one message.
    ///
    /// - Throws: `ClientError` once the upsert has ended, or after `finish`.
    public func send(_ message: RequestEncoder) async throws {
        guard message.count > 0 else { return }
        let bytes = message.bytes
        let count = message.count
        if !Task.isCancelled, let put = state.change({ $0.put(bytes, count: count) }) {
            return try put.get()
        }
        try await waiting { $0.put(bytes, count: count) }
        // What one waiter changes the others have to be told of.
        state.change { _ in }
    }

    /// Says that no more contacts come.
    public func finish() {
        state.change { $0.isFinished = true }
    }

    /// Says that a failure from now on is the end, also one that is being waited out.
    public func stopRetrying() {
        let isAway = state.change { fields in
            fields.mayRetry = false
            guard !fields.isCallOpen, fields.end == nil else { return false }
            fields.finish(fields.outage?.error ?? .cancelledByCaller)
            return true
        }
        if isAway { driver.cancel() }
    }

    /// The results, each once, in sequence order, in the batches in which they came. To be read
    /// once.
    public var results: Results { Results(upsert: self) }

    /// The counts of all results, once the upsert has ended.
    ///
    /// - Throws: `ClientError` when it ended with an error and the server gave no summary.
    public func summary() async throws -> UpsertSummary {
        try await waiting { fields in
            guard let end = fields.end else { return nil }
            if let end, !fields.isSummed { return .failure(end) }
            return .success(fields.summary)
        }
    }

    /// Results as an asynchronous sequence of batches.
    public struct Results: AsyncSequence, Sendable {
        let upsert: ResumableUpsert

        /// Makes the iterator.
        public func makeAsyncIterator() -> Iterator { Iterator(upsert: upsert) }

        /// Gives one batch after another.
        public struct Iterator: AsyncIteratorProtocol {
            let upsert: ResumableUpsert

            /// The next batch; `nil` once all is answered.
            ///
            /// - Throws: `ClientError` when the upsert ended with an error.
            public func next() async throws -> [ContactResult]? { try await upsert.nextBatch() }
        }
    }

    private func nextBatch() async throws -> [ContactResult]? {
        if !Task.isCancelled, let taken = state.change({ $0.take() }) { return try taken.get() }
        let batch = try await waiting { $0.take() }
        state.change { _ in }
        return batch
    }

    /// Waits for something; a task that is cancelled meanwhile ends the upsert.
    private func waiting<Value: Sendable>(
        _ attempt: @escaping @Sendable (inout ResumeFields) -> Result<Value, ClientError>?
    ) async throws -> Value {
        try await withTaskCancellationHandler {
            if Task.isCancelled { throw ClientError.cancelledByCaller }
            return try await state.wait(attempt).get()
        } onCancel: {
            state.change { $0.finish(.cancelledByCaller) }
            driver.cancel()
        }
    }
}
