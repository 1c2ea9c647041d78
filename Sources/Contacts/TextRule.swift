// The rule for texts: UTF-8 without NUL, not longer than a limit.
// In: a value's bytes as they came. Out: nil when the value stands, else the fault.
// Pure functions, any thread.

package enum TextRule {
    /// nil when the text stands.
    package static func check(_ input: Span<UInt8>, limit: Int) -> RuleFault? {
        if let fault = validity(input) { return fault }
        if input.count > limit { return RuleFault(.valueTooLong, "is longer than \(limit) bytes") }
        return nil
    }

    /// Whether the bytes are UTF-8 and hold no NUL, which PostgreSQL's text cannot hold.
    package static func validity(_ input: Span<UInt8>) -> RuleFault? {
        if isPlainASCII(input) { return nil }
        for index in input.indices where input[index] == 0 {
            return RuleFault(.invalidUTF8, "holds a NUL character")
        }
        do {
            _ = try UTF8Span(validating: input)
            return nil
        } catch {
            return RuleFault(.invalidUTF8, "is not valid UTF-8")
        }
    }

    /// Whether nothing but white space stands here; true for empty input.
    static func isBlank(_ input: Span<UInt8>) -> Bool {
        if input.count > 0, input[0] > 0x20, input[0] < 0x80 { return false }
        guard validity(input) == nil else { return false }
        return string(input).unicodeScalars.allSatisfy { $0.properties.isWhitespace }
    }

    /// The bytes as a String; what is not UTF-8 is replaced.
    static func string(_ input: Span<UInt8>) -> String {
        input.withUnsafeBufferPointer { String(decoding: $0, as: UTF8.self) }
    }

    /// ASCII without NUL.
    static func isPlainASCII(_ input: Span<UInt8>) -> Bool {
        ByteText.isPlain(input)
    }
}

extension RuleFault: Error {}
