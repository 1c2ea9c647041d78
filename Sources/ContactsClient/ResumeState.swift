// What a resumable upsert knows across its calls: the messages without all their results, the
// results that nobody has read, and whether the server is there.
//
// In: messages of the caller's tasks; the starts, results and ends of one call after another. Out:
// what to send next, results once each and in order. Guarded by the lock of `SharedState`.

internal import Contacts
internal import DequeModule
internal import RPC

struct ResumeFields: Sendable {
    /// More messages wait for results than this only when one alone is larger.
    private static let unansweredByteLimit = 16 * 1024 * 1024
    /// Before the server has told its own limit.
    private static let unansweredContactLimit = 60_000
    /// No more results are taken from the call over this; they stay with the server.
    private static let resultLimit = 8192

    /// Contacts as they were encoded.
    struct Message: Sendable {
        var bytes: [UInt8]
        /// The number of its first contact.
        var first: UInt64
        var count: Int

        var last: UInt64 { first + UInt64(count) - 1 }
    }

    /// What a call sends next.
    enum Step: Sendable {
        case message([UInt8])
        case finish
        /// The call is over.
        case stop
    }

    /// As the first call had it.
    var started: UpsertStarted?
    /// How it all ended; `.some(nil)` is OK.
    var end: ClientError??
    /// No more contacts may be sent.
    var isFinished = false
    /// The server gave its own summary, so that ours can be told although the end is an error.
    var isSummed = false
    /// What came back, over all calls.
    private(set) var summary = UpsertSummary()
    private(set) var outage: Outage?
    var mayRetry = true
    /// A call has started and not ended.
    private(set) var isCallOpen = false

    private let results: ResultMode
    /// Those that have no result, or not all.
    private var messages: Deque<Message> = []
    private var unansweredByteCount = 0
    /// The place in `messages` of what the call sends next.
    private var position = 0
    /// The next message is the call's first, and says its number.
    private var needsNumber = true
    /// Of the next contact that is sent for the first time.
    private var nextSequence: UInt64
    /// The number of the last contact that has a result.
    private var lastResult: UInt64
    private var failureCount = 0

    private var batches: Deque<[ContactResult]> = []
    /// In the batches.
    private var resultCount = 0

    /// - Parameter firstSequence: The number of the first contact that will be sent.
    init(firstSequence: UInt64, results: ResultMode) {
        nextSequence = firstSequence
        lastResult = firstSequence - 1
        self.results = results
    }

    // Messages: put by tasks, fetched by the call.

    /// Takes a message, if there is room.
    mutating func put(_ bytes: [UInt8], count: Int) -> Result<Void, ClientError>? {
        if let end { return .failure(end ?? .sentAfterFinish) }
        if isFinished { return .failure(.sentAfterFinish) }
        guard hasRoom(for: bytes.count, count) else { return nil }
        messages.append(Message(bytes: bytes, first: nextSequence, count: count))
        nextSequence += UInt64(count)
        unansweredByteCount += bytes.count
        return .success(())
    }

    private func hasRoom(for byteCount: Int, _ count: Int) -> Bool {
        let limit =
            started.map { Int(clamping: $0.limits.maxUnacknowledgedContacts) }
            ?? Self.unansweredContactLimit
        return messages.isEmpty
            || unansweredByteCount + byteCount <= Self.unansweredByteLimit
                && unansweredContactCount + count <= limit
    }

    private var unansweredContactCount: Int { Int(nextSequence - 1 - lastResult) }

    /// What the call sends next; nil while there is nothing.
    mutating func nextStep() -> Step? {
        guard isCallOpen else { return .stop }
        guard position < messages.count else { return isFinished ? .finish : nil }
        let message = messages[position]
        position += 1
        guard needsNumber else { return .message(message.bytes) }
        needsNumber = false
        return .message(RequestEncoder.numbered(message.bytes, message.first))
    }

    // Calls.

