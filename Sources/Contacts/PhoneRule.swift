// The rule for phone numbers: separators stripped, the dial code added, kept as `+` and digits.
// In: a value's bytes as they came and the call's default dial code. Out: E.164, or the fault.
// Pure functions, any thread; nothing is allocated but what the output needs.
// ITU-T E.164 sections 6 and 7 (15 digits, the country code first, trunk prefixes are not part of
// the number); ITU-T E.123 section 2 for how numbers are written.

/// A default dial code, looked up once per call.
package struct DialCode: Sendable, Equatable {
    /// The code as a number; no code begins with 0.
    let value: Int
    /// 1 to 3 digits.
    let digitCount: Int
    /// The digits of the longest national number.
    let longest: Int
    let trunk: TrunkPrefix
}

package enum PhoneRule {
    /// The dial code that these digits are; nil when they are none of ITU-T's.
    package static func dialCode(_ text: String) -> DialCode? {
        guard (1...3).contains(text.utf8.count) else { return nil }
        var value = 0
        for byte in text.utf8 {
            guard byte >= ASCII.zero, byte <= ASCII.nine else { return nil }
            value = value * 10 + Int(byte - ASCII.zero)
        }
        guard text.utf8.first != ASCII.zero, let plan = DialPlan.of(value) else { return nil }
        return DialCode(
            value: value, digitCount: text.utf8.count, longest: plan.lengths.upperBound,
            trunk: plan.trunk)
    }

    /// Appends the number as E.164; on a fault nothing is appended.
    package static func normalize(
        _ input: Span<UInt8>, defaultDialCode: DialCode?, into output: inout [UInt8]
    ) -> RuleFault? {
        var number = PhoneDigits()
        if let problem = number.read(input) ?? number.complete(defaultDialCode) {
            let isBlank = problem == .noDigits && TextRule.isBlank(input)
            return TextRule.validity(input)
                ?? RuleFault(.phoneInvalid, (isBlank ? .blank : problem).rawValue)
        }
        number.append(to: &output)
        return nil
    }

    /// The number as E.164, or the fault.
    package static func normalize(
        _ text: String, defaultDialCode: DialCode?
    ) -> Result<String, RuleFault> {
        var output: [UInt8] = []
        let bytes = Array(text.utf8)
        let fault = normalize(bytes.span, defaultDialCode: defaultDialCode, into: &output)
        if let fault { return .failure(fault) }
        return .success(String(decoding: output, as: UTF8.self))
    }

    /// Whether nothing but white space stands here; true for empty input.
    package static func isBlank(_ input: Span<UInt8>) -> Bool { TextRule.isBlank(input) }
}

/// What can be wrong with a number.
enum PhoneProblem: String {
    case blank = "is only white space"
    case noDigits = "holds no digits"
    case notANumber = "holds a character that has no place in a number; extensions are not kept"
    case plusInside = "has a + that is not in front"
    case tooShort = "has fewer than 8 digits with its country code"
    case tooLong = "has more than 15 digits with its country code"
    case leadingZero = "begins with 0 where its country code should stand"
}
