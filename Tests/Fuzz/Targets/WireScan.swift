// In: the bytes of a BulkUpsertRequest. Out: whether decoders may differ about it, which no encoder
// writes: groups, which no proto3 file has and protobuf-c refuses; a known field of another wire type,
// which protobuf-c takes for damage and others for an unknown field; numbers of more than 64 bits,
// which some decoders cut and others refuse; the field 0, which protobuf-c takes for an unknown one; a message that
// stands twice and would be merged, which protobuf-c does not do in full (the server refuses options
// that stand twice).

struct WireScan {
    /// The wire types that a field may have, and the message that it holds.
    private struct Field {
        var types: Set<UInt64>
        var message: Int?
        var isRepeated: Bool

        init(_ types: Set<UInt64>, _ message: Int? = nil, isRepeated: Bool = true) {
            self.types = types
            self.message = message
            self.isRepeated = isRepeated
        }
    }

    private static let varint = Field([0])
    private static let bytes = Field([2])
    private static let packed = Field([0, 2])

    /// By message, then by field number: request, options, contact, custom field, time, label.
    private static let messages: [[UInt64: Field]] = [
        [1: Field([2], 1, isRepeated: false), 2: varint, 3: Field([2], 2)],
        [
            1: bytes, 2: varint, 3: varint, 4: varint, 5: bytes, 6: packed, 7: varint, 8: varint,
            9: varint, 10: varint, 11: Field([2], 5),
        ],
        [
            1: bytes, 2: bytes, 3: bytes, 4: bytes, 5: bytes, 6: bytes, 7: bytes, 8: packed,
            9: Field([2], 3),
        ],
        [
            1: bytes, 2: bytes, 3: varint, 4: Field([1]), 5: varint,
            6: Field([2], 4, isRepeated: false), 7: varint,
        ],
        [1: varint, 2: varint],
        [1: bytes, 2: bytes],
    ]

    private var rest: ArraySlice<UInt8>
    private var hasOverflow = false

    private init(_ rest: ArraySlice<UInt8>) { self.rest = rest }

    static func isOdd(_ bytes: [UInt8]) -> Bool {
        isOdd(bytes[...], 0)
    }

    private static func isOdd(_ bytes: ArraySlice<UInt8>, _ message: Int) -> Bool {
        var scan = WireScan(bytes)
        var hasOne = false
        while !scan.rest.isEmpty {
            let tag = scan.number()
            let type = tag & 7
            let field = messages[message][(tag & 0xFFFF_FFFF) >> 3]
            if type == 3 || type == 4 || field?.types.contains(type) == false { return true }
            if tag < 8 || tag > UInt64(UInt32.max) { return true }
            if field?.isRepeated == false {
                if hasOne { return true }
                hasOne = true
            }
            switch type {
            case 0: _ = scan.number()
            case 1: scan.rest = scan.rest.dropFirst(8)
            case 5: scan.rest = scan.rest.dropFirst(4)
            default:
                let count = Int(clamping: scan.number())
                let content = scan.rest.prefix(count)
                scan.rest = scan.rest.dropFirst(count)
                if let message = field?.message, isOdd(content, message) { return true }
                if field?.types == packed.types, hasOverflow(packed: content) { return true }
            }
            if scan.hasOverflow { return true }
        }
        return false
    }

    private static func hasOverflow(packed content: ArraySlice<UInt8>) -> Bool {
        var scan = WireScan(content)
        while !scan.rest.isEmpty { _ = scan.number() }
        return scan.hasOverflow
    }

    private mutating func number() -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while let byte = rest.popFirst() {
            if shift > 63 || (shift == 63 && byte > 1) { hasOverflow = true }
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { break }
            shift += 7
        }
        return value
    }
}
