// In: the bytes of one JSON text. Out: its value, or what is wrong and where. RFC 8259, strictly,
// and by hand because whole numbers have to keep their 64 bits and be told from 5.0, and because
// an error has to name its place. Pure; on the reading task.

enum JSONValue: Sendable, Equatable {
    case string(String)
    case integer(Int64)
    case number(Double)
    case boolean(Bool)
    case null
    case array([JSONValue])
    case object([Member])

    struct Member: Sendable, Equatable {
        var key: String
        var value: JSONValue
    }
}

struct JSONFault: Error, Equatable {
    /// Bytes before the fault.
    var offset: Int
    var message: String
    /// A text is not UTF-8, rather than the JSON being broken.
    var isEncoding = false
}

struct JSONText {
    /// Deeper than a contact goes, and far from what the stack holds.
    static let maximumDepth = 16

    private let bytes: [UInt8]
    private var index = 0
    private var depth = 0

    /// Reads one value that fills the whole text.
    static func parse(_ bytes: [UInt8]) throws(JSONFault) -> JSONValue {
        var text = JSONText(bytes: bytes)
        text.skipSpace()
        let value = try text.value()
        text.skipSpace()
        guard text.index == bytes.count else {
            throw text.fault("something stands behind the value")
        }
        return value
    }

    private init(bytes: [UInt8]) {
        self.bytes = bytes
    }

    private func fault(_ message: String) -> JSONFault {
        JSONFault(offset: index, message: index < bytes.count ? message : "it ends too early")
    }

    private mutating func skipSpace() {
        while index < bytes.count,
            bytes[index].isBlank || bytes[index] == ASCII.lineFeed
                || bytes[index] == ASCII.carriageReturn
        {
            index += 1
        }
    }

    private func next(is byte: Unicode.Scalar) -> Bool {
        index < bytes.count && bytes[index] == UInt8(ascii: byte)
    }

    private mutating func take(_ byte: Unicode.Scalar) -> Bool {
        guard next(is: byte) else { return false }
        index += 1
        return true
    }

    private mutating func value() throws(JSONFault) -> JSONValue {
        guard index < bytes.count else { throw fault("") }
        switch bytes[index] {
        case UInt8(ascii: "{"): return try nested { text throws(JSONFault) in try text.object() }
        case UInt8(ascii: "["): return try nested { text throws(JSONFault) in try text.array() }
        case ASCII.quote: return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .boolean(true))
        case UInt8(ascii: "f"): return try word("false", .boolean(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return try number()
        }
    }

    private mutating func nested(
        _ body: (inout JSONText) throws(JSONFault) -> JSONValue
    ) throws(JSONFault) -> JSONValue {
        depth += 1
        guard depth <= Self.maximumDepth else { throw fault("nested too deeply") }
        defer { depth -= 1 }
        index += 1
        skipSpace()
        return try body(&self)
    }

    private mutating func object() throws(JSONFault) -> JSONValue {
        var members: [JSONValue.Member] = []
        if take("}") { return .object(members) }
        while true {
            guard next(is: "\"") else { throw fault("a key in quotes was expected") }
            let key = try string()
            skipSpace()
            guard take(":") else { throw fault("a colon was expected") }
            skipSpace()
            members.append(JSONValue.Member(key: key, value: try value()))
            skipSpace()
            if take("}") { return .object(members) }
            guard take(",") else { throw fault("a comma or a closing brace was expected") }
            skipSpace()
        }
    }

    private mutating func array() throws(JSONFault) -> JSONValue {
        var elements: [JSONValue] = []
        if take("]") { return .array(elements) }
        while true {
            elements.append(try value())
            skipSpace()
            if take("]") { return .array(elements) }
            guard take(",") else { throw fault("a comma or a closing bracket was expected") }
            skipSpace()
        }
    }

    private mutating func word(_ word: String, _ value: JSONValue) throws(JSONFault) -> JSONValue {
        guard bytes[index...].starts(with: word.utf8) else { throw fault("a value was expected") }
        index += word.utf8.count
        return value
    }
}

// Numbers.
extension JSONText {
    private mutating func digits() throws(JSONFault) {
        let start = index
        while index < bytes.count, (0x30...0x39).contains(bytes[index]) { index += 1 }
        guard index > start else { throw fault("a value was expected") }
    }

