// A message on its way to the wire.
//
// In: a message of protobuf-c, and bytes that were packed before it. Out: its length, and its bytes
// where the caller says. Event loop thread.

internal import CContactsProto
internal import CProtobufC

/// A message that is ready to be packed; it lives until its encoder's next reset.
package struct PackedMessage {
    private let message: UnsafePointer<ProtobufCMessage>?
    /// Fields that are packed already; they stand in front of those of `message`.
    private let head: [UInt8]
    /// Of the message that holds all this as its only field; 0: there is none.
    private let tag: UInt8
    private let innerByteCount: Int
    /// The length of the packed message.
    package let byteCount: Int

    init<Message>(
        _ message: UnsafeMutablePointer<Message>?, behind head: [UInt8] = [], inside tag: UInt8 = 0
    ) {
        // Every generated message begins with its `ProtobufCMessage base`.
        self.message = UnsafeRawPointer(message)?.assumingMemoryBound(to: ProtobufCMessage.self)
        self.head = head
        self.tag = tag
        innerByteCount =
            head.count + (self.message.map { protobuf_c_message_get_packed_size($0) } ?? 0)
        byteCount =
            innerByteCount + (tag == 0 ? 0 : 1 + Varint.byteCount(UInt64(innerByteCount)))
    }

    /// Packs the message.
    ///
    /// - Parameter output: At least `byteCount` bytes.
    /// - Returns: The bytes written.
    package func write(to output: UnsafeMutableRawBufferPointer) -> Int {
        precondition(output.count >= byteCount, "the message has \(byteCount) bytes")
        guard let message, let base = output.baseAddress else { return 0 }
        let start = base.assumingMemoryBound(to: UInt8.self)
        var end = ByteCursor(start)
        if tag != 0 {
            end.put(tag)
            end.put(varint: UInt64(innerByteCount))
        }
        end.put(head.span)
        let count = end.count(from: start)
        return count + protobuf_c_message_pack(message, start + count)
    }
}

/// The byte in front of a field with a number below 16 (protobuf, "Encoding").
enum WireTag {
    static func varint(_ field: UInt8) -> UInt8 { field << 3 }
    static func bytes(_ field: UInt8) -> UInt8 { field << 3 | 2 }
}

enum Varint {
    static let maxByteCount = 10

    static func byteCount(_ value: UInt64) -> Int {
        max(1, (70 - value.leadingZeroBitCount) / 7)
    }
}

extension ByteCursor {
    @inline(__always)
    mutating func put(varint: UInt64) {
        var rest = varint
        while rest >= 0x80 {
            put(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        put(UInt8(truncatingIfNeeded: rest))
    }

    /// The text form.
    mutating func put(_ id: ContactID) {
        id.write(to: next)
        skip(ContactID.textByteCount)
    }
}
