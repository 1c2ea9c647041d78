// What the calls of one event loop share: memory that is reused from message to message.
//
// Made on the loop and used on the loop; every use ends before the next begins.

internal import Contacts
internal import Glibc

final class LoopContext: @unchecked Sendable {  // safe because one thread alone ever sees it
    let policy: ServerPolicy
    let decoder = RequestDecoder()
    let encoder = ResponseEncoder()
    var scratch = ContactScratch()

    init(_ policy: ServerPolicy) { self.policy = policy }

    /// Brings the ids' clock up to date; once for what a read has brought is often enough.
    func advanceClock() {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        scratch.ids.advance(to: UInt64(time.tv_sec) * 1000 + UInt64(time.tv_nsec) / 1_000_000)
    }

    func nextID() -> ContactID { scratch.ids.next() }
}

/// What contacts are worked on with, one after another.
struct ContactScratch {
    var contact = NormalizedContact()
    var ids = ContactIDGenerator()
}
