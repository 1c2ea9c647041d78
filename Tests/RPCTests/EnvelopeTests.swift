// Envelopes cut at every place, and the limits at their edges.

import NIOCore
import RPC
import Testing

struct EnvelopeTests {
    private static let messages: [[UInt8]] = [
        [1, 2, 3], [], Array(0..<40), [255], [], Array(repeating: 7, count: 300),
    ]

    private static func bytes(of messages: [[UInt8]] = messages) -> ByteBuffer {
        var buffer = ByteBuffer()
        for message in messages { Envelope.write(into: &buffer) { $0.writeBytes(message) } }
        return buffer
    }

    private func pull(_ reader: inout EnvelopeReader, into messages: inout [[UInt8]]) throws {
        while let message = try reader.next() { messages.append(Array(message.readableBytesView)) }
    }

    private func slice(_ buffer: ByteBuffer, _ range: Range<Int>) -> ByteBuffer {
        buffer.getSlice(at: range.lowerBound, length: range.count) ?? ByteBuffer()
    }

    @Test
    func `The prefix is a flag and a big-endian length`() {
        var buffer = ByteBuffer()
        Envelope.write(into: &buffer) { $0.writeRepeatingByte(1, count: 258) }
        #expect(Array(buffer.readableBytesView.prefix(6)) == [0, 0, 0, 1, 2, 1])
        #expect(buffer.readableBytes == 263)
    }

    @Test
    func `Every two-part cut gives the same messages`() throws {
        let whole = Self.bytes()
        for cut in 0...whole.readableBytes {
            var reader = EnvelopeReader(maxMessageByteCount: 300)
            var messages: [[UInt8]] = []
            reader.append(slice(whole, 0..<cut))
            try pull(&reader, into: &messages)
            reader.append(slice(whole, cut..<whole.readableBytes))
            try pull(&reader, into: &messages)
            try reader.finish()
            #expect(messages == Self.messages, "cut at \(cut)")
        }
    }

    @Test(arguments: [1, 2, 3, 5, 7, 64])
    func `Pieces of one size give the same messages, pulled at once or at last`(size: Int) throws {
        let whole = Self.bytes()
        for pullsAtOnce in [true, false] {
            for settles in [true, false] {
                var reader = EnvelopeReader(maxMessageByteCount: 300)
                var messages: [[UInt8]] = []
                for start in stride(from: 0, to: whole.readableBytes, by: size) {
                    reader.append(slice(whole, start..<min(start + size, whole.readableBytes)))
                    if pullsAtOnce { try pull(&reader, into: &messages) }
                    if settles { reader.settle() }
                }
                try pull(&reader, into: &messages)
                #expect(messages == Self.messages)
                #expect(reader.unreadByteCount == 0)
            }
        }
    }

    @Test
    func `Pulling one message at a time between appends keeps count`() throws {
        let whole = Self.bytes()
        var reader = EnvelopeReader(maxMessageByteCount: 300)
        var messages: [[UInt8]] = []
        for _ in 0..<50 {
            reader.append(whole)
            if let message = try reader.next() { messages.append(Array(message.readableBytesView)) }
            reader.settle()
        }
        let received = messages.reduce(0) { $0 + $1.count + Envelope.prefixByteCount }
        #expect(reader.unreadByteCount == 50 * whole.readableBytes - received)
        try pull(&reader, into: &messages)
        #expect(messages == (0..<50).flatMap { _ in Self.messages })
    }

    @Test
    func `A message in one chunk is a slice of it, a message in two is a copy`() throws {
        let whole = Self.bytes(of: [[1, 2, 3]])
        func address(_ buffer: ByteBuffer) -> UInt {
            buffer.withUnsafeReadableBytes { UInt(bitPattern: $0.baseAddress) }
        }
        var reader = EnvelopeReader(maxMessageByteCount: 300)
        reader.append(whole)
        let message = try #require(try reader.next())
        #expect(address(message) == address(whole) + 5)
    }

    @Test
    func `Every end inside a message is noticed`() throws {
        let whole = Self.bytes(of: [[1, 2, 3]])
        for cut in 1..<whole.readableBytes {
            var reader = EnvelopeReader(maxMessageByteCount: 300)
            reader.append(slice(whole, 0..<cut))
            #expect(try reader.next() == nil)
            #expect(throws: EnvelopeError.truncated) { try reader.finish() }
        }
    }

    @Test(arguments: [1, 2, 3, 4, 5])
    func `The limit is checked when the prefix is there, and not before`(firstCut: Int) throws {
        var atLimit = EnvelopeReader(maxMessageByteCount: 300)
        atLimit.append(ByteBuffer(bytes: [0, 0, 0, 1, 44]))
        #expect(try atLimit.next() == nil)

        let prefix: [UInt8] = [0, 0, 0, 1, 45]
        var reader = EnvelopeReader(maxMessageByteCount: 300)
        reader.append(ByteBuffer(bytes: prefix[..<firstCut]))
        if firstCut < 5 {
            #expect(try reader.next() == nil)
            reader.append(ByteBuffer(bytes: prefix[firstCut...]))
        }
        #expect(throws: EnvelopeError.tooLong(byteCount: 301, limit: 300)) { try reader.next() }
    }

    @Test
    func `Flags other than zero are refused from their first byte`() {
        var compressed = EnvelopeReader(maxMessageByteCount: 300)
        compressed.append(ByteBuffer(bytes: [1]))
        #expect(throws: EnvelopeError.compressed) { try compressed.next() }
        var unknown = EnvelopeReader(maxMessageByteCount: 300)
        unknown.append(ByteBuffer(bytes: [2]))
        #expect(throws: EnvelopeError.unknownFlag(2)) { try unknown.next() }
    }

    @Test
    func `Each error has its status`() {
        #expect(EnvelopeError.compressed.status.code == .internal)
        #expect(EnvelopeError.unknownFlag(9).status.code == .internal)
        #expect(EnvelopeError.truncated.status.code == .internal)
        let tooLong = EnvelopeError.tooLong(byteCount: 301, limit: 300).status
        #expect(tooLong.code == .resourceExhausted)
        #expect(tooLong.message == "a message of 301 bytes is over the limit of 300")
    }
}
