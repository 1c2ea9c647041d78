// The fields of a message on the wire, without looking into the messages inside.
//
// In: the bytes of a message. Out: where its fields are, and how many. Any thread.

enum WireFields {
    struct Field {
        let tag: UInt64
        /// With its tag and its length.
        let whole: Range<Int>
        /// What stands behind the length, where there is one.
        let content: Range<Int>?

        /// Whether it is a text or message of this number, with a tag of one byte, and with a length
        /// of at most five as protobuf-c wants it.
        func isPlain(_ number: UInt8) -> Bool {
            guard tag == UInt64(number << 3 | 2), let content else { return false }
            return content.lowerBound - whole.lowerBound <= 6
        }
    }

    /// How often a field stands in a message that protobuf-c has taken.
    static func count(of number: UInt64, in bytes: UnsafeRawBufferPointer) -> Int {
        var count = 0
        walk(bytes) { field in
            if field.tag >> 3 == number { count += 1 }
            return true
        }
        return count
    }

    /// Visits the fields from the first one on, until the visitor has seen enough.
    ///
    /// - Returns: The place behind the last one visited: where no whole field stands, if not at the end.
    @discardableResult
    static func walk(_ bytes: UnsafeRawBufferPointer, _ visit: (Field) -> Bool) -> Int {
        var place = 0
        while true {
            guard let field = field(bytes, at: place) else { return place }
            place = field.whole.upperBound
            guard visit(field) else { return place }
        }
    }

    private static func field(_ bytes: UnsafeRawBufferPointer, at start: Int) -> Field? {
        var place = start
        guard let tag = varint(bytes, &place) else { return nil }
        var content: Range<Int>?
        switch tag & 7 {
        case 0: guard varint(bytes, &place) != nil else { return nil }
        case 1: place += 8
        case 2:
            guard let length = varint(bytes, &place), length <= bytes.count - place
            else { return nil }
            content = place..<place + Int(length)
            place += Int(length)
        case 5: place += 4
        default: return nil
        }
        guard place <= bytes.count else { return nil }
        return Field(tag: tag, whole: start..<place, content: content)
    }

    /// The number at a place (protobuf, "Encoding", "Base 128 Varints"); `nil` at the end.
    private static func varint(_ bytes: UnsafeRawBufferPointer, _ place: inout Int) -> UInt64? {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while place < bytes.count {
            let byte = bytes[place]
            place += 1
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
        return nil
    }
}
