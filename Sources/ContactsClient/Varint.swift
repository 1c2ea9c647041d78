// protobuf's variable-length integers, for messages of other packages that are read by hand.

extension Collection<UInt8> where SubSequence == Self {
    /// Takes a varint off the front; nil where there is none.
    /// https://protobuf.dev/programming-guides/encoding/#varints
    mutating func popVarint() -> UInt64? {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 64, by: 7) {
            guard let byte = popFirst() else { return nil }
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
        }
        return nil
    }
}
