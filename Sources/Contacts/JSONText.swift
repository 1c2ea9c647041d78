// Writes JSON values in the form in which PostgreSQL's jsonb prints them.
// In: values that are known to be valid. Out: bytes at the end of an array.
// Pure functions, any thread.

enum JSONText {
    static func append(_ text: StaticString, to output: inout [UInt8]) {
        output.write(upTo: text.utf8CodeUnitCount) { start in
            var end = ByteCursor(start)
            end.put(text)
            return end.count(from: start)
        }
    }

    /// A string in quotes, escaped as PostgreSQL's escape_json does: the six short forms, and
    /// four lower-case hexadecimal digits for other control characters. All else stays.
    static func append(string: Span<UInt8>, to output: inout [UInt8]) {
        if ByteText.isPlainJSON(string) { return append(plain: string, to: &output) }
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

    /// A string that needs no escapes, in quotes.
    static func append(plain string: Span<UInt8>, to output: inout [UInt8]) {
        output.write(upTo: string.count + 2) { start in
            var end = ByteCursor(start)
            end.put(ASCII.quote)
            end.put(string)
            end.put(ASCII.quote)
            return end.count(from: start)
        }
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
        append(magnitude: integer.magnitude, isNegative: integer < 0, to: &output)
    }

    /// Digits; the last `decimals` of them, if any, stand behind a point, and one at least before.
    private static func append(
        magnitude: UInt64, isNegative: Bool, decimals: Int = 0, to output: inout [UInt8]
    ) {
        // The most of them are those of 2^64, its sign and a point.
        output.write(upTo: 22) { start in
            let digitCount = max(digitCount(magnitude), decimals + 1)
            let byteCount = (isNegative ? 1 : 0) + digitCount + (decimals > 0 ? 1 : 0)
            if isNegative { start[0] = ASCII.hyphen }
            var rest = magnitude
            var place = byteCount
            for written in 0..<digitCount {
                if written == decimals, decimals > 0 {
                    place -= 1
                    start[place] = ASCII.dot
                }
                place -= 1
                start[place] = ASCII.zero + UInt8(truncatingIfNeeded: rest % 10)
                rest /= 10
            }
            return byteCount
        }
    }

    private static func digitCount(_ magnitude: UInt64) -> Int {
        var count = 1
        var limit: UInt64 = 10
        // 10^19 is the last power that fits.
        while magnitude >= limit, count < 19 {
            count += 1
            limit *= 10
        }
        return magnitude >= limit ? count + 1 : count
    }

    // MARK: - Doubles

    /// The shortest decimal that reads back as the same double, without exponent and always with a
    /// point, which tells it from a whole number. jsonb prints numerics so and keeps their scale.
    static func append(number: Double, to output: inout [UInt8]) {
        let size = number.magnitude
        let isNegative = number.sign == .minus && size != 0
        if size < 1e15 {
            var scale = 1.0
            for decimals in 0...6 {
                let product = size * scale
                if product >= 1e15 { break }
                let scaled = UInt64(product + 0.5)
                // Both are whole and exact in a double: the quotient is the double nearest to this
                // decimal, and up to 15 digits no other decimal as short reads back the same.
                if Double(scaled) / scale == size {
                    // A whole number has a zero behind its point.
                    return append(
                        magnitude: decimals == 0 ? scaled * 10 : scaled, isNegative: isNegative,
                        decimals: max(decimals, 1), to: &output)
                }
                scale *= 10
            }
        }
        if isNegative { output.append(ASCII.hyphen) }
        append(description: size.description, to: &output)
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
