// What the event loop and the caller's tasks share of one bulk upsert: its values and its bounds.

internal import Contacts
internal import DequeModule

struct UpsertFields: Sendable {
    var started: UpsertStarted?
    var batches: Deque<[ContactResult]> = []
    var summary: UpsertSummary?
    /// How the call ended; `.some(nil)` is OK.
    var end: ClientError??
    /// No more contacts may be sent.
    var isFinished = false
    /// Bytes that the caller has sent and the connection has not.
    var unsentByteCount = 0
}

typealias UpsertState = SharedState<UpsertFields>

extension SharedState where Fields == UpsertFields {
    /// Sending suspends over this: a few messages ahead of the connection keep it busy.
    static var unsentByteLimit: Int { 64 * 1024 }
    /// Batches kept for a reader; more stay with the server.
    static var batchLimit: Int { 16 }

    /// Whether there is room for more batches.
    var takesMore: Bool { read { $0.batches.count < Self.batchLimit } }
}
