// The rule for texts at its limits and on what is not UTF-8.
// In: tables under Vectors, examples and seeded random input. Out: expectations, no side effects.
// Any thread; the suites run in parallel.

import Testing

@testable import Contacts

@Suite struct TextRuleTests {
    private func reason(_ bytes: [UInt8], limit: Int = 1024) -> Reason? {
        TextRule.check(bytes.span, limit: limit)?.reason
    }

    @Test func lengths() {
        #expect(reason([]) == nil)
        #expect(reason(Array(repeating: 0x61, count: 1024)) == nil)
        #expect(reason(Array(repeating: 0x61, count: 1025)) == .valueTooLong)
        #expect(reason(Array("é".utf8), limit: 2) == nil)
        #expect(reason(Array("é".utf8), limit: 1) == .valueTooLong)
    }

    @Test func nulAtEveryPlace() {
        for count in 1...33 {
            for place in 0..<count {
                var bytes = Array(repeating: UInt8(ascii: "a"), count: count)
                #expect(reason(bytes) == nil)
                bytes[place] = 0
                #expect(reason(bytes) == .invalidUTF8)
                bytes[place] = 0xFF
                #expect(reason(bytes) == .invalidUTF8)
                bytes[place] = 0x01
                #expect(reason(bytes) == nil)
                bytes[place] = 0x7F
                #expect(reason(bytes) == nil)
            }
        }
    }

    @Test func validityComesBeforeLength() {
        #expect(reason([0x61, 0], limit: 1) == .invalidUTF8)
        #expect(reason(Array("é".utf8) + [0], limit: 100) == .invalidUTF8)
    }

    @Test func theSameAsTheStandardLibrary() {
        var random = SplitMix(seed: 5)
        let bytes: [UInt8] = [
            0x61, 0x7F, 0x80, 0xBF, 0xC1, 0xC2, 0xE0, 0xA0, 0xED, 0xF0, 0xF4, 0x90,
        ]
        for _ in 0..<50_000 {
            let input = (0..<Int.random(in: 1...6, using: &random)).map { _ in
                bytes.randomElement(using: &random) ?? 0
            }
            let isValid = String(validating: input, as: UTF8.self) != nil
            #expect((reason(input) == nil) == isValid, "\(input)")
        }
    }
}
