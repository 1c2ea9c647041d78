// In: keys and values in the order in which they are to stand. Out: the bytes of a JSON text on one
// line, numbers to the last bit. Pure; on any thread.

package struct JSONWriter: Sendable {
    package private(set) var bytes: [UInt8] = []
    private var needsComma = false

    package init() {}

    /// Forgets what was written and keeps the memory.
    package mutating func reset() {
        bytes.removeAll(keepingCapacity: true)
        needsComma = false
    }

    package mutating func object(_ body: (inout JSONWriter) -> Void) {
        nested("{", "}", body)
    }

    package mutating func array(_ body: (inout JSONWriter) -> Void) {
        nested("[", "]", body)
    }

    package mutating func object(_ key: String, _ body: (inout JSONWriter) -> Void) {
        self.key(key)
        object(body)
    }

    package mutating func array(_ key: String, _ body: (inout JSONWriter) -> Void) {
        self.key(key)
        array(body)
    }

    package mutating func set(_ key: String, _ value: String) {
        self.key(key)
        string(value)
    }

    package mutating func set(_ key: String, _ value: some FixedWidthInteger) {
        self.key(key)
        raw(String(value))
    }

    /// A number; null when JSON has no way to say it.
    package mutating func set(_ key: String, _ value: Double) {
        self.key(key)
        raw(value.isFinite ? value.description : "null")
    }

    package mutating func set(_ key: String, _ value: Bool) {
        self.key(key)
        raw(value ? "true" : "false")
    }

    package mutating func setNull(_ key: String) {
        self.key(key)
        raw("null")
    }

    /// An element of an array.
    package mutating func element(_ value: some FixedWidthInteger) {
        raw(String(value))
    }

    /// An element of an array.
    package mutating func element(_ value: String) {
        string(value)
    }

    /// A line break, between texts.
    package mutating func endLine() {
        bytes.append(ASCII.lineFeed)
        needsComma = false
    }

    private mutating func nested(
        _ open: Unicode.Scalar, _ close: Unicode.Scalar, _ body: (inout JSONWriter) -> Void
    ) {
        comma()
        bytes.append(UInt8(ascii: open))
        needsComma = false
        body(&self)
        bytes.append(UInt8(ascii: close))
        needsComma = true
    }

    private mutating func comma() {
        if needsComma { bytes.append(ASCII.comma) }
    }

    private mutating func key(_ key: String) {
        string(key)
        bytes.append(UInt8(ascii: ":"))
        needsComma = false
    }

    private mutating func raw(_ text: String) {
        comma()
        bytes.append(contentsOf: text.utf8)
        needsComma = true
    }

    private mutating func string(_ text: String) {
        comma()
        bytes.append(ASCII.quote)
        var text = text
        text.withUTF8 { utf8 in
            // Most texts are one run without escapes.
            var start = 0
            for (index, byte) in utf8.enumerated() {
                guard byte < ASCII.space || byte == ASCII.quote || byte == ASCII.backslash
                else { continue }
                bytes.append(contentsOf: utf8[start..<index])
                escape(byte)
                start = index + 1
            }
            bytes.append(contentsOf: utf8[start...])
        }
        bytes.append(ASCII.quote)
        needsComma = true
    }

    private mutating func escape(_ byte: UInt8) {
        switch byte {
        case ASCII.quote, ASCII.backslash:
            bytes.append(ASCII.backslash)
            bytes.append(byte)
        case ASCII.lineFeed: bytes.append(contentsOf: "\\n".utf8)
        case ASCII.carriageReturn: bytes.append(contentsOf: "\\r".utf8)
        case ASCII.tab: bytes.append(contentsOf: "\\t".utf8)
        default:
            let digits = String(byte, radix: 16)
            bytes.append(contentsOf: (byte < 16 ? "\\u000" : "\\u00").utf8)
            bytes.append(contentsOf: digits.utf8)
        }
    }
}
