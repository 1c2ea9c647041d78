// A thread that runs one closure from start to end, for blocking libpq.

internal import Glibc
internal import NIOConcurrencyHelpers

/// libpq blocks, so its connections live on threads of their own, never on an event loop or on
/// Swift's cooperative pool.
package final class WorkerThread: Sendable {
    /// Guards the join: a thread is joined once.
    private let handle: NIOLockedValueBox<pthread_t?>
    private let isOver: ConditionLock<Bool>

    /// Starts a thread.
    package init(_ body: @escaping @Sendable () -> Void) {
        let isOver = ConditionLock(value: false)
        self.isOver = isOver
        let start = Unmanaged.passRetained(
            Start {
                body()
                isOver.lock()
                isOver.unlock(withValue: true)
            })
        var thread = pthread_t()
        let result = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                Unmanaged<Start>.fromOpaque(argument).takeRetainedValue().body()
                return nil
            }, start.toOpaque())
        precondition(result == 0, "no thread: \(String(cString: strerror(result)))")
        handle = NIOLockedValueBox(thread)
    }

    deinit {
        if let thread = handle.withLockedValue({ $0 }) { pthread_detach(thread) }
    }

    /// Waits until the closure has returned, or the time is over.
    ///
    /// - Returns: Whether it has returned.
    package func join(until deadline: ContinuousClock.Instant) -> Bool {
        let thread = handle.withLockedValue { handle in
            defer { handle = nil }
            return handle
        }
        guard let thread else { return true }
        let (seconds, attoseconds) = max(.zero, deadline - .now).components
        let timeout = Double(seconds) + Double(attoseconds) / 1e18
        guard isOver.lock(whenValue: true, timeoutSeconds: timeout) else {
            pthread_detach(thread)
            return false
        }
        isOver.unlock()
        pthread_join(thread, nil)
        return true
    }

    /// Blocks the calling thread.
    static func sleep(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        var time = timespec(tv_sec: Int(seconds), tv_nsec: Int(attoseconds / 1_000_000_000))
        nanosleep(&time, nil)
    }

    private final class Start: Sendable {
        let body: @Sendable () -> Void

        init(body: @escaping @Sendable () -> Void) {
            self.body = body
        }
    }
}
