// Turns the inside of a JSON string into its text.
// In: the bytes between the quotes. Out: UTF-8 without escapes.
// Pure functions, any thread. RFC 8259 section 7. A broken escape, or half of a surrogate pair,
// becomes U+FFFD; PostgreSQL prints neither.

enum JSONString {
    static func unescape(_ inside: Span<UInt8>) -> [UInt8] {
        var output: [UInt8] = []
        output.reserveCapacity(inside.count)
        var index = 0
        while index < inside.count {
            let byte = inside[index]
            index += 1
            if byte != ASCII.backslash {
                output.append(byte)
            } else {
                append(escape(inside, &index), to: &output)
            }
        }
        return output
    }

    private static let replacement: Unicode.Scalar = "\u{FFFD}"

    private static func append(_ scalar: Unicode.Scalar, to output: inout [UInt8]) {
        output.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
    }

    /// The character of the escape whose backslash is in front of this place.
    private static func escape(_ text: Span<UInt8>, _ index: inout Int) -> Unicode.Scalar {
        guard index < text.count else { return replacement }
        let byte = text[index]
        index += 1
        switch byte {
        case ASCII.quote, ASCII.backslash, UInt8(ascii: "/"): return Unicode.Scalar(byte)
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{C}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"): return unicode(text, &index)
        default: return replacement
        }
    }

    /// The digits behind `\u`, and the second half of a pair.
    private static func unicode(_ text: Span<UInt8>, _ index: inout Int) -> Unicode.Scalar {
        guard let unit = hex(text, index) else { return replacement }
        index += 4
        if let scalar = Unicode.Scalar(unit) { return scalar }
        guard unit < 0xDC00, index + 6 <= text.count, text[index] == ASCII.backslash,
            text[index + 1] == UInt8(ascii: "u"), let low = hex(text, index + 2),
            (0xDC00...0xDFFF).contains(low)
        else { return replacement }
        index += 6
        return Unicode.Scalar(0x10000 + (unit - 0xD800) << 10 + (low - 0xDC00)) ?? replacement
    }

    private static func hex(_ text: Span<UInt8>, _ start: Int) -> UInt32? {
        guard start + 4 <= text.count else { return nil }
        var value: UInt32 = 0
        for index in start..<start + 4 {
            let byte = text[index]
            switch byte {
            case ASCII.zero...ASCII.nine: value = value << 4 | UInt32(byte - ASCII.zero)
            case UInt8(ascii: "a")...UInt8(ascii: "f"), UInt8(ascii: "A")...UInt8(ascii: "F"):
                value = value << 4 | UInt32((byte | 0x20) - UInt8(ascii: "a") + 10)
            default: return nil
            }
        }
        return value
    }
}
