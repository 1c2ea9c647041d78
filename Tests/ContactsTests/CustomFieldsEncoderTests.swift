// The JSON of custom fields against what PostgreSQL 15 printed, and at its limits.
// In: tables under Vectors, examples and seeded random input. Out: expectations, no side effects.
// Any thread; the suites run in parallel.

import Foundation
import Testing

@testable import Contacts

@Suite struct CustomFieldsEncoderTests {
    /// A name.
    private let a: [UInt8] = [0x61]

    /// One field of a row in jsonb.tsv.
    private func append(
        _ field: [Any], to encoder: inout CustomFieldsEncoder
    ) throws -> RuleFault? {
        let kind = try #require(field[0] as? String)
        let nameText = try #require(field[1] as? String)
        let name = Array(nameText.utf8)
        let text = field.count > 2 ? field[2] as? String ?? "" : ""
        switch kind {
        case "s":
            return encoder.appendString(name: name.span, value: Array(text.utf8).span)
        case "i":
            let value = try #require(Int64(text))
            return encoder.appendInteger(name: name.span, value: value)
        case "d":
            let bits = try #require(UInt64(text, radix: 16))
            return encoder.appendNumber(name: name.span, value: Double(bitPattern: bits))
        case "b":
            let value = try #require(field[2] as? Bool)
            return encoder.appendBoolean(name: name.span, value: value)
        case "t":
            let seconds = try #require(Int64(text))
            let nanosText = try #require(field[3] as? String)
            let nanos = try #require(Int32(nanosText))
            return encoder.appendTimestamp(name: name.span, seconds: seconds, nanos: nanos)
        default:
            return encoder.appendNull(name: name.span)
        }
    }

    private func finish(_ encoder: CustomFieldsEncoder) -> (patch: String, kinds: String) {
        var patch = sentinel
        var kinds = sentinel
        encoder.finish(into: &patch, kinds: &kinds)
        return (
            String(decoding: patch.dropFirst(3), as: UTF8.self),
            String(decoding: kinds.dropFirst(3), as: UTF8.self)
        )
    }

    @Test func wholeNumbersAreWrittenAtEachLength() {
        var values: [Int64] = [.min, .min + 1, -1, 0, 1, .max - 1, .max]
        for power in sequence(first: Int64(10), next: { $0 > .max / 10 ? nil : $0 * 10 }) {
            values += [power - 1, power, power + 1, 1 - power, -power, -1 - power]
        }
        for value in values {
            var bytes: [UInt8] = sentinel
            JSONText.append(integer: value, to: &bytes)
            #expect(String(decoding: bytes.dropFirst(3), as: UTF8.self) == String(value))
        }
    }

    @Test func fewDecimalsAreWrittenAsTheyAre() {
        for decimals in 0...6 {
            for whole in [0, 1, 9, 10, 999_999_999] {
                for sign in ["", "-"] {
                    let behind =
                        decimals == 0 ? "0" : String(repeating: "0", count: decimals - 1) + "7"
                    let text = "\(sign)\(whole).\(behind)"
                    guard let value = Double(text) else { continue }
                    var bytes: [UInt8] = sentinel
                    JSONText.append(number: value, to: &bytes)
                    let expected = value == 0 ? "0.0" : text
                    #expect(String(decoding: bytes.dropFirst(3), as: UTF8.self) == expected)
                }
            }
        }
    }

    @Test func writesWhatPostgreSQLPrints() throws {
        var encoder = CustomFieldsEncoder()
        let rows = try VectorFile("jsonb").rows
        #expect(rows.count > 250)
        for row in rows {
            encoder.reset()
            let parsed = try JSONSerialization.jsonObject(with: Data(row[0].utf8))
            let fields = try #require(parsed as? [[Any]])
            for field in fields {
                let fault = try append(field, to: &encoder)
                #expect(fault == nil)
            }
            let (patch, kinds) = finish(encoder)
            #expect(Array(patch.utf8) == Array(row[1].utf8))
            #expect(Array(kinds.utf8) == Array(row[2].utf8))
            #expect(encoder.hasKinds == !row[2].isEmpty)
            #expect(encoder.isEmpty == (row[1] == "{}"))
        }
    }

    @Test func doublesReadBackTheSame() throws {
        var random = SplitMix(seed: 1)
        for _ in 0..<50_000 {
            let value =
                Bool.random(using: &random)
                ? Double(bitPattern: random.next())
                : Double(Int64.random(in: -1_000_000_000...1_000_000_000, using: &random)) / 1000
            if !value.isFinite { continue }
            var bytes: [UInt8] = []
            JSONText.append(number: value, to: &bytes)
            let text = String(decoding: bytes, as: UTF8.self)
            let back = try #require(Double(text))
            #expect(back.bitPattern == (value == 0 ? 0 : value.bitPattern), "\(text)")
            #expect(text.contains(".") && !text.contains("e") && !text.hasSuffix("."))
            // As few digits as Swift's own shortest form.
            #expect(digits(text) == digits(value.description), "\(text) \(value)")
        }
    }

