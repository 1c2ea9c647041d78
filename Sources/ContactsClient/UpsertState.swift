// What the event loop and the caller's tasks share of one bulk upsert: its values and its bounds.
//
// Tasks and loop meet as rarely as they can: messages are collected in one buffer until the loop
// comes for them, results of one read are one batch, and the loop is called only when it would not
// come by itself.

internal import Contacts
internal import DequeModule
internal import HTTP2
internal import NIOCore
internal import RPC

struct UpsertFields: Sendable {
    /// Sending suspends over this. It is where the connection calls for more, so lower it would wait
    /// for a call that does not come, and higher contacts would only grow older here.
    private static let unsentByteLimit = ConnectionLimits().outboundLowWaterByteCount
    /// No more results are taken over this; they stay with the server.
    private static let resultLimit = 8192

    var started: UpsertStarted?
    var summary: UpsertSummary?
    /// How the call ended; `.some(nil)` is OK.
    var end: ClientError??
    /// No more contacts may be sent.
    var isFinished = false

    /// Messages with their prefixes that the loop has not fetched.
    private var outbox = ByteBuffer()
    /// The loop was asked to fetch them.
    private var isFetchExpected = false
    /// Bytes that the loop has fetched and the connection has not taken.
    var unsentByteCount = 0

    private var batches: Deque<[ContactResult]> = []
    /// In the batches.
    private var resultCount = 0
    /// Response messages may wait for room.
    private var isHeldBack = false

    // Messages: put by tasks, fetched by the loop.

    /// Takes a message, if there is room, and says whether the loop must be asked to fetch it.
    mutating func put(_ message: [UInt8]) -> Result<Bool, ClientError>? {
        if let end { return .failure(end ?? .endedEarly) }
        if isFinished { return .failure(.sentAfterFinish) }
        guard outbox.readableBytes + unsentByteCount <= Self.unsentByteLimit else { return nil }
        Envelope.write(into: &outbox) { $0.writeBytes(message) }
        defer { isFetchExpected = true }
        return .success(!isFetchExpected)
    }

    /// Gives the messages in exchange for an empty buffer, whose memory the next ones get.
    mutating func fetch(_ buffer: inout ByteBuffer) {
        swap(&outbox, &buffer)
        isFetchExpected = false
    }

    /// Nothing will be sent any more.
    mutating func dropMessages() { outbox = ByteBuffer() }

    // Results: added by the loop, taken by a task.

    /// How many more are taken; a message whose first result has room is taken as a whole.
    var room: Int { Self.resultLimit - resultCount }

    /// Adds what one read has brought.
    ///
    /// - Parameter hasMore: Whether more is there that had no room; the loop is called when it has.
    mutating func add(_ results: [ContactResult], hasMore: Bool) {
        if !results.isEmpty { batches.append(results) }
        resultCount += results.count
        isHeldBack = hasMore && room <= 0
    }

    /// Gives a batch, or how the call ended, and says whether the loop must be called for more.
    mutating func take() -> Result<(batch: [ContactResult]?, resumes: Bool), ClientError>? {
        guard let batch = batches.popFirst() else {
            return end.map { $0.map { .failure($0) } ?? .success((nil, false)) }
        }
        resultCount -= batch.count
        let resumes = isHeldBack && room >= Self.resultLimit / 2
        if resumes { isHeldBack = false }
        return .success((batch, resumes))
    }
}

typealias UpsertState = SharedState<UpsertFields>

extension ClientError {
    static var sentAfterFinish: ClientError {
        ClientError(RPCStatus(.failedPrecondition, "contacts are sent after finish()"))
    }

    static var endedEarly: ClientError {
        .unavailable("the server ended the call before everything was sent")
    }
}
