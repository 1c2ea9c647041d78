// Merging custom fields against a model, with what other programs store, and on broken texts.
// In: tables under Vectors, examples and seeded random input. Out: expectations, no side effects.
// Any thread; the suites run in parallel.

import Testing

@testable import Contacts

@Suite struct CustomFieldsMergeTests {
    private struct Merged: Equatable {
        var fields: String
        var kinds: String
        var differs: Bool
    }

    private func merge(
        _ stored: String, _ storedKinds: String, _ patch: String, _ patchKinds: String = ""
    ) -> Merged {
        var fields = sentinel
        var kinds = sentinel
        let differs = CustomFieldsMerge.merge(
            stored: Array(stored.utf8).span, storedKinds: Array(storedKinds.utf8).span,
            patch: Array(patch.utf8).span, patchKinds: Array(patchKinds.utf8).span,
            intoFields: &fields, kinds: &kinds)
        return Merged(
            fields: String(decoding: fields.dropFirst(3), as: UTF8.self),
            kinds: String(decoding: kinds.dropFirst(3), as: UTF8.self), differs: differs)
    }

    private func isEqual(
        _ stored: String, _ storedKinds: String, _ patch: String, _ patchKinds: String = ""
    ) -> Bool {
        CustomFieldsMerge.isEqual(
            stored: Array(stored.utf8).span, storedKinds: Array(storedKinds.utf8).span,
            patch: Array(patch.utf8).span, patchKinds: Array(patchKinds.utf8).span)
    }

    private func merge(_ stored: String, _ patch: String) -> Merged {
        merge(stored, "", patch, "")
    }

    private func isEqual(_ stored: String, _ patch: String) -> Bool {
        isEqual(stored, "", patch, "")
    }

    private func withoutNulls(_ patch: String) -> String {
        var fields = sentinel
        CustomFieldsMerge.withoutNulls(Array(patch.utf8).span, into: &fields)
        return String(decoding: fields.dropFirst(3), as: UTF8.self)
    }

