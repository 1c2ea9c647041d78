// The rule for emails against its table of vectors, at its limits and on random input.
// In: tables under Vectors, examples and seeded random input. Out: expectations, no side effects.
// Any thread; the suites run in parallel.

import Testing

@testable import Contacts

@Suite struct EmailRuleTests {
    private func normalize(_ bytes: [UInt8]) -> (bytes: [UInt8], fault: RuleFault?) {
        var output = sentinel
        let fault = EmailRule.normalize(bytes.span, into: &output)
        #expect(output.starts(with: sentinel))
        return (Array(output.dropFirst(sentinel.count)), fault)
    }

    @Test func vectors() throws {
        let rows = try VectorFile("email").rows
        #expect(rows.count >= 250)
        for row in rows {
            let input = try VectorFile.bytes(row[0])
            let (output, fault) = normalize(input)
            if let reason = Reason(rawValue: row[1]) {
                #expect(fault?.reason == reason, "\(row)")
                #expect(output.isEmpty, "\(row)")
            } else {
                let expected = try VectorFile.bytes(row[1])
                #expect(fault == nil, "\(row)")
                #expect(output == expected, "\(row)")
                #expect(normalize(output).bytes == output, "not stable: \(row)")
            }
        }
    }

    @Test func theSlowPathAgreesWithTheFastOne() throws {
        for row in try VectorFile("email").rows {
            let input = try VectorFile.bytes(row[0])
            var output: [UInt8] = []
            let fault = EmailRule.normalizeSlowly(input.span, into: &output)
            let fast = normalize(input)
            #expect(fault == fast.fault, "\(row)")
            #expect(output == fast.bytes, "\(row)")
        }
    }

    @Test func randomASCIIIsTheSameOnBothPaths() {
        var random = SplitMix(seed: 7)
        let alphabet = Array("aZ09.-_+@@@@.... !\"(\t".utf8)
        for _ in 0..<50_000 {
            let count = Int(random.next() % 14)
            var input = (0..<count).map { _ in alphabet[Int(random.next() % UInt64(alphabet.count))]
            }
            if random.next() % 2 == 0 { input += Array("x@y.zz".utf8) }
            let fast = normalize(input)
            var output: [UInt8] = []
            let fault = EmailRule.normalizeSlowly(input.span, into: &output)
            #expect(fault == fast.fault && output == fast.bytes, "\(input)")
        }
    }

    @Test func randomBytesNeverTrapAndResultsAreStable() {
        var random = SplitMix(seed: 8)
        let pieces: [[UInt8]] =
            ["a", "Σ", "İ", "J\u{30C}", "@", ".", "é", "\u{301}", "\u{200D}", "中", " ", "-"]
            .map { Array($0.utf8) } + [[0xFF], [0xC3], [0x80], [0]]
        for _ in 0..<20_000 {
            let count = Int(random.next() % 10)
            var input: [UInt8] = []
            for _ in 0..<count { input += pieces[Int(random.next() % UInt64(pieces.count))] }
            input += Array("b@c.de".utf8)
            let (output, fault) = normalize(input)
            if fault == nil { #expect(normalize(output).bytes == output, "\(input)") }
        }
    }

    @Test func messagesDoNotHoldTheValue() throws {
        for row in try VectorFile("email").rows {
            let input = try VectorFile.bytes(row[0])
            guard let fault = normalize(input).fault, input.count > 8 else { continue }
            let text = String(decoding: input, as: UTF8.self)
            #expect(!fault.message.contains(text))
            #expect(!fault.message.isEmpty)
        }
    }

    @Test func wrapperForTexts() {
        #expect(EmailRule.normalize(" Ann@Example.COM") == .success("ann@example.com"))
        #expect(
            EmailRule.normalize("ann") == .failure(RuleFault(.emailInvalid, "has no @")))
    }

    @Test(arguments: ["", " ", "\u{3000}\u{A0}\t"]) func blank(_ text: String) {
        let bytes = Array(text.utf8)
        let answers = [EmailRule.isBlank(bytes.span), PhoneRule.isBlank(bytes.span)]
        #expect(answers == [true, true])
    }

    @Test(
        arguments: [[0x61], [0x20, 0x61], [0xFF], [0], [0x20, 0xC2], [0xEF, 0xBB, 0xBF]]
            as [[UInt8]])
    func notBlank(_ bytes: [UInt8]) {
        let isBlank = EmailRule.isBlank(bytes.span)
        #expect(!isBlank)
    }

    @Test func punycodeLengths() throws {
        // RFC 3492 section 7.1, without the letters' case, and the IDN of Munich.
        let samples: [(String, String)] = [
            ("ليهمابتكلموشعربي؟", "egbpdaj6bu4bxfgehfvwxn"),
            ("他们为什么不说中文", "ihqwcrb4cv8a8dqg056pqjye"),
            ("他們爲什麽不說中文", "ihqwctvzc91f659drss3x8bo0yb"), ("münchen", "mnchen-3ya"),
            ("pročprostěnemluvíčesky", "proprostnemluvesky-uyb24dma41a"),
            ("3年b組金八先生", "3b-ww4c5e180e575a65lsy2b"),
            ("maji\u{3067}koiする5秒前", "majikoi5-783gue6qz075azm5e"),
        ]
        for (text, encoded) in samples {
            let label = Array(text.unicodeScalars)[...]
            #expect(Punycode.aLabelBytes(label) == 4 + encoded.utf8.count, "\(text)")
        }
    }
}

/// A small generator with a seed (Steele, Lea, Flood: SplitMix64).
struct SplitMix: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}
