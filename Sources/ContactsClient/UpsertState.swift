// What the event loop and the caller's tasks share of one bulk upsert.
//
// In: changes, from the loop. Out: values that tasks wait for. Any thread; one lock.

internal import Contacts
internal import DequeModule
internal import Synchronization

final class UpsertState: Sendable {
    struct Fields {
        var started: UpsertStarted?
        var batches: Deque<[ContactResult]> = []
        var summary: UpsertSummary?
        /// How the call ended; `.some(nil)` is OK.
        var end: ClientError??
        /// No more contacts may be sent.
        var isFinished = false
        /// Bytes that the caller has sent and the connection has not.
        var unsentByteCount = 0
        /// Tasks that wait: each looks at the fields and, if it has what it needs, gives what
        /// resumes it.
        fileprivate var waiters: [Waiter] = []
    }

    fileprivate typealias Waiter = @Sendable (inout Fields) -> (@Sendable () -> Void)?

    /// Sending suspends over this: a few messages ahead of the connection keep it busy.
    static let unsentByteLimit = 512 * 1024
    /// Batches kept for a reader; more stay with the server.
    static let batchLimit = 16

    private let fields = Mutex(Fields())

    /// Whether there is room for more batches.
    var takesMore: Bool { fields.withLock { $0.batches.count < Self.batchLimit } }

    /// Changes the fields and resumes the tasks that can go on.
    func change(_ body: (inout Fields) -> Void) {
        let resumed = fields.withLock { fields in
            body(&fields)
            return Self.satisfied(&fields)
        }
        for resume in resumed { resume() }
    }

    private static func satisfied(_ fields: inout Fields) -> [@Sendable () -> Void] {
        guard !fields.waiters.isEmpty else { return [] }
        let waiters = fields.waiters
        fields.waiters = []
        var resumed: [@Sendable () -> Void] = []
        for waiter in waiters {
            if let resume = waiter(&fields) {
                resumed.append(resume)
            } else {
                fields.waiters.append(waiter)
            }
        }
        return resumed
    }

    /// Waits until an attempt gives a value. Attempts may change the fields.
    func wait<Value: Sendable>(
        _ attempt: @escaping @Sendable (inout Fields) -> Value?
    ) async -> Value {
        await withCheckedContinuation { (continuation: CheckedContinuation<Value, Never>) in
            let waiter: Waiter = { fields in
                guard let value = attempt(&fields) else { return nil }
                return { continuation.resume(returning: value) }
            }
            let resume = fields.withLock { fields -> (@Sendable () -> Void)? in
                if let resume = waiter(&fields) { return resume }
                fields.waiters.append(waiter)
                return nil
            }
            resume?()
        }
    }
}
