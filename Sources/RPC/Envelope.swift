// In: chunks of a stream's body, cut anywhere; or a message to write. Out: whole messages; or the
// message behind its five-byte prefix.
// On which thread: plain values, the thread of their owner.

package import NIOCore

///   +------+--------+--------+--------+--------+-------------------
///   | flag |        length, big-endian         |  message ...
///   +------+--------+--------+--------+--------+-------------------
///     0 = as it is, 1 = compressed (gRPC PROTOCOL-HTTP2, "Length-Prefixed-Message")
package enum Envelope {
    package static let prefixByteCount = 5

    /// Appends one message: room for the prefix, the message by `write`, then the length.
    package static func write(
        into buffer: inout ByteBuffer, isCompressed: Bool = false,
        _ write: (inout ByteBuffer) -> Void
    ) {
        let start = buffer.writerIndex
        buffer.writeRepeatingByte(0, count: prefixByteCount)
        if isCompressed { buffer.setInteger(UInt8(1), at: start) }
        write(&buffer)
        let byteCount = buffer.writerIndex - start - prefixByteCount
        guard let length = UInt32(exactly: byteCount) else {
            preconditionFailure("a message of \(byteCount) bytes does not fit an envelope")
        }
        buffer.setInteger(length, at: start + 1)
    }
}

/// What is wrong with a stream of envelopes. After one of these the stream cannot be read on.
package enum EnvelopeError: Error, Equatable, Sendable {
    /// Compressed, though the headers name no `grpc-encoding` or identity.
    case compressed
    /// Not what the encoding prescribes, or cut, or followed by something else.
    case corrupt
    /// The message becomes longer than a message may be.
    case inflatesTooLong(limit: Int)
    /// The flag is neither 0 nor 1.
    case unknownFlag(UInt8)
    case tooLong(byteCount: Int, limit: Int)
    /// The stream ended inside an envelope.
    case truncated

    package var status: RPCStatus {
        switch self {
        case .compressed:
            RPCStatus(.internal, "a message is compressed without a grpc-encoding")
        case .corrupt:
            RPCStatus(.internal, "a message cannot be decompressed: it is not gzip, or damaged")
        case .inflatesTooLong(let limit):
            RPCStatus(
                .resourceExhausted,
                "a message is over the limit of \(limit) bytes when it is decompressed")
        case .unknownFlag(let flag):
            RPCStatus(.internal, "a message begins with the unknown flag \(flag)")
        case .tooLong(let byteCount, let limit):
            RPCStatus(
                .resourceExhausted, "a message of \(byteCount) bytes is over the limit of \(limit)")
        case .truncated:
            RPCStatus(.internal, "the stream ended inside a message")
        }
    }
}

