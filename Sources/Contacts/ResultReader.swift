// The results of one response message, read as they are written by `ResultList`.
//
// In: the bytes of a `BulkUpsertResponse`. Out: its results one at a time. Pure, any thread.
//
// Nearly all results are of contacts that did not fail: fields in order, each once. These are read
// here; for a result with anything else in it, and for a message that is no such list, protobuf-c is
// asked, which knows all that the encoding allows.

struct ResultReader {
    enum Entry {
        case result(ContactResult)
        /// A `ContactResult` to be read by protobuf-c.
        case message(UnsafeRawBufferPointer)
        /// The message has something in it that is not looked at here.
        case foreign
    }

    /// What a result takes: a number of four bytes, a status and an id.
    static let usualByteCount = 47

    private var rest: Cursor
    /// Known when all was read.
    private(set) var committedThrough: UInt64 = 0

    /// `nil` if the message is something else than one list of results.
    init?(_ bytes: UnsafeRawBufferPointer) {
        rest = Cursor(bytes)
        guard rest.byte() == WireTag.bytes(2), let list = rest.field(), rest.isAtEnd else {
            return nil
        }
        rest = Cursor(list)
    }

    /// The next result; `nil` at the end.
    @inline(__always)
    mutating func next() -> Entry? {
        while let tag = rest.byte() {
            switch tag {
            case WireTag.bytes(1):
                guard let message = rest.field() else { return .foreign }
                return Self.result(message).map { .result($0) } ?? .message(message)
            case WireTag.varint(2):
                guard let value = rest.varint() else { return .foreign }
                committedThrough = value
            default:
                return .foreign
            }
        }
        return nil
    }

    /// A result without an error; `nil` if there is anything else in it.
    @inline(__always)
    private static func result(_ message: UnsafeRawBufferPointer) -> ContactResult? {
        var rest = Cursor(message)
        var sequence: UInt64 = 0
        var tag = rest.byte()
        if tag == WireTag.varint(1) {
            guard let value = rest.varint() else { return nil }
            sequence = value
            tag = rest.byte()
        }
        guard tag == WireTag.varint(2), let value = rest.byte(),
            let status = UpsertStatus(rawValue: value)
        else { return nil }
        if rest.isAtEnd { return ContactResult(sequence: sequence, status: status, id: nil) }
        guard rest.byte() == WireTag.bytes(3), let text = rest.field(), rest.isAtEnd,
            text.count == ContactID.textByteCount, let id = ContactID(lowerCase: text)
        else { return nil }
        return ContactResult(sequence: sequence, status: status, id: id)
    }
}

/// Bytes from the first to the last.
private struct Cursor {
    private let bytes: UnsafeRawBufferPointer
    private var index = 0

    @inline(__always)
    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    var isAtEnd: Bool { index == bytes.count }

    @inline(__always)
    mutating func byte() -> UInt8? {
        guard index < bytes.count else { return nil }
        defer { index += 1 }
        return bytes[index]
    }

    /// A number of up to 63 bits; a longer one is `nil`.
    @inline(__always)
    mutating func varint() -> UInt64? {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while shift < 63, let byte = byte() {
            value |= UInt64(byte & 0x7F) &<< shift
            if byte < 0x80 { return value }
            shift += 7
        }
        return nil
    }

    /// The bytes of a field behind its length.
    @inline(__always)
    mutating func field() -> UnsafeRawBufferPointer? {
        guard let length = varint(), length <= UInt64(bytes.count - index) else { return nil }
        let count = Int(length)
        defer { index += count }
        return UnsafeRawBufferPointer(rebasing: bytes[index..<index + count])
    }
}