    /// The significant digits of a number.
    private func digits(_ text: String) -> String {
        let mantissa = text.prefix { $0 != "e" }.filter { $0.isNumber }
        let front = mantissa.drop { $0 == "0" }
        return String(front.reversed().drop { $0 == "0" }.reversed())
    }

    @Test(arguments: [Double.nan, .signalingNaN, .infinity, -.infinity])
    func notFinite(_ value: Double) {
        var encoder = CustomFieldsEncoder()
        let fault = encoder.appendNumber(name: a.span, value: value)
        #expect(fault?.reason == .fieldInvalid)
        #expect(encoder.isEmpty)
    }

    @Test func names() {
        var encoder = CustomFieldsEncoder()
        func reason(_ name: [UInt8]) -> Reason? {
            encoder.appendNull(name: name.span)?.reason
        }
        #expect(reason([]) == .fieldInvalid)
        #expect(reason(Array(repeating: 0x61, count: 150)) == nil)
        #expect(reason(Array(repeating: 0x61, count: 151)) == .fieldInvalid)
        #expect(reason([0x61, 0]) == .invalidUTF8)
        #expect(reason([0xFF]) == .invalidUTF8)
        #expect(reason(Array(repeating: 0xFF, count: 151)) == .invalidUTF8)
        #expect(reason([0x61]) == nil)
        #expect(encoder.hasNulls)
        let missing = encoder.appendMissing(name: a.span)
        #expect(missing?.reason == .fieldInvalid)
        let broken = encoder.appendMissing(name: [0].span)
        #expect(broken?.reason == .invalidUTF8)
    }

    @Test func values() {
        var encoder = CustomFieldsEncoder()
        let answers = [[], [0xC3], [0]].map { value in
            encoder.appendString(name: a.span, value: value.span)?.reason
        }
        #expect(answers == [nil, .invalidUTF8, .invalidUTF8])
        #expect(finish(encoder) == (#"{"a": ""}"#, ""))
    }

    @Test func atMost300Fields() {
        var encoder = CustomFieldsEncoder()
        for _ in 0..<2 {
            encoder.reset()
            for index in 0..<300 {
                let name = Array("f\(index % 299)".utf8)
                let fault = encoder.appendBoolean(name: name.span, value: true)
                #expect(fault == nil)
            }
            let fault = encoder.appendBoolean(name: a.span, value: true)
            #expect(fault?.reason == .fieldInvalid)
        }
    }

    @Test func theLastOfANameStands() {
        var encoder = CustomFieldsEncoder()
        _ = encoder.appendNull(name: a.span)
        _ = encoder.appendTimestamp(name: a.span, seconds: 0, nanos: 0)
        #expect(!encoder.hasNulls && encoder.hasKinds)
        _ = encoder.appendInteger(name: a.span, value: 1)
        #expect(!encoder.hasNulls && !encoder.hasKinds)
        #expect(finish(encoder) == (#"{"a": 1}"#, ""))
        _ = encoder.appendNull(name: a.span)
        #expect(encoder.hasNulls && !encoder.isEmpty)
        encoder.reset()
        #expect(!encoder.hasNulls && encoder.isEmpty)
        #expect(finish(encoder) == ("{}", ""))
    }

    @Test func timestampLimits() {
        func reason(_ seconds: Int64, _ nanos: Int32) -> Reason? {
            var encoder = CustomFieldsEncoder()
            return encoder.appendTimestamp(name: a.span, seconds: seconds, nanos: nanos)?
                .reason
        }
        #expect(reason(-62_135_596_800, 0) == nil)
        #expect(reason(-62_135_596_801, 0) == .fieldInvalid)
        #expect(reason(-62_135_596_801, 999_999_999) == .fieldInvalid)
        #expect(reason(253_402_300_799, 999_999_999) == nil)
        #expect(reason(253_402_300_800, 0) == .fieldInvalid)
        #expect(reason(0, -1) == .fieldInvalid)
        #expect(reason(0, 1_000_000_000) == .fieldInvalid)
        #expect(reason(.max, 0) == .fieldInvalid)
        #expect(reason(.min, .min) == .fieldInvalid)
    }

    @Test func timestampsReadBackTheSame() {
        var random = SplitMix(seed: 2)
        for _ in 0..<50_000 {
            let seconds = Int64.random(in: TimestampText.seconds, using: &random)
            let micros = Int32.random(in: 0...999_999, using: &random)
            var bytes: [UInt8] = []
            TimestampText.append(seconds: seconds, nanos: micros * 1000 + 999, to: &bytes)
            let read = TimestampText.parse(bytes.span.extracting(1..<bytes.count - 1))
            #expect(read == Timestamp(seconds: seconds, nanoseconds: micros * 1000))
        }
    }
}
