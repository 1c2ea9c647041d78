// The limits of a call, each with its reason. `started` tells them to the caller.

internal import Contacts
internal import Ingest
internal import NIOCore

enum ServerLimits {
    /// gRPC's usual limit; a message of this size holds more contacts than one may have.
    static let messageBytes = 4 * 1024 * 1024
    /// A message is taken whole, so it bounds how far a call may pass the next limit.
    static let contactsPerMessage = 10_000
    /// Three transactions for each of two lanes: one at work, two waiting.
    static let unacknowledgedContacts = 60_000
    /// The same of all calls together: four that are full. Each contact takes some 50 bytes here, so
    /// these are 12 MB; of usual contacts `workBytes` lets in fewer. Beyond it a connection takes
    /// more only while it has less than its share.
    static let unacknowledgedContactsOfAll = 4 * unacknowledgedContacts
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
    /// Response bytes that peers have not taken, and those that are under way from the database, over
    /// all connections: ten of the largest look-ups. Beyond it a connection begins no other answer
    /// unless it has less than its share.
    static let unsentBytesOfAll = 32 * 1024 * 1024
    /// The least share of a connection: what one call may have.
    static let leastUnsentBytes = unsentBytes
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

    /// Bytes of whole messages that calls hold, over all connections. Beyond it a connection that
    /// holds some itself gets no credit.
    static let heldBytes = 8 * 1024 * 1024
    /// Bytes of blocks in lanes, over all connections. Beyond it no connection gets credit. Within
    /// these bounds it is what the lanes can make use of: more would not be written sooner, only
    /// wait longer for its answer.
    static let workBytes = 1024 * 1024...8 * 1024 * 1024

    static let published = Limits(
        maxMessageBytes: UInt64(messageBytes),
        maxContactsPerMessage: UInt64(contactsPerMessage),
        maxContactBytes: UInt64(ContactLimits.contactBytes),
        maxTextBytes: UInt64(ContactLimits.textBytes),
        maxFields: UInt64(ContactLimits.fields),
        maxUnacknowledgedContacts: UInt64(unacknowledgedContacts))
}

extension ClosedRange where Bound: Comparable {
    func clamping(_ value: Bound) -> Bound { Swift.min(Swift.max(value, lowerBound), upperBound) }
}
