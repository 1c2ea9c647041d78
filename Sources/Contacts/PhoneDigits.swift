// The digits of a phone number while they are read and completed; the work behind `PhoneRule`.
// In: a value's bytes, then the default dial code. Out: `+` and digits, or what is wrong.
// Pure functions, any thread; nothing is allocated but what the output needs.
// ITU-T E.164 section 6 (the international number) and 7 (prefixes are not part of it).

/// The digits of one number while it is worked out.
struct PhoneDigits {
    /// Longer than any number with its prefixes; what does not fit is too long.
    private static let capacity = 24

    private var digits = InlineArray<24, UInt8>(repeating: 0)
    /// The digits kept are `digits[start..<end]`.
    private var start = 0
    private var end = 0
    private var hasPlus = false
    private var isInternational = false
    /// Where the digits of an open parenthesis begin.
    private var parenthesis: Int?
    /// Where a `(0)` stands.
    private var trunkZero: Int?
    /// Put before the digits.
    private var code: DialCode?

    /// Takes the digits out of the text.
    @inline(__always)
    mutating func read(_ input: Span<UInt8>) -> PhoneProblem? {
        var index = 0
        while index < input.count {
            let byte = input[index]
            if byte &- ASCII.zero < 10 {
                guard end < Self.capacity else { return .tooLong }
                digits[end] = byte
                end += 1
                index += 1
                continue
            }
            var mark = byte
            if byte < 0x80 {
                index += 1
            } else {
                guard let plain = PhoneCharacters.plain(input, &index) else { return .notANumber }
                mark = plain
            }
            if let problem = take(mark) { return problem }
        }
        return nil
    }

    /// Takes a character that is no ASCII digit in the text.
    @inline(__always)
    private mutating func take(_ mark: UInt8) -> PhoneProblem? {
        switch mark {
        case 0x20, 0x09...0x0D, ASCII.hyphen, ASCII.dot, UInt8(ascii: "/"):
            return nil
        case UInt8(ascii: "("):
            parenthesis = end
        case UInt8(ascii: ")"):
            if let open = parenthesis, end == open + 1, digits[open] == ASCII.zero {
                trunkZero = trunkZero ?? open
            }
            parenthesis = nil
        case UInt8(ascii: "+"):
            guard end == 0, !hasPlus else { return .plusInside }
            hasPlus = true
        case ASCII.zero...ASCII.nine:
            guard end < Self.capacity else { return .tooLong }
            digits[end] = mark
            end += 1
        default:
            return .notANumber
        }
        return nil
    }

    // MARK: - The number as a whole

    /// Decides whether the digits are international, and what goes before them and off them.
    @inline(__always)
    mutating func complete(_ dialCode: DialCode?) -> PhoneProblem? {
        guard end > 0 else { return .noDigits }
        if hasPlus {
            isInternational = true
        } else if end > 1, digits[0] == ASCII.zero, digits[1] == ASCII.zero {
            start = 2
            isInternational = true
        } else if let dialCode {
            isInternational = isInternational(dialCode)
            if !isInternational {
                code = dialCode
                start = trunkDigits(dialCode)
            }
        } else {
            isInternational = true
        }
        if isInternational {
            guard start == end || digits[start] != ASCII.zero else { return .leadingZero }
            if trunkZero != nil { dropTrunkZero() }
        }
        let count = (code?.digitCount ?? 0) + end - start
        if count < ContactLimits.phoneDigits.lowerBound { return .tooShort }
        return count > ContactLimits.phoneDigits.upperBound ? .tooLong : nil
    }

    /// Whether digits without `+` or `00` hold the code already: they begin with it and are longer
    /// than a national number, or a `(0)` stands behind it.
    private func isInternational(_ dialCode: DialCode) -> Bool {
        guard end > dialCode.digitCount else { return false }
        var value = 0
        for index in 0..<dialCode.digitCount { value = value * 10 + Int(digits[index] & 0x0F) }
        guard value == dialCode.value else { return false }
        return end > dialCode.longest || trunkZero == dialCode.digitCount
    }