    /// A call has started: all without a result is to be sent, from the first.
    mutating func begin(_ started: UpsertStarted) -> ClientError? {
        guard started.committedThrough >= lastResult else {
            return .forgotten(started, lastResult)
        }
        if self.started == nil { self.started = started }
        if messages.isEmpty { outage = nil }
        cutAnswered()
        isCallOpen = true
        position = 0
        needsNumber = true
        return nil
    }

    /// Drops the answered contacts of a message that was answered in part.
    private mutating func cutAnswered() {
        guard let message = messages.first, message.first <= lastResult else { return }
        let answered = Int(lastResult + 1 - message.first)
        let rest = Message(
            bytes: RequestEncoder.dropping(answered, of: message.bytes), first: lastResult + 1,
            count: message.count - answered)
        unansweredByteCount -= message.bytes.count - rest.bytes.count
        messages[0] = rest
    }

    mutating func endCall() { isCallOpen = false }

    /// Notes that a call, or the connection to it, has failed.
    ///
    /// - Returns: How long to wait before the next one; nil: there shall be none.
    mutating func retryDelay(_ error: ClientError, _ policy: RetryPolicy) -> Duration? {
        guard error.isPassing, mayRetry else { return nil }
        let now = ContinuousClock.now
        let outage = Outage(since: outage?.since ?? now, error: error)
        let rest = policy.patience - (now - outage.since)
        guard rest > .zero else { return nil }
        self.outage = outage
        failureCount += 1
        return min(rest, error.retryDelay ?? policy.delay(afterFailures: failureCount))
    }

    // Results: added by the call, taken by a task.

    var hasRoomForResults: Bool { resultCount < Self.resultLimit }

    /// Adds what one read has brought; false when these are not the results that are next.
    mutating func add(_ batch: [ContactResult]) -> Bool {
        guard let last = batch.last else { return true }
        guard batch[0].sequence == lastResult + 1,
            last.sequence == lastResult + UInt64(batch.count), last.sequence < nextSequence
        else { return false }
        lastResult = last.sequence
        outage = nil
        failureCount = 0
        for result in batch { summary.count(result) }
        while let message = messages.first, message.last <= lastResult {
            unansweredByteCount -= message.bytes.count
            messages.removeFirst()
            position = max(0, position - 1)
        }
        let wanted = wanted(batch)
        if !wanted.isEmpty { batches.append(wanted) }
        resultCount += wanted.count
        return true
    }

    /// The server is always asked for all results: they tell what need not be sent again.
    private func wanted(_ batch: [ContactResult]) -> [ContactResult] {
        switch results {
        case .all: batch
        case .failures: batch.filter { $0.status == .failed }
        case .summary: []
        }
    }

    /// Gives a batch, or how it all ended.
    mutating func take() -> Result<[ContactResult]?, ClientError>? {
        guard let batch = batches.popFirst() else {
            return end.map { $0.map { .failure($0) } ?? .success(nil) }
        }
        resultCount -= batch.count
        return .success(batch)
    }

    /// Whether a call that ended with OK was the last.
    var isDone: Bool { isFinished && messages.isEmpty }

    /// Ends it all.
    mutating func finish(_ error: ClientError?) {
        guard end == nil else { return }
        end = .some(error)
        messages = []
    }
}

typealias ResumeState = SharedState<ResumeFields>

extension UpsertSummary {
    fileprivate mutating func count(_ result: ContactResult) {
        total += 1
        committedThrough = result.sequence
        switch result.status {
        case .created: created += 1
        case .updated: updated += 1
        case .unchanged: unchanged += 1
        case .replayed: replayed += 1
        case .failed:
            failed += 1
            failedByReason[result.error?.reasonText ?? "UNKNOWN", default: 0] += 1
        }
    }
}

extension ClientError {
    fileprivate static func forgotten(_ started: UpsertStarted, _ last: UInt64) -> ClientError {
        ClientError(
            RPCStatus(
                .dataLoss,
                "the server knows the import \(started.importID) through contact "
                    + "\(started.committedThrough), but has answered contact \(last) before: "
                    + "it is another server or workspace, or has lost data"))
    }
}
