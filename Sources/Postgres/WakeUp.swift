// Ends another thread's wait. In: `signal`, on any thread. Out: the wait it was meant for returns,
// also when it begins later; several signals count as one. A pipe, so that a wait can be for a
// socket as well.

import Glibc

package final class WakeUp: Sendable {
    /// Where the waiting thread reads.
    let descriptor: CInt
    private let writeEnd: CInt

    package init() {
        var ends: [CInt] = [-1, -1]
        let result = pipe(&ends)
        precondition(result == 0, "no pipe: \(String(cString: strerror(errno)))")
        for end in ends {
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
            _ = fcntl(end, F_SETFL, O_NONBLOCK)
        }
        (descriptor, writeEnd) = (ends[0], ends[1])
    }

    deinit {
        close(descriptor)
        close(writeEnd)
    }

    package func signal() {
        var byte: UInt8 = 0
        // A full pipe says as much as one byte.
        _ = write(writeEnd, &byte, 1)
    }

    /// Blocks the calling thread until it is signalled or the time is up.
    package func wait(atMost timeout: Duration) {
        if Deadline(after: timeout).wait(for: CInt(POLLIN), on: descriptor) != nil { clear() }
    }

    func clear() {
        var bytes = [UInt8](repeating: 0, count: 64)
        while read(descriptor, &bytes, bytes.count) > 0 {}
    }
}
