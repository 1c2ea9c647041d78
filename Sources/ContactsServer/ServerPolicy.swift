// What callers may take of the server, as the operator sets it; each default with its reason. Values.

internal import Contacts
internal import HTTP2
internal import NIOCore
internal import RPC

package struct ServerPolicy: Sendable {
    /// Of all peers. An idle one costs some 20 KiB here and a descriptor.
    package var connections = 4096
    /// Of one address, an IPv6 one's network of 64 bits: half of all, so that one peer cannot keep
    /// the others out, while many clients behind one proxy still have room.
    package var connectionsPerAddress = 2048
    /// Opened in a second, and half of it by one address. A connection in clear text costs some 80 µs, a
    /// handshake of TLS up to a millisecond, so that who opens more keeps the processors from everybody
    /// else. Clients that all come back at once after a restart wait their turn.
    package var connectionsPerSecond = 2048
    /// Calls of one connection at the same time.
    package var streams = 250
    /// Of all connections together, since one that is idle costs some 2 KiB: 16 MiB. Beyond it a
    /// connection may have `ServerLimits.leastStreams`, and those without a key lose theirs.
    package var streamsOfAll = 8192
    /// Calls that one connection begins in a second.
    package var streamsPerSecond = 10_000
    /// From the accepted connection to the end of TLS's handshake. It takes two round trips; who takes
    /// longer than this holds a socket and some 40 KiB for nothing.
    package var handshake = Duration.seconds(5)
    /// Of one header block: bytes as HTTP/2 counts them, and fields.
    package var headerBytes = ConnectionLimits().headerListByteCount
    package var headerFields = ConnectionLimits().headerFieldCount
    /// Streams that a connection resets in 10 seconds, or has reset, beside those that are answered.
    package var resets = ConnectionLimits().resetCountPerTick
    /// Frames without use in 10 seconds, beside what useful ones allow.
    package var uselessFrames = ConnectionLimits().cheapFrameCountPerTick

    /// gRPC's usual limit; a message of this size holds more contacts than one may have.
    package var messageBytes = 4 * 1024 * 1024
    /// A message is taken whole, so it bounds how far a call may pass the next limit.
    package var contactsPerMessage = RequestDecoder.contactLimit
    /// Contacts of a call without a result: three transactions for each of two lanes, one at work
    /// and two waiting.
    package var unansweredContacts = 60_000
    /// The same of all calls together: four that are full. Each contact takes some 50 bytes here, so
    /// these are 12 MB; of usual contacts `ServerLimits.workBytes` lets in fewer. Beyond it a
    /// connection takes more only while it has less than its share.
    package var unansweredContactsOfAll = 240_000
    /// Bytes of whole messages that calls hold, over all connections: two of the largest. Beyond it a
    /// connection that holds some itself gets no credit.
    package var heldBytes = 8 * 1024 * 1024
    /// Response bytes that peers have not taken, and those that are under way from the database, over
    /// all connections: ten of the largest look-ups. Beyond it a connection begins no other answer
    /// unless it has less than its share.
    package var unreadBytes = 32 * 1024 * 1024

    package init() {}

    var connectionLimits: ConnectionLimits {
        var limits = ConnectionLimits()
        limits.maxConcurrentStreams = streams
        limits.unsentFrameCount = max(limits.unsentFrameCount, min(streams, Int.max / 4) * 4)
        limits.headerListByteCount = headerBytes
        limits.headerFieldCount = headerFields
        // Larger blocks come in more CONTINUATION.
        limits.surplusHeaderByteCountPerTick = max(
            limits.surplusHeaderByteCountPerTick, 64 * headerBytes)
        limits.resetCountPerTick = resets
        limits.cheapFrameCountPerTick = uselessFrames
        limits.streamWindowByteCount = messageBytes + 2 * ConnectionLimits.creditStepByteCount
        return limits
    }

    /// What `started` tells the caller.
    var published: Limits {
        Limits(
            maxMessageBytes: UInt64(messageBytes),
            maxContactsPerMessage: UInt64(contactsPerMessage),
            maxContactBytes: UInt64(ContactLimits.contactBytes),
            maxTextBytes: UInt64(ContactLimits.textBytes),
            maxFields: UInt64(ContactLimits.fields),
            maxUnacknowledgedContacts: UInt64(unansweredContacts))
    }
}