    @Test func examples() {
        let same = { (text: String) in Merged(fields: text, kinds: "", differs: false) }
        let new = { (text: String) in Merged(fields: text, kinds: "", differs: true) }
        #expect(merge("{}", "{}") == same("{}"))
        #expect(merge("", "{}") == same("{}"))
        #expect(merge("{}", #"{"a": 1}"#) == new(#"{"a": 1}"#))
        #expect(merge(#"{"a": 1}"#, "{}") == same(#"{"a": 1}"#))
        #expect(merge(#"{"a": 1}"#, #"{"a": 1}"#) == same(#"{"a": 1}"#))
        #expect(merge(#"{"a": 1}"#, #"{"a": 1.0}"#) == new(#"{"a": 1.0}"#))
        #expect(merge(#"{"a": 1}"#, #"{"a": null}"#) == new("{}"))
        #expect(merge(#"{"a": 1}"#, #"{"b": null}"#) == same(#"{"a": 1}"#))
        #expect(
            merge(#"{"a": 1, "c": 3}"#, #"{"b": 2, "aa": 4}"#)
                == new(#"{"a": 1, "b": 2, "c": 3, "aa": 4}"#))
        #expect(merge(#"{"a": 1, "b": 2}"#, #"{"b": 2}"#) == same(#"{"a": 1, "b": 2}"#))
    }

    @Test func neighboursStayTogetherInJsonbsForm() {
        // Parted otherwise than jsonb does, then as it does, then by what comes between.
        #expect(
            merge(#"{"a":1 , "b": 2, "c": 3,"e": 4}"#, #"{"d": 5}"#).fields
                == #"{"a":1, "b": 2, "c": 3, "d": 5, "e": 4}"#)
        #expect(
            merge(#"{"a": 1, "b": 2, "c": 3}"#, #"{"a": 7, "b": null, "c": 8, "d": 9}"#).fields
                == #"{"a": 7, "c": 8, "d": 9}"#)
        #expect(
            merge(#"{"b": 1, "d": 2}"#, #"{"a": 3, "b": 1, "c": 4}"#).fields
                == #"{"a": 3, "b": 1, "c": 4, "d": 2}"#)
    }

    @Test func quotesAreFoundAtEveryPlace() {
        for count in 0...20 {
            let text = String(repeating: "x", count: count)
            for inside in [text, text + #"\""#, #"\""# + text, text + #"\u00e9"# + text] {
                let fields = #"{"a": "\#(inside)", "b": 1}"#
                #expect(
                    merge(fields, #"{"b": 2}"#).fields == #"{"a": "\#(inside)", "b": 2}"#)
            }
        }
    }

    @Test func namesAreComparedUnescaped() {
        // Unescaped, the tab's name is one byte long and comes first.
        #expect(
            merge(#"{"\t": 1, "aa": 2}"#, #"{"b": 3}"#).fields == #"{"\t": 1, "b": 3, "aa": 2}"#)
        #expect(merge(#"{"\"": 1}"#, #"{"\"": 1}"#).differs == false)
        #expect(merge(#"{"\u0041": 1}"#, #"{"A": 1, "AA": 2}"#).fields == #"{"A": 1, "AA": 2}"#)
    }

    @Test func whatOtherProgramsStored() {
        let stored = #"{"n": null, "o": {"x": ["}", {"y": "\"]"}]}, "e": 1e5, "zz": []}"#
        let sorted = #"{"e": 1e5, "n": null, "o": {"x": ["}", {"y": "\"]"}]}, "zz": []}"#
        #expect(
            merge(sorted, #"{"n": null}"#).fields == sorted.replacing(#", "n": null"#, with: ""))
        #expect(merge(sorted, #"{"n": null}"#).differs)
        #expect(
            merge(sorted, #"{"p": 1}"#).fields
                == sorted.replacing(#", "zz""#, with: #", "p": 1, "zz""#))
        // Not in jsonb's order, hence none of ours.
        #expect(
            merge(stored, #"{"p": 1}"#) == Merged(fields: #"{"p": 1}"#, kinds: "", differs: true))
    }

    @Test func kinds() {
        let time = #""2020-01-01T00:00:00.000000Z""#
        let fields = #"{"t": \#(time)}"#
        let kinds = #"{"t": "timestamp"}"#
        #expect(
            merge(fields, kinds, fields, kinds)
                == Merged(fields: fields, kinds: kinds, differs: false))
        #expect(merge(fields, kinds, fields) == Merged(fields: fields, kinds: "", differs: true))
        #expect(
            merge(fields, "", fields, kinds) == Merged(fields: fields, kinds: kinds, differs: true))
        #expect(
            merge(fields, kinds, #"{"a": 1}"#)
                == Merged(fields: #"{"a": 1, "t": \#(time)}"#, kinds: kinds, differs: true))
        #expect(
            merge(fields, kinds, #"{"t": null}"#) == Merged(fields: "{}", kinds: "", differs: true))
        // Another program removed the field, or put a number in its place: the kind means nothing.
        #expect(merge(#"{"a": 1}"#, kinds, #"{"b": 2}"#).kinds == "")
        #expect(
            merge(#"{"t": 1}"#, kinds, #"{"t": 1}"#)
                == Merged(fields: #"{"t": 1}"#, kinds: "", differs: false))
        #expect(
            merge(
                #"{"a": \#(time), "b": \#(time)}"#, #"{"b": "timestamp"}"#, #"{"c": \#(time)}"#,
                #"{"c": "timestamp"}"#
            ).kinds
                == #"{"b": "timestamp", "c": "timestamp"}"#)
        #expect(isEqual(fields, kinds, fields, kinds))
        #expect(!isEqual(fields, "", fields, kinds))
        #expect(!isEqual(fields, kinds, fields))
    }

    @Test func withoutNullsAndEquality() {
        #expect(withoutNulls("{}") == "{}")
        #expect(withoutNulls("") == "{}")
        #expect(withoutNulls(#"{"a": null}"#) == "{}")
        #expect(withoutNulls(#"{"a": "null", "b": null, "c": 1}"#) == #"{"a": "null", "c": 1}"#)
        #expect(isEqual("{}", #"{"a": null}"#))
        #expect(isEqual("", "{}"))
        #expect(isEqual(#"{"a": 1}"#, #"{"a": 1, "b": null}"#))
        #expect(!isEqual(#"{"a": 1, "b": null}"#, #"{"a": 1}"#))
        #expect(!isEqual(#"{"a": 1}"#, #"{"a": 2}"#))
        #expect(!isEqual(#"{"a": 1}"#, #"{"b": 1}"#))
        #expect(!isEqual("[]", "{}"))
    }

    @Test func brokenTextsAtEveryCut() {
        let whole = Array(
            #"{"a": "x\"\u00e9", "b": [1, {"c": "}"}], "d": -1.5e3, "\t\t": true}"#.utf8)
        #expect(merge(String(decoding: whole, as: UTF8.self), "{}").differs == false)
        for count in 1..<whole.count {
            let cut = String(decoding: whole.prefix(count), as: UTF8.self)
            let expected = Merged(fields: #"{"z": 1}"#, kinds: "", differs: true)
            #expect(merge(cut, #"{"z": 1}"#) == expected, "\(cut)")
            #expect(!isEqual(cut, #"{"z": 1}"#))
            _ = CustomFieldsReader.read(fields: Array(cut.utf8).span, kinds: Array(cut.utf8).span)
        }
        for text in ["null", "[]", "5", "{]", "{}}", #"{"a"}"#, #"{"a": }"#, #"{"a": 1,}"#, "x"] {
            #expect(merge(text, #"{"z": 1}"#).fields == #"{"z": 1}"#, "\(text)")
        }
    }

    @Test func randomBytesNeverTrap() {
        var random = SplitMix(seed: 9)
        let bytes = Array(#"{}[]":,\ntu019.-ae "#.utf8)
        for _ in 0..<50_000 {
            func text() -> [UInt8] {
                let count = Int.random(in: 0...12, using: &random)
                return [0x7B] + (0..<count).map { _ in bytes.randomElement(using: &random) ?? 0 }
            }
            let (stored, storedKinds) = (text(), text())
            let (patch, patchKinds) = (text(), text())
            var fields: [UInt8] = []
            var kinds: [UInt8] = []
            _ = CustomFieldsMerge.merge(
                stored: stored.span, storedKinds: storedKinds.span, patch: patch.span,
                patchKinds: patchKinds.span, intoFields: &fields, kinds: &kinds)
            _ = CustomFieldsReader.read(fields: stored.span, kinds: storedKinds.span)
        }
    }

    // MARK: - Against a model

    private typealias Model = [String: CustomField.Value]

    private func encode(_ model: Model) -> (patch: [UInt8], kinds: [UInt8]) {
        var encoder = CustomFieldsEncoder()
        for (name, value) in model {
            let fault = encoder.append(name: Array(name.utf8), value: value)
            #expect(fault == nil)
        }
        var patch: [UInt8] = []
        var kinds: [UInt8] = []
        encoder.finish(into: &patch, kinds: &kinds)
        return (patch, kinds)
    }

    @Test func asADictionaryDoes() {
        var random = SplitMix(seed: 6)
        let names = ["a", "b", "é", "\n", "\"", "aa", "a\t", "\\b", "long name", "名前"]
        let time = Timestamp(seconds: 0)
        let values: [CustomField.Value] = [
            .string(""), .string("1970-01-01T00:00:00.000000Z"), .timestamp(time), .integer(5),
            .number(5), .boolean(true), .null, .string("null"),
        ]
        func model() -> Model {
            var result: Model = [:]
            for name in names where Int.random(in: 0...2, using: &random) == 0 {
                result[name] = values.randomElement(using: &random) ?? .null
            }
            return result
        }
        for _ in 0..<5000 {
            let stored = model().filter { $0.value != .null }
            let patch = model()
            let expected = stored.merging(patch) { $1 }.filter { $0.value != .null }
            let old = encode(stored)
            let new = encode(patch)
            var fields: [UInt8] = []
            var kinds: [UInt8] = []
            let differs = CustomFieldsMerge.merge(
                stored: old.patch.span, storedKinds: old.kinds.span, patch: new.patch.span,
                patchKinds: new.kinds.span, intoFields: &fields, kinds: &kinds)
            let wanted = encode(expected)
            #expect(differs == (expected != stored))
            #expect(fields == wanted.patch)
            #expect(kinds == wanted.kinds)
            let read = CustomFieldsReader.read(fields: fields.span, kinds: kinds.span)
            #expect(Dictionary(uniqueKeysWithValues: read.map { ($0.name, $0.value) }) == expected)
            let isEqual = CustomFieldsMerge.isEqual(
                stored: old.patch.span, storedKinds: old.kinds.span, patch: new.patch.span,
                patchKinds: new.kinds.span)
            #expect(isEqual == (patch.filter { $0.value != .null } == stored))
        }
    }
}

extension CustomFieldsEncoder {
    mutating func append(name: [UInt8], value: CustomField.Value) -> RuleFault? {
        switch value {
        case .string(let text): appendString(name: name.span, value: Array(text.utf8).span)
        case .integer(let value): appendInteger(name: name.span, value: value)
        case .number(let value): appendNumber(name: name.span, value: value)
        case .boolean(let value): appendBoolean(name: name.span, value: value)
        case .timestamp(let time):
            appendTimestamp(name: name.span, seconds: time.seconds, nanos: time.nanoseconds)
        case .null: appendNull(name: name.span)
        }
    }
}
