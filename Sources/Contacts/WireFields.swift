// How often a field stands in a message.
//
// In: the bytes of a message that protobuf-c has taken. Out: a count. Any thread.

enum WireFields {
    /// How often a field stands there, not looking into the messages inside.
    static func count(of number: UInt64, in bytes: UnsafeRawBufferPointer) -> Int {
        var place = 0
        var count = 0
        while let tag = varint(bytes, &place) {
            if tag >> 3 == number { count += 1 }
            switch tag & 7 {
            case 0: guard varint(bytes, &place) != nil else { return count }
            case 1: place += 8
            case 2:
                guard let length = varint(bytes, &place), length <= bytes.count - place
                else { return count }
                place += Int(length)
            case 5: place += 4
            default: return count
            }
        }
        return count
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
