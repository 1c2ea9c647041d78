import ContactsClient
import Testing

@testable import ContactsTool

@Suite struct NDJSONReaderTests {
    static func read(
        _ chunks: [[UInt8]], _ change: (inout ReadingOptions) -> Void = { _ in }
    ) throws -> [InputRecord] {
        var options = ReadingOptions()
        change(&options)
        var reader = ContactReader(name: "a.ndjson", options: options)
        var records: [InputRecord] = []
        for chunk in chunks {
            reader.append(chunk)
            try reader.read(upTo: .max, into: &records)
        }
        reader.finish()
        try reader.read(upTo: .max, into: &records)
        return records
    }

    static func contact(
        _ line: String, _ change: (inout ReadingOptions) -> Void = { _ in }
    ) throws -> Contact {
        let records = try read([Array(line.utf8)], change)
        return try #require(records.first).content.get()
    }

    @Test func readsEveryField() throws {
        let contact = try Self.contact(
            """
            {"email":"a@x.io","phone":16175551212,"externalId":"7","name":"Zo\\u00EB \\ud83d\\ude00",\
            "first_name":"Z","lastName":"","list_ids":[1,2],"id":"ignored","created_at":"now",\
            "fields":{"s":"t","i":9007199254740993,"n":5.0,"e":1e3,"b":true,"z":null,\
            "t":{"timestamp":"2024-01-01T00:00:00.000001Z"}}}
            """)
        #expect(
            contact
                == Contact(
                    email: "a@x.io", phone: "16175551212", externalID: "7", name: "Zoë 😀",
                    firstName: "Z", lastName: "", listIDs: [1, 2],
                    fields: [
                        CustomField("s", .string("t")),
                        CustomField("i", .integer(9_007_199_254_740_993)),
                        CustomField("n", .number(5)), CustomField("e", .number(1000)),
                        CustomField("b", .boolean(true)), CustomField("z", .null),
                        CustomField(
                            "t",
                            .timestamp(Timestamp(seconds: 1_704_067_200, nanoseconds: 1000))),
                    ]))
    }

    @Test(arguments: [Int64.min, -1, 0, 9_007_199_254_740_993, .max])
    func keepsIntegers(_ value: Int64) throws {
        #expect(try JSONText.parse(Array("\(value)".utf8)) == .integer(value))
    }

    @Test(arguments: [
        Double(0.1), -2.5e-300, .leastNonzeroMagnitude, 1.7976931348623157e308, 0.30000000000000004,
    ])
    func keepsDoubles(_ value: Double) throws {
        var writer = JSONWriter()
        writer.object { $0.set("n", value) }
        let expected = JSONValue.object([.init(key: "n", value: .number(value))])
        #expect(try JSONText.parse(writer.bytes) == expected)
    }

    @Test func keepsTexts() throws {
        let text = String(String.UnicodeScalarView((0..<0x300).compactMap { Unicode.Scalar($0) }))
        var writer = JSONWriter()
        writer.object { $0.set(text, text) }
        let expected = JSONValue.object([.init(key: text, value: .string(text))])
        #expect(try JSONText.parse(writer.bytes) == expected)
    }

    @Test(arguments: [
        ("", 0), ("{", 1), ("{\"a\":}", 5), ("{\"a\":1,}", 7), ("{a:1}", 1), ("[1 2]", 3),
        ("01", 1), ("1.", 2), ("-", 1), ("+1", 0), (".5", 0), ("1e", 2), ("NaN", 0), ("tru", 0),
        ("\"\\x\"", 2), ("\"\\u12g4\"", 3),
        ("\"\\ud800\"", 7), ("\"\\udc00\"", 7), ("\"a\tb\"", 2),
        ("\"abc", 4), ("{} x", 3), ("9223372036854775808", 0), ("1e999", 0),
        (String(repeating: "[", count: 17), 16),
    ])
    func saysWhereItIsWrong(_ text: String, _ offset: Int) {
        let fault = #expect(throws: JSONFault.self) { try JSONText.parse(Array(text.utf8)) }
        #expect(fault?.offset == offset)
    }

    @Test(arguments: [
        ("{\"email\":\"a@x.io\",\"emial\":1}", "KEY_UNKNOWN"), ("[]", "JSON_INVALID"),
        ("{\"email\":true}", "FIELD_INVALID"), ("{\"fields\":[]}", "FIELD_INVALID"),
        ("{\"fields\":{\"a\":[1]}}", "FIELD_INVALID"),
        ("{\"fields\":{\"a\":{\"timestamp\":\"x\"}}}", "FIELD_INVALID"),
        ("{\"list_ids\":[\"1\"]}", "FIELD_INVALID"), ("nonsense", "JSON_INVALID"),
    ])
    func refusesALineAlone(_ line: String, _ reason: String) throws {
        let records = try Self.read([Array("{}\n\(line)\n{}".utf8)])
        #expect(records.map(\.line) == [1, 2, 3])
        #expect(throws: Never.self) { try records[2].content.get() }
        let error = #expect(throws: RejectedRecord.self) { try records[1].content.get() }
        #expect(error?.rejection.reason == reason)
    }

    @Test func namesLineAndByte() throws {
        let records = try Self.read([Array("{}\n{\"email\" 1}\n".utf8)])
        let error = #expect(throws: RejectedRecord.self) { try records[1].content.get() }
        #expect(error?.rejection.message == "line 2, byte 10: a colon was expected")
    }

    @Test func unknownKeysAsAsked() throws {
        let line = "{\"email\":\"a@x.io\",\"plan\":\"pro\"}"
        #expect(
            try Self.contact(line) { $0.unknownKeys = .field }
                == Contact(email: "a@x.io", fields: [CustomField("plan", .string("pro"))]))
        #expect(try Self.contact(line) { $0.unknownKeys = .ignore } == Contact(email: "a@x.io"))
    }

    @Test func nullLeavesUnlessAskedToClear() throws {
        let line = "{\"email\":\"a@x.io\",\"phone\":null}"
        #expect(try Self.contact(line) == Contact(email: "a@x.io"))
        let cleared = try Self.contact(line) { $0.mapping.emptyClears = true }
        #expect(cleared == Contact(email: "a@x.io", phone: ""))
    }

    @Test func isTheSameWhereverItIsCut() throws {
        let text = "\u{FEFF}{\"email\":\"ä@x.io\"}\r\n\n  \n{\"email\":1,}\n{\"email\":\"b\"}"
        let file = Array(text.utf8)
        for chunks in everyCut(file) {
            let records = try Self.read(chunks)
            #expect(records.map(\.line) == [1, 4, 5])
            #expect(records.map { (try? $0.content.get())?.email } == ["ä@x.io", nil, "b"])
            #expect(records[0].bytes == Array("{\"email\":\"ä@x.io\"}\r\n".utf8))
        }
    }

    @Test func refusesForeignBytesAlone() throws {
        let rest = "\"}\n{\"name\":\"\0\"}\n{}"
        let file = Array("{}\n{\"name\":\"".utf8) + [0xE9] + Array(rest.utf8)
        let records = try Self.read([file])
        #expect(records.count == 4)
        let error = #expect(throws: RejectedRecord.self) { try records[1].content.get() }
        #expect(error?.rejection.reason == "INVALID_UTF8")
        #expect(throws: RejectedRecord.self) { try records[2].content.get() }
    }

    @Test func anOverlongLineIsCut() throws {
        var reader = NDJSONReader(recordLimit: 10)
        reader.append(Array("{\"a\":1}\n{\"a\":1234567890}\n{}\n".utf8))
        reader.finish()
        #expect(try reader.next()?.isCut == false)
        let cut = try #require(try reader.next())
        #expect(cut.isCut && cut.bytes == Array("{\"a\":12345".utf8))
        #expect(try reader.next()?.line == 3)
        #expect(try reader.next()?.line == nil)
    }

    @Test func namesAnArray() {
        #expect(throws: FormatError.self) { try Self.read([Array("[{}]\n".utf8)]) }
    }

    @Test(arguments: [
        ("a.CSV", "{", FileFormat.csv), ("a.jsonl", "x", .ndjson),
        ("-", "\u{FEFF} \n{\"a\"", .ndjson),
        ("-", "email,name", .csv),
    ])
    func findsTheFormat(_ name: String, _ beginning: String, _ format: FileFormat) {
        #expect(FileFormat.detect(name: name, beginning: beginning.utf8) == format)
    }
}