    private mutating func number() throws(JSONFault) -> JSONValue {
        let start = index
        _ = take("-")
        if !take("0") { try digits() }
        let isWhole = !next(is: ".") && !next(is: "e") && !next(is: "E")
        if take(".") { try digits() }
        if take("e") || take("E") {
            if !take("+") { _ = take("-") }
            try digits()
        }
        let text = String(decoding: bytes[start..<index], as: UTF8.self)
        if isWhole {
            // Rounding a long identifier to a double without a word would be the worst answer.
            guard let value = Int64(text) else {
                index = start
                throw fault("a whole number beyond 64 bits; write it in quotes, or with .0")
            }
            return .integer(value)
        }
        guard let value = Double(text), value.isFinite else {
            index = start
            throw fault("a number beyond the range of a double")
        }
        return .number(value)
    }
}

// Strings.
extension JSONText {
    private mutating func string() throws(JSONFault) -> String {
        let quote = index
        index += 1
        let start = index
        while index < bytes.count, bytes[index] != ASCII.quote, bytes[index] != ASCII.backslash,
            bytes[index] >= ASCII.space
        {
            index += 1
        }
        if next(is: "\"") {
            index += 1
            return try checked(bytes[start..<index - 1].span, at: quote)
        }
        return try escapedString(start, quote)
    }

    private func checked(_ text: Span<UInt8>, at quote: Int) throws(JSONFault) -> String {
        guard let string = String(utf8: text) else {
            throw JSONFault(offset: quote, message: "the text is not UTF-8", isEncoding: true)
        }
        return string
    }

    private mutating func escapedString(_ start: Int, _ quote: Int) throws(JSONFault) -> String {
        var text = Array(bytes[start..<index])
        while index < bytes.count {
            let byte = bytes[index]
            if byte == ASCII.quote {
                index += 1
                return try checked(text.span, at: quote)
            }
            if byte == ASCII.backslash {
                text.append(contentsOf: try escape().utf8)
            } else if byte < ASCII.space {
                throw fault("a control character in a text; write it as \\u00XX")
            } else {
                text.append(byte)
                index += 1
            }
        }
        throw fault("")
    }

    private static let escapes: [UInt8: Unicode.Scalar] = [
        ASCII.quote: "\"", ASCII.backslash: "\\", UInt8(ascii: "/"): "/",
        UInt8(ascii: "b"): "\u{8}", UInt8(ascii: "f"): "\u{C}", UInt8(ascii: "n"): "\n",
        UInt8(ascii: "r"): "\r", UInt8(ascii: "t"): "\t",
    ]

    private mutating func escape() throws(JSONFault) -> String {
        index += 1
        guard index < bytes.count else { throw fault("") }
        if let scalar = Self.escapes[bytes[index]] {
            index += 1
            return String(Character(scalar))
        }
        guard take("u") else { throw fault("an escape that JSON does not have") }
        var code = try codeUnit()
        // RFC 8259 section 7: beyond the basic plane a character is a pair of surrogates.
        if (0xD800..<0xDC00).contains(code), take("\\"), take("u") {
            let low = try codeUnit()
            guard (0xDC00..<0xE000).contains(low) else { throw fault("half a surrogate pair") }
            code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
        }
        guard let scalar = Unicode.Scalar(code) else { throw fault("half a surrogate pair") }
        return String(Character(scalar))
    }

    private mutating func codeUnit() throws(JSONFault) -> UInt32 {
        guard index + 4 <= bytes.count,
            bytes[index..<index + 4].allSatisfy({ $0 != UInt8(ascii: "+") && $0 < 0x80 }),
            let code = UInt32(String(decoding: bytes[index..<index + 4], as: UTF8.self), radix: 16)
        else { throw fault("four hexadecimal digits were expected") }
        index += 4
        return code
    }
}
