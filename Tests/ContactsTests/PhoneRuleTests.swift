// The rule for phone numbers against its table of vectors and on random input, and the dial codes.
// In: tables under Vectors, examples and seeded random input. Out: expectations, no side effects.
// Any thread; the suites run in parallel.

import Testing

@testable import Contacts

@Suite struct PhoneRuleTests {
    private func normalize(
        _ bytes: [UInt8], _ code: DialCode?
    ) -> (bytes: [UInt8], fault: RuleFault?) {
        var output = sentinel
        let fault = PhoneRule.normalize(bytes.span, defaultDialCode: code, into: &output)
        #expect(output.starts(with: sentinel))
        return (Array(output.dropFirst(sentinel.count)), fault)
    }

    @Test func vectors() throws {
        let rows = try VectorFile("phone").rows
        #expect(rows.count >= 250)
        for row in rows {
            let input = try VectorFile.bytes(row[0])
            let code = PhoneRule.dialCode(row[1])
            #expect((code == nil) == row[1].isEmpty, "\(row)")
            let (output, fault) = normalize(input, code)
            if let reason = Reason(rawValue: row[2]) {
                #expect(fault?.reason == reason, "\(row)")
                #expect(output.isEmpty, "\(row)")
            } else {
                #expect(fault == nil, "\(row)")
                #expect(String(decoding: output, as: UTF8.self) == row[2], "\(row)")
                #expect(normalize(output, code).bytes == output, "not stable: \(row)")
            }
        }
    }

    @Test func allInternationalNumbersStayAsTheyAre() {
        var random = SplitMix(seed: 3)
        let codes = [nil] + ["1", "44", "49", "7", "39", "36"].map { PhoneRule.dialCode($0) }
        for _ in 0..<20_000 {
            let count = Int.random(in: 8...15, using: &random)
            var number = Array("+".utf8) + [UInt8.random(in: 0x31...0x39, using: &random)]
            while number.count <= count {
                number.append(UInt8.random(in: 0x30...0x39, using: &random))
            }
            let code = codes.randomElement(using: &random) ?? nil
            #expect(normalize(number, code).bytes == number)
        }
    }

    @Test func randomBytesNeverTrap() {
        var random = SplitMix(seed: 4)
        let pieces: [[UInt8]] =
            ["0", "1", "44", "+", "(", ")", "(0)", " ", "-", "００", "＋", "\u{A0}", "x", "8", "6"]
            .map { Array($0.utf8) } + [[0xFF], [0xC2], [0xE2, 0x80], [0], [0xF0, 0x9F]]
        let codes = [nil] + ["1", "44", "375", "7", "39", "36"].map { PhoneRule.dialCode($0) }
        for _ in 0..<50_000 {
            var input: [UInt8] = []
            for _ in 0..<Int.random(in: 0...16, using: &random) {
                input += pieces.randomElement(using: &random) ?? []
            }
            let (output, fault) = normalize(input, codes.randomElement(using: &random) ?? nil)
            #expect((fault == nil) == (9...16).contains(output.count))
        }
    }

    @Test func dialCodes() {
        for code in ["1", "7", "20", "44", "49", "358", "383", "998", "979", "247", "379"] {
            #expect(PhoneRule.dialCode(code) != nil, "\(code)")
        }
        for code in [
            "", "0", "01", "044", "001", "+1", " 1", "1 ", "٤٤", "4", "999", "210", "1242",
        ] {
            #expect(PhoneRule.dialCode(code) == nil, "\(code)")
        }
        let known = (1...999).filter { PhoneRule.dialCode(String($0)) != nil }
        #expect(known.count == 216)
        // E.164 codes are prefix-free.
        for code in known where code >= 10 {
            #expect(!known.contains(code / 10))
            #expect(code < 100 || !known.contains(code / 100))
        }
    }

    @Test func messagesDoNotHoldTheValue() throws {
        for row in try VectorFile("phone").rows {
            let input = try VectorFile.bytes(row[0])
            guard let fault = normalize(input, nil).fault, input.count > 8 else { continue }
            #expect(!fault.message.contains(String(decoding: input, as: UTF8.self)))
        }
    }

    @Test func wrapperForTexts() {
        let us = PhoneRule.dialCode("1")
        #expect(
            PhoneRule.normalize("(617) 555-1212", defaultDialCode: us) == .success("+16175551212"))
        #expect(
            PhoneRule.normalize(" ", defaultDialCode: us)
                == .failure(RuleFault(.phoneInvalid, "is only white space")))
    }
}
