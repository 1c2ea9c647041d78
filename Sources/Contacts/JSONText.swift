// Writes JSON values in the form in which PostgreSQL's jsonb prints them.
// In: values that are known to be valid. Out: bytes at the end of an array.
// Pure functions, any thread.

enum JSONText {
    static func append(_ text: StaticString, to output: inout [UInt8]) {
        text.withUTF8Buffer { output.append(contentsOf: $0) }
    }

    /// A string in quotes, escaped as PostgreSQL's escape_json does: the six short forms, and
    /// four lower-case hexadecimal digits for other control characters. All else stays.
    static func append(string: Span<UInt8>, to output: inout [UInt8]) {
        output.append(ASCII.quote)
        var runStart = 0
        for index in string.indices {
            let byte = string[index]
            if byte >= 0x20, byte != ASCII.quote, byte != ASCII.backslash { continue }
            output.append(string.extracting(runStart..<index))
            append(escapeOf: byte, to: &output)
            runStart = index + 1
        }
        output.append(string.extracting(runStart..<string.count))
        output.append(ASCII.quote)
    }

    private static func append(escapeOf byte: UInt8, to output: inout [UInt8]) {
        output.append(ASCII.backslash)
        switch byte {
        case ASCII.quote, ASCII.backslash: output.append(byte)
        case 0x08: output.append(UInt8(ascii: "b"))
        case 0x0C: output.append(UInt8(ascii: "f"))
        case 0x0A: output.append(UInt8(ascii: "n"))
        case 0x0D: output.append(UInt8(ascii: "r"))
        case 0x09: output.append(UInt8(ascii: "t"))
        default:
            append("u00", to: &output)
            output.append(hexDigit(byte >> 4))
            output.append(hexDigit(byte & 0x0F))
        }
    }

    private static func hexDigit(_ value: UInt8) -> UInt8 {
        value < 10 ? ASCII.zero + value : UInt8(ascii: "a") + value - 10
    }

    /// A whole number.
    static func append(integer: Int64, to output: inout [UInt8]) {
        if integer < 0 { output.append(ASCII.hyphen) }
        append(magnitude: integer.magnitude, to: &output)
    }

    static func append(magnitude: UInt64, width: Int = 1, to output: inout [UInt8]) {
        var digits = InlineArray<20, UInt8>(repeating: ASCII.zero)
        var start = 20
        var rest = magnitude
        while rest > 0 {
            start -= 1
            digits[start] = ASCII.zero + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        }
        start = min(start, 20 - width)
        output.append(digits.span.extracting(start..<20))
    }

    // MARK: - Doubles

    /// The shortest decimal that reads back as the same double, without exponent and always with a
    /// point, which tells it from a whole number. jsonb prints numerics so and keeps their scale.
    static func append(number: Double, to output: inout [UInt8]) {
        let size = number.magnitude
        if number.sign == .minus, size != 0 { output.append(ASCII.hyphen) }
        if size < 1e15 {
            var scale = 1.0
            for decimals in 0...6 {
                let product = size * scale
                if product >= 1e15 { break }
                let scaled = UInt64(product + 0.5)
                // Both are whole and exact in a double: the quotient is the double nearest to this
                // decimal, and up to 15 digits no other decimal as short reads back the same.
                if Double(scaled) / scale == size {
                    append(scaled: scaled, decimals: decimals, to: &output)
                    return
                }
                scale *= 10
            }
        }
        append(description: size.description, to: &output)
    }

    /// A whole number of tenths, hundredths, ...
    private static func append(scaled: UInt64, decimals: Int, to output: inout [UInt8]) {
        append(magnitude: scaled, width: decimals + 1, to: &output)
        if decimals == 0 {
            append(".0", to: &output)
        } else {
            output.insert(ASCII.dot, at: output.count - decimals)
        }
    }

    /// What Swift prints, `1.5`, `1e+22`, `5e-324`, with the exponent worked in.
    private static func append(description: String, to output: inout [UInt8]) {
        // At most 17 digits, 5 zeros before them and 1 behind.
        var digits = InlineArray<24, UInt8>(repeating: ASCII.zero)
        var count = 0
        // The point stands behind so many of the digits.
        var point = 0
        var hasPoint = false
        var exponent = 0
        var text = description.utf8[...]
        while let byte = text.popFirst(), byte != UInt8(ascii: "e") {
            if byte == ASCII.dot {
                hasPoint = true
            } else if count < 24 {
                if !hasPoint { point += 1 }
                digits[count] = byte
                count += 1
            }
        }
        exponent = Int(Substring(text)) ?? 0
        point += exponent
        let span = digits.span.extracting(0..<count)
        if point <= 0 {
            append("0.", to: &output)
            output.append(contentsOf: repeatElement(ASCII.zero, count: -point))
            output.append(span)
        } else if point >= count {
            output.append(span)
            output.append(contentsOf: repeatElement(ASCII.zero, count: point - count))
            append(".0", to: &output)
        } else {
            output.append(span.extracting(0..<point))
            output.append(ASCII.dot)
            output.append(span.extracting(point..<count))
        }
    }
}

extension ASCII {
    static let quote = UInt8(ascii: "\"")
    static let backslash = UInt8(ascii: "\\")
    static let openBrace = UInt8(ascii: "{")
    static let closeBrace = UInt8(ascii: "}")
    static let colon = UInt8(ascii: ":")
    static let comma = UInt8(ascii: ",")
}
