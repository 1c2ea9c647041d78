// The protobuf wire format, for messages of other packages than ours that are a few fields each:
// health, reflection, descriptors, google.rpc. Contacts never pass through here. Pure, any thread.

/// The bytes are no protobuf message.
struct WireError: Error {}

/// The fields of a message, in order (protobuf, "Encoding").
struct WireReader {
    enum Value {
        /// Of the wire types for numbers.
        case number(UInt64)
        /// A string, bytes, or a message.
        case bytes(ArraySlice<UInt8>)

        var bytes: ArraySlice<UInt8> {
            if case .bytes(let bytes) = self { bytes } else { [] }
        }

        var text: String { String(decoding: bytes, as: UTF8.self) }
    }

    /// A varint has at most so many bytes.
    private static let longestVarint = 10

    private var rest: ArraySlice<UInt8>

    init(_ bytes: some Collection<UInt8>) { rest = ArraySlice(bytes) }

    /// `nil` at the end.
    mutating func next() throws(WireError) -> (number: UInt64, value: Value)? {
        if rest.isEmpty { return nil }
        let tag = try varint()
        guard tag >> 3 > 0 else { throw WireError() }
        switch tag & 7 {
        case 0: return (tag >> 3, .number(try varint()))
        case 1: return (tag >> 3, .number(try fixed(byteCount: 8)))
        case 2: return (tag >> 3, .bytes(try take(try varint())))
        case 5: return (tag >> 3, .number(try fixed(byteCount: 4)))
        // Groups are gone from protobuf for long, and none of these messages has any.
        default: throw WireError()
        }
    }

    private mutating func varint() throws(WireError) -> UInt64 {
        var value: UInt64 = 0
        for index in 0..<Self.longestVarint {
            guard let byte = rest.popFirst() else { throw WireError() }
            value |= UInt64(byte & 0x7F) << (7 * UInt64(index))
            if byte < 0x80 { return value }
        }
        throw WireError()
    }

    private mutating func fixed(byteCount: UInt64) throws(WireError) -> UInt64 {
        try take(byteCount).reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    private mutating func take(_ count: UInt64) throws(WireError) -> ArraySlice<UInt8> {
        guard count <= UInt64(rest.count) else { throw WireError() }
        defer { rest = rest.dropFirst(Int(count)) }
        return rest.prefix(Int(count))
    }
}

/// Writes a message, field by field.
struct WireWriter {
    private(set) var bytes: [UInt8] = []

    mutating func number(_ number: UInt64, _ value: UInt64) {
        varint(number << 3)
        varint(value)
    }

    mutating func bytes(_ number: UInt64, _ value: some Collection<UInt8>) {
        varint(number << 3 | 2)
        varint(UInt64(value.count))
        bytes.append(contentsOf: value)
    }

    mutating func text(_ number: UInt64, _ value: String) { bytes(number, value.utf8) }

    mutating func message(_ number: UInt64, _ write: (inout WireWriter) -> Void) {
        var inner = WireWriter()
        write(&inner)
        bytes(number, inner.bytes)
    }

    private mutating func varint(_ value: UInt64) {
        var value = value
        while value > 0x7F {
            bytes.append(UInt8(truncatingIfNeeded: value) | 0x80)
            value >>= 7
        }
        bytes.append(UInt8(value))
    }
}
