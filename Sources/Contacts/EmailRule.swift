// The rule for emails: trimmed, NFC, lower-case, a dot-atom, one `@`, a domain with valid labels.
// In: a value's bytes as they came. Out: the normalised bytes, or the first fault.
// Pure functions, any thread. `EmailRule.normalize` recognises a good ASCII email in one pass over
// the bytes; all others, and all faults, go to the slow path, which knows Unicode and messages.
// RFC 5321 section 4.1.2 (syntax) and 4.5.3.1 (sizes), RFC 5322 section 3.2.3 (atext),
// RFC 6531 section 3.3 (UTF-8), RFC 1123 section 2.1 and RFC 3696 section 2 (host names).

package enum EmailRule {
    /// Appends the normalised email; on a fault nothing is appended.
    package static func normalize(_ input: Span<UInt8>, into output: inout [UInt8]) -> RuleFault? {
        guard let plain = plainForm(input) else { return normalizeSlowly(input, into: &output) }
        let start = output.count
        output.append(input.extracting(plain.range))
        if plain.hasUpperCase { lowerASCII(&output, from: start) }
        return nil
    }

    /// The normalised email, or the fault.
    package static func normalize(_ text: String) -> Result<String, RuleFault> {
        var output: [UInt8] = []
        let bytes = Array(text.utf8)
        if let fault = normalize(bytes.span, into: &output) { return .failure(fault) }
        return .success(String(decoding: output, as: UTF8.self))
    }

    /// Whether nothing but white space stands here; true for empty input.
    package static func isBlank(_ input: Span<UInt8>) -> Bool { TextRule.isBlank(input) }

    private struct PlainForm {
        var range: Range<Int>
        var hasUpperCase: Bool
    }

    /// The email inside its white space when it is ASCII and breaks no rule; nil for all else.
    @inline(__always)
    private static func plainForm(_ input: Span<UInt8>) -> PlainForm? {
        var start = 0
        var end = input.count
        while start < end, isASCIISpace(input[start]) { start += 1 }
        while start < end, isASCIISpace(input[end - 1]) { end -= 1 }
        guard end - start <= ContactLimits.emailBytes else { return nil }
        var upper = false
        var index = start
        var last = ASCII.dot
        while index < end {
            let byte = input[index]
            if !isLowerOrDigit(byte) {
                if byte == ASCII.at { break }
                guard ASCII.atext.contains(byte) || (byte == ASCII.dot && last != byte) else {
                    return nil
                }
                upper = upper || isUpper(byte)
            }
            last = byte
            index += 1
        }
        guard last != ASCII.dot, index - start <= ContactLimits.emailLocalPartBytes else {
            return nil
        }
        guard let domainHasUpper = plainDomain(input, index + 1, end) else { return nil }
        return PlainForm(range: start..<end, hasUpperCase: upper || domainHasUpper)
    }

    /// Whether the domain at these places has upper-case letters; nil when it breaks a rule.
    @inline(__always)
    private static func plainDomain(_ input: Span<UInt8>, _ start: Int, _ end: Int) -> Bool? {
        var upper = false
        var last = ASCII.dot
        var labelStart = start
        var hasNonDigit = false
        var index = start
        while index < end {
            let byte = input[index]
            if isLower(byte) {
                hasNonDigit = true
            } else if byte == ASCII.dot {
                guard last != ASCII.dot, last != ASCII.hyphen, index - labelStart <= labelBytes
                else { return nil }
                labelStart = index + 1
                hasNonDigit = false
            } else {
                guard ASCII.label.contains(byte), byte != ASCII.hyphen || last != ASCII.dot else {
                    return nil
                }
                upper = upper || isUpper(byte)
                hasNonDigit = hasNonDigit || byte > ASCII.nine || byte == ASCII.hyphen
            }
            last = byte
            index += 1
        }
        guard last != ASCII.dot, last != ASCII.hyphen, index - labelStart <= labelBytes,
            labelStart > start, hasNonDigit
        else { return nil }
        return upper
    }

    /// RFC 1035 section 2.3.4.
    static let labelBytes = 63

    @inline(__always)
    private static func isASCIISpace(_ byte: UInt8) -> Bool {
        byte == 0x20 || (byte >= 0x09 && byte <= 0x0D)
    }

    /// What nearly all bytes of an email are.
    @inline(__always)
    private static func isLowerOrDigit(_ byte: UInt8) -> Bool {
        isLower(byte) || byte &- ASCII.zero < 10
    }

    @inline(__always)
    private static func isLower(_ byte: UInt8) -> Bool { byte &- 0x61 < 26 }

    @inline(__always)
    private static func isUpper(_ byte: UInt8) -> Bool { byte &- 0x41 < 26 }

    static func lowerASCII(_ bytes: inout [UInt8], from start: Int) {
        for index in start..<bytes.count where isUpper(bytes[index]) { bytes[index] |= 0x20 }
    }
}

/// A set of ASCII characters as two words.
struct ASCIISet {
    private var low: UInt64 = 0
    private var high: UInt64 = 0

    /// Bit `n` of `low` is character `n`, of `high` character `n` + 64.
    @inline(__always)
    init(low: UInt64, high: UInt64) {
        self.low = low
        self.high = high
    }

    /// False for bytes beyond ASCII.
    @inline(__always)
    func contains(_ byte: UInt8) -> Bool {
        let word = byte < 64 ? low : high
        return byte < 128 && (word &>> UInt64(byte & 63)) & 1 == 1
    }
}

enum ASCII {
    static let dot = UInt8(ascii: ".")
    static let at = UInt8(ascii: "@")
    static let hyphen = UInt8(ascii: "-")
    static let zero = UInt8(ascii: "0")
    static let nine = UInt8(ascii: "9")

    /// RFC 5322 section 3.2.3: letters, digits and !#$%&'*+-/=?^_`{|}~
    @inline(__always)
    static var atext: ASCIISet { ASCIISet(low: 0xA3FF_ACFA_0000_0000, high: 0x7FFF_FFFF_C7FF_FFFE) }
    /// RFC 1123 section 2.1: letters, digits and the hyphen.
    @inline(__always)
    static var label: ASCIISet { ASCIISet(low: 0x03FF_2000_0000_0000, high: 0x07FF_FFFE_07FF_FFFE) }
}
