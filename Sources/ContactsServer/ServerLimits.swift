// The limits that nobody has a reason to set otherwise, each with its own. `ServerPolicy` has the
// others.

internal import Contacts
internal import Ingest
internal import NIOCore

enum ServerLimits {
    /// The least share of a connection: a few messages of usual size, so that it goes on.
    static let leastUnacknowledgedContacts = 1_000
    /// How soon a call that may not take its first contacts looks again.
    static let fullPause = TimeAmount.milliseconds(50)
    /// Keys of one look-up.
    static let keysPerLookup = 10_000
    /// Results of one response message: about 45 KiB.
    static let resultsPerMessage = 1_000
    /// Response bytes of a call that wait for its peer to read. Results beyond it wait in the
    /// window, where they are smaller, and once the window is full no more contacts are taken.
    static let unsentBytes = 128 * 1024
    /// The least share of a connection: what one call may have.
    static let leastUnsentBytes = unsentBytes
    /// What a connection may have open in any case: about as much again as it costs itself.
    static let leastStreams = 16
    /// What is expected of a page of contacts or events.
    static let pageBytes = ContactExport.pageBytes
    /// What is expected of a small answer, until it is there.
    static let smallAnswerBytes = 16 * 1024
    /// The same of all calls of a connection about the server itself, whose caller has shown no key:
    /// with the longest answer, which is the schema and twice the longest question, below 64 KiB.
    static let unsentBytesToAnybody = 2 * 1024
    /// How often a watcher of events looks though nobody woke it: should a notification be lost,
    /// its events are late and no more.
    static let watchInterval = TimeAmount.seconds(30)
    /// A stream whose page finds too many look-ups waiting asks again after this.
    static let overloadPause = TimeAmount.milliseconds(100)

    /// Bytes of blocks in lanes, over all connections. Beyond it no connection gets credit. Within
    /// these bounds it is what the lanes can make use of: more would not be written sooner, only
    /// wait longer for its answer.
    static let workBytes = 1024 * 1024...8 * 1024 * 1024
}

extension ClosedRange where Bound: Comparable {
    func clamping(_ value: Bound) -> Bound { Swift.min(Swift.max(value, lowerBound), upperBound) }
}
