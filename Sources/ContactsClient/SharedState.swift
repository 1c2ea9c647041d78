// What the event loop and the caller's tasks share of one call.
//
// In: changes, from the loop. Out: values that tasks wait for. Any thread; one lock.

internal import NIOConcurrencyHelpers

final class SharedState<Fields: Sendable>: Sendable {
    private typealias Waiter = @Sendable (inout Fields) -> (@Sendable () -> Void)?

    private struct Guarded {
        var fields: Fields
        /// Tasks that wait: each looks at the fields and, if it has what it needs, gives what
        /// resumes it.
        var waiters: [Waiter] = []
    }

    private let guarded: NIOLockedValueBox<Guarded>

    init(_ fields: Fields) {
        guarded = NIOLockedValueBox(Guarded(fields: fields))
    }

    /// Changes the fields and resumes the tasks that can go on.
    func change<Value: Sendable>(_ body: (inout Fields) -> Value) -> Value {
        let (value, resumed) = guarded.withLockedValue { guarded in
            (body(&guarded.fields), Self.satisfied(&guarded))
        }
        for resume in resumed { resume() }
        return value
    }

    /// What a task would wait for, if it is there. It may change the fields in what no other task
    /// waits for.
    func attempt<Value: Sendable>(_ body: (inout Fields) -> Value?) -> Value? {
        guarded.withLockedValue { body(&$0.fields) }
    }

    private static func satisfied(_ guarded: inout Guarded) -> [@Sendable () -> Void] {
        guard !guarded.waiters.isEmpty else { return [] }
        let waiters = guarded.waiters
        guarded.waiters = []
        var resumed: [@Sendable () -> Void] = []
        for waiter in waiters {
            if let resume = waiter(&guarded.fields) {
                resumed.append(resume)
            } else {
                guarded.waiters.append(waiter)
            }
        }
        return resumed
    }

    /// Waits until an attempt gives a value.
    func wait<Value: Sendable>(
        _ attempt: @escaping @Sendable (inout Fields) -> Value?
    ) async -> Value {
        await withCheckedContinuation { (continuation: CheckedContinuation<Value, Never>) in
            let waiter: Waiter = { fields in
                guard let value = attempt(&fields) else { return nil }
                return { continuation.resume(returning: value) }
            }
            let resume = guarded.withLockedValue { guarded -> (@Sendable () -> Void)? in
                if let resume = waiter(&guarded.fields) { return resume }
                guarded.waiters.append(waiter)
                return nil
            }
            resume?()
        }
    }
}
