// In: chunks of one stream's body. Out: messages with their credit, and what flow control must know:
// how many bytes are held back, and how many of them depend on nobody but us.
// On which thread: the connection's event loop.

package import NIOCore

/// One message, decompressed, and the credit that goes back when it is done.
package struct ReceivedMessage {
    package var bytes: ByteBuffer
    package var creditByteCount: Int
    /// It came compressed.
    package var wasCompressed: Bool

    package init(bytes: ByteBuffer, creditByteCount: Int, wasCompressed: Bool = false) {
        self.bytes = bytes
        self.creditByteCount = creditByteCount
        self.wasCompressed = wasCompressed
    }
}

/// The receiving side of one call, the same for server and client.
struct Inbox {
    private var reader: EnvelopeReader
    private var maxMessageByteCount: Int
    /// Messages may be compressed with gzip.
    let inflates: Bool
    /// What the last message has become, if it came compressed, and how much of that is beyond
    /// `ReceiveBudget.usualRatio`; also of one that was refused.
    private(set) var lastInflatedByteCount = 0
    private(set) var lastSurplusByteCount = 0
    /// Credit of messages that were pulled and are not done: their bytes in memory.
    private(set) var uncreditedByteCount = 0
    /// By how much these are longer than they came, which is what flow control counts: less than
    /// nothing for a short message that compression made longer.
    private var surplusByteCount = 0

    init(maxMessageByteCount: Int, inflates: Bool = false) {
        reader = EnvelopeReader(
            maxMessageByteCount: maxMessageByteCount, takesCompressed: inflates)
        self.maxMessageByteCount = maxMessageByteCount
        self.inflates = inflates
    }

    /// Messages whose prefix was not looked at yet are bounded by less.
    mutating func limitMessages(to byteCount: Int) {
        maxMessageByteCount = byteCount
        reader.maxMessageByteCount = byteCount
    }

    /// What the peer may not send again yet.
    var heldByteCount: Int { uncreditedByteCount - surplusByteCount + reader.unreadByteCount }

    /// What is held and waits for no further byte: messages which were pulled, and all that lies
    /// behind one which was not. The beginning of a message alone does not count, or beginnings on
    /// many streams could use up the budget that their ends need.
    var completeByteCount: Int {
        uncreditedByteCount + (reader.mayHoldMessages ? reader.unreadByteCount : 0)
    }

    /// The beginning of a message, if that is all there is.
    var unfinishedByteCount: Int { reader.unfinishedByteCount }

    /// The handler has left messages unpulled.
    var mayHoldMessages: Bool { reader.mayHoldMessages }

    var isEmpty: Bool { reader.unreadByteCount == 0 }

    mutating func append(_ chunk: consuming ByteBuffer) { reader.append(chunk) }

    mutating func next() throws(EnvelopeError) -> ReceivedMessage? {
        lastInflatedByteCount = 0
        lastSurplusByteCount = 0
        guard let bytes = try reader.next() else { return nil }
        if inflates, reader.wasCompressed { return try inflated(bytes) }
        let credit = bytes.readableBytes + Envelope.prefixByteCount
        uncreditedByteCount += credit
        return ReceivedMessage(bytes: bytes, creditByteCount: credit)
    }

    private mutating func inflated(_ bytes: ByteBuffer) throws(EnvelopeError) -> ReceivedMessage {
        var message = ByteBuffer()
        defer {
            lastInflatedByteCount = message.readableBytes
            lastSurplusByteCount =
                message.readableBytes - bytes.readableBytes * ReceiveBudget.usualRatio
        }
        try Gzip.inflate(bytes, limit: maxMessageByteCount, into: &message)
        let credit = message.readableBytes + Envelope.prefixByteCount
        uncreditedByteCount += credit
        surplusByteCount += message.readableBytes - bytes.readableBytes
        return ReceivedMessage(bytes: message, creditByteCount: credit, wasCompressed: true)
    }

    func finish() throws(EnvelopeError) { try reader.finish() }

    mutating func credit(_ byteCount: Int) {
        precondition(byteCount <= uncreditedByteCount, "more credit returned than was given out")
        if surplusByteCount != 0, uncreditedByteCount > 0 {
            // In proportion, and all of it with the last message.
            surplusByteCount -= surplusByteCount * byteCount / uncreditedByteCount
        }
        uncreditedByteCount -= byteCount
    }

    mutating func settle() { reader.settle() }

    /// Drops what was not pulled; nobody will pull it.
    mutating func discard() { reader.removeAll() }
}