    /// How many digits in front of a national number are its trunk prefix. An 8 can also begin the
    /// number itself; then the number is not longer than numbers are.
    private func trunkDigits(_ dialCode: DialCode) -> Int {
        let first = digits[0]
        let isEight = first == UInt8(ascii: "8") && end > dialCode.longest
        switch dialCode.trunk {
        case .keepsZero:
            return 0
        case .none:
            return trunkZero == 0 ? 1 : 0
        case .zero:
            return first == ASCII.zero ? 1 : 0
        case .eight:
            return isEight ? 1 : 0
        case .zeroOrEight:
            return first == ASCII.zero || isEight ? 1 : 0
        case .zeroSix:
            return first == ASCII.zero && end > 1 && digits[1] == UInt8(ascii: "6") ? 2 : 0
        case .eightZero:
            if isEight { return digits[1] == ASCII.zero ? 2 : 1 }
            return first == ASCII.zero ? 1 : 0
        }
    }

    /// Many people write `+44 (0)20 ...`: the 0 is what a caller inside the country dials. It goes
    /// when it stands right behind the code, except where the numbers themselves begin with 0.
    /// A 0 that is not in parentheses stays: the digits after a `+` are the writer's word.
    private mutating func dropTrunkZero() {
        guard let zero = trunkZero,
            let plan = DialPlan.ofNumber(digits.span.extracting(start..<end)),
            zero == start + plan.digitCount, plan.trunk != .keepsZero
        else { return }
        end -= 1
        for index in zero..<end { digits[index] = digits[index + 1] }
    }

    /// `+`, the code, the digits.
    @inline(__always)
    func append(to output: inout [UInt8]) {
        var text = InlineArray<24, UInt8>(repeating: 0)
        text[0] = UInt8(ascii: "+")
        var count = 1
        if let code {
            var rest = code.value
            for index in stride(from: code.digitCount, to: 0, by: -1) {
                text[index] = ASCII.zero + UInt8(truncatingIfNeeded: rest % 10)
                rest /= 10
            }
            count += code.digitCount
        }
        for index in start..<end {
            text[count] = digits[index]
            count += 1
        }
        output.append(text.span.extracting(0..<count))
    }
}

/// The characters beyond ASCII that are written in numbers.
enum PhoneCharacters {
    /// What the character at this place stands for, and the place behind it; nil when it has no
    /// place in a number or is not UTF-8.
    @inline(never)
    static func plain(_ input: Span<UInt8>, _ index: inout Int) -> UInt8? {
        let lead = input[index]
        let count = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4
        guard lead >= 0xC2, index + count <= input.count else { return nil }
        var value = UInt32(lead) & (0x7F >> UInt32(count))
        for offset in 1..<count {
            let byte = input[index + offset]
            guard byte & 0xC0 == 0x80 else { return nil }
            value = value << 6 | UInt32(byte & 0x3F)
        }
        guard let scalar = Unicode.Scalar(value), UTF8.width(scalar) == count else { return nil }
        index += count
        return plain(scalar)
    }

    private static func plain(_ scalar: Unicode.Scalar) -> UInt8? {
        switch scalar {
        case "\u{FF0B}":
            return UInt8(ascii: "+")
        case "\u{FF08}":
            return UInt8(ascii: "(")
        case "\u{FF09}":
            return UInt8(ascii: ")")
        case "\u{FF0E}", "\u{FF0F}", "\u{2212}", "\u{30FC}":
            // Full-width full stop and solidus; minus; the long vowel mark, typed for a dash.
            return UInt8(ascii: "-")
        default:
            break
        }
        let properties = scalar.properties
        switch properties.generalCategory {
        case .decimalNumber:
            return properties.numericValue.map { ASCII.zero + UInt8($0) }
        case .dashPunctuation:
            return UInt8(ascii: "-")
        case .format:
            // Invisible: the direction marks that come with numbers copied from phones.
            return UInt8(ascii: " ")
        default:
            return properties.isWhitespace ? UInt8(ascii: " ") : nil
        }
    }
}
