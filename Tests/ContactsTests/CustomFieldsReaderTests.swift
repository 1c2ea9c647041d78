// Reading custom fields back, ours and other programs'.
// In: tables under Vectors, examples and seeded random input. Out: expectations, no side effects.
// Any thread; the suites run in parallel.

import Testing

@testable import Contacts

@Suite struct CustomFieldsReaderTests {
    private func read(_ fields: String, _ kinds: String = "") -> [CustomField] {
        CustomFieldsReader.read(fields: Array(fields.utf8).span, kinds: Array(kinds.utf8).span)
    }

    private func value(_ token: String, _ kinds: String = "") -> CustomField.Value? {
        read(#"{"a": \#(token)}"#, kinds).first?.value
    }

    @Test func kinds() {
        #expect(read("{}").isEmpty)
        #expect(read("").isEmpty)
        #expect(value(#""x""#) == .string("x"))
        #expect(value(#""""#) == .string(""))
        #expect(value("5") == .integer(5))
        #expect(value("-5") == .integer(-5))
        #expect(value("9223372036854775807") == .integer(.max))
        #expect(value("-9223372036854775808") == .integer(.min))
        #expect(value("5.0") == .number(5))
        #expect(value("-0.25") == .number(-0.25))
        #expect(value("true") == .boolean(true))
        #expect(value("false") == .boolean(false))
    }

    @Test func timestamps() {
        let kinds = #"{"a": "timestamp"}"#
        let time = #""2000-02-29T23:59:59.123456Z""#
        let expected = Timestamp(seconds: 951_868_799, nanoseconds: 123_456_000)
        #expect(value(time, kinds) == .timestamp(expected))
        #expect(value(time) == .string("2000-02-29T23:59:59.123456Z"))
        for text in [
            "2001-02-29T00:00:00.000000Z", "2000-13-01T00:00:00.000000Z",
            "2000-01-01T24:00:00.000000Z", "2000-01-01T00:60:00.000000Z",
            "0000-01-01T00:00:00.000000Z",
            "2000-01-01T00:00:00Z", "2000-01-01 00:00:00.000000Z", "tomorrow", "",
            "2000-00-01T00:00:00.000000Z", "2000-01-00T00:00:00.000000Z",
            "2000-01-01T00:00:60.000000Z",
        ] {
            #expect(value(#""\#(text)""#, kinds) == .string(text))
        }
        #expect(value("7", kinds) == .integer(7))
    }

    @Test func whatOtherProgramsStored() {
        #expect(value("null") == .null)
        #expect(value(#"{"x": [1, null]}"#) == .string(#"{"x": [1, null]}"#))
        #expect(value("[]") == .string("[]"))
        #expect(value("9223372036854775808") == .number(9_223_372_036_854_775_808))
        #expect(value("1e5") == .number(100_000))
        #expect(
            value("1" + String(repeating: "0", count: 400))
                == .string("1" + String(repeating: "0", count: 400)))
    }

    @Test func escapes() {
        #expect(
            value(#""\"\\\/\b\f\n\r\t\u00e9\uD83D\uDE00""#) == .string("\"\\/\u{8}\u{C}\n\r\té😀"))
        #expect(value(#""\ud83d\u0041""#) == .string("\u{FFFD}A"))
        #expect(value(#""\ude00\ud83d\ux\q""#) == .string("\u{FFFD}\u{FFFD}\u{FFFD}x\u{FFFD}"))
        #expect(read(#"{"\n": 1}"#) == [CustomField("\n", .integer(1))])
    }
}