/// Cuts a stream into messages. A message that lies in one chunk is a slice of it; one that spans
/// chunks is collected in a buffer of its own, so that no chunk is kept for a small piece of it.
package struct EnvelopeReader {
    var maxMessageByteCount: Int
    private let takesCompressed: Bool
    /// What `next` gave last is still compressed.
    private(set) var wasCompressed = false
    /// Not looked at yet; those before `firstChunk` are done.
    /// nil is a chunk that was moved out.
    private var chunks: [ByteBuffer?] = []
    private var firstChunk = 0
    /// The first chunk is a buffer of our own, to which more may be appended.
    private var ownsFirstChunk = false
    /// The beginning of a message, prefix included, whose rest has yet to come.
    private var partial = ByteBuffer()
    /// All bytes appended and not given out as messages, prefixes included.
    package private(set) var unreadByteCount = 0

    /// A list of chunks longer than this gives its memory back when it is read.
    private static let keptChunkCount = 1024

    package init(maxMessageByteCount: Int, takesCompressed: Bool = false) {
        self.maxMessageByteCount = maxMessageByteCount
        self.takesCompressed = takesCompressed
    }

    /// There may be whole messages: `next` has not said nil since the last `append`.
    package var mayHoldMessages: Bool { firstChunk < chunks.count }

    /// Of the beginning of a message, if that is all there is. Its buffer has at most twice as many.
    var unfinishedByteCount: Int { mayHoldMessages ? 0 : unreadByteCount }

    package mutating func append(_ chunk: consuming ByteBuffer) {
        guard chunk.readableBytes > 0 else { return }
        unreadByteCount += chunk.readableBytes
        chunks.append(chunk)
    }

    /// The next whole message, without its prefix.
    package mutating func next() throws(EnvelopeError) -> ByteBuffer? {
        while firstChunk < chunks.count {
            if partial.readableBytes == 0, let message = try sliceOfFirstChunk() { return message }
            if let message = try collect() { return message }
        }
        return nil
    }

    /// To be called at the end of the stream.
    package func finish() throws(EnvelopeError) {
        if unreadByteCount > 0 { throw .truncated }
    }

    /// Copies what was not pulled: a small message left lying must not keep the 64 KiB in which it
    /// was read.
    package mutating func settle() {
        guard firstChunk < chunks.count, !(ownsFirstChunk && chunks.count - firstChunk == 1) else {
            return
        }
        var own = ByteBuffer()
        var next = firstChunk
        if ownsFirstChunk, let first = chunks[firstChunk].take() {
            own = first
            if own.readerIndex > own.readableBytes { own.discardReadBytes() }
            next += 1
        }
        for case let chunk? in chunks[next...] { own.writeImmutableBuffer(chunk) }
        chunks = [own]
        firstChunk = 0
        ownsFirstChunk = true
    }

    package mutating func removeAll() {
        chunks = []
        firstChunk = 0
        ownsFirstChunk = false
        partial = ByteBuffer()
        unreadByteCount = 0
    }

    /// The first chunk's first message; nil when it is not whole in there. A chunk that is just one
    /// message, as small messages are sent, is moved out as it is.
    private mutating func sliceOfFirstChunk() throws(EnvelopeError) -> ByteBuffer? {
        guard var chunk = chunks[firstChunk].take() else { return nil }
        let length: Int?
        do throws(EnvelopeError) {
            length = try Self.length(
                in: chunk, limit: maxMessageByteCount, takesCompressed: takesCompressed)
        } catch {
            chunks[firstChunk] = chunk
            throw error
        }
        guard let length, chunk.readableBytes >= Envelope.prefixByteCount + length else {
            chunks[firstChunk] = chunk
            return nil
        }
        noteFlag(of: chunk)
        chunk.moveReaderIndex(forwardBy: Envelope.prefixByteCount)
        unreadByteCount -= Envelope.prefixByteCount + length
        if chunk.readableBytes == length {
            finishFirstChunk()
            return chunk
        }
        let message = chunk.readSlice(length: length)
        chunks[firstChunk] = chunk
        return message
    }

    /// Moves just as much as the message needs from the first chunk to `partial`.
    private mutating func collect() throws(EnvelopeError) -> ByteBuffer? {
        guard var chunk = chunks[firstChunk].take() else { return nil }
        let length = try Self.length(
            in: partial, limit: maxMessageByteCount, takesCompressed: takesCompressed)
        let goal = Envelope.prefixByteCount + (length ?? 0)
        let count = min(goal - partial.readableBytes, chunk.readableBytes)
        // What comes is taken, and not what the prefix announces, since it may lie.
        if partial.capacity == 0 { partial.reserveCapacity(chunk.readableBytes) }
        if let piece = chunk.readSlice(length: count) { partial.writeImmutableBuffer(piece) }
        if chunk.readableBytes > 0 { chunks[firstChunk] = chunk } else { finishFirstChunk() }
        let whole = try Self.length(
            in: partial, limit: maxMessageByteCount, takesCompressed: takesCompressed)
        guard let whole, partial.readableBytes == Envelope.prefixByteCount + whole
        else { return nil }
        noteFlag(of: partial)
        var message = partial
        partial = ByteBuffer()
        message.moveReaderIndex(forwardBy: Envelope.prefixByteCount)
        unreadByteCount -= Envelope.prefixByteCount + whole
        return message
    }

    /// The first chunk was moved out or read to its end.
    private mutating func finishFirstChunk() {
        firstChunk += 1
        ownsFirstChunk = false
        if firstChunk == chunks.count {
            chunks.removeAll(keepingCapacity: chunks.count <= Self.keptChunkCount)
            firstChunk = 0
        }
    }

    /// Of a whole message behind its prefix.
    private mutating func noteFlag(of message: ByteBuffer) {
        guard takesCompressed else { return }
        wasCompressed = message.getInteger(at: message.readerIndex, as: UInt8.self) == 1
    }

    /// The length in the prefix; nil while the prefix is incomplete. The limit is checked here,
    /// before a byte of the message is kept.
    private static func length(
        in buffer: ByteBuffer, limit: Int, takesCompressed: Bool
    ) throws(EnvelopeError) -> Int? {
        let (flag, length) = buffer.withUnsafeReadableBytes { bytes in
            (
                bytes.first ?? 0,
                bytes.count < Envelope.prefixByteCount
                    ? nil : bytes.loadUnaligned(fromByteOffset: 1, as: UInt32.self)
            )
        }
        if flag == 1, !takesCompressed { throw .compressed }
        if flag > 1 { throw .unknownFlag(flag) }
        guard let length else { return nil }
        let byteCount = Int(UInt32(bigEndian: length))
        if byteCount > limit { throw .tooLong(byteCount: byteCount, limit: limit) }
        return byteCount
    }
}
