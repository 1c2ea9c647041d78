// Gives memory back that calls have left.
//
// In: what calls hold. Out: free pages to the kernel. Looks every few seconds, on one of the server's
// loops; it takes some milliseconds, once calls have ended and nothing is at work.
//
// glibc keeps what is freed amid its heaps, so that a load of large messages would be seen in the
// server's size for ever. https://man7.org/linux/man-pages/man3/malloc_trim.3.html
// What is large is kept out of the heaps, or each loop would keep what its largest message took:
// by itself glibc raises that bound to 32 MiB. https://man7.org/linux/man-pages/man3/mallopt.3.html

internal import CMalloc
internal import NIOCore
internal import RPC
internal import Synchronization

enum FreeMemory {
    private static let interval = TimeAmount.seconds(5)
    /// Blocks of this size go back to the kernel as soon as they are free. Messages of usual size need
    /// none; for larger ones the kernel's part is some 20 ns a contact.
    private static let largeByteCount: CInt = 256 * 1024
    /// So does what is free at a heap's end beyond this.
    private static let heapEndByteCount: CInt = 1024 * 1024

    /// Begins to look; ends with the loop.
    static func watch(
        _ counters: ServerCounters, _ budget: ReceiveBudget, on eventLoop: any EventLoop
    ) {
        mallopt(M_MMAP_THRESHOLD, largeByteCount)
        mallopt(M_TRIM_THRESHOLD, heapEndByteCount)
        let trimmedThrough = Trimmed()
        eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { _ in
            let ended = counters.endedCallCount
            guard budget.heldByteCount + budget.workByteCount == 0,
                trimmedThrough.count.exchange(ended, ordering: .relaxed) != ended
            else { return }
            malloc_trim(0)
        }
    }

    /// The calls that had ended at the last time.
    private final class Trimmed: Sendable {
        let count = Atomic(0)
    }
}
