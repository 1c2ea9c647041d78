// Contacts to the bytes of an export, and those read back by the import's reader.
// Texts are compared by their bytes: to Swift, "é" in one scalar and in two are the same.

import ContactsClient
import Testing

@testable import ContactsTool

@Suite struct ContactWriterTests {
    static func file(
        _ contacts: [Contact], _ format: FileFormat, writesIDs: Bool = false
    ) -> [UInt8] {
        var writer = ContactWriter(format: format, writesIDs: writesIDs)
        for contact in contacts { writer.append(contact) }
        return writer.bytes
    }

    static func read(
        _ file: [UInt8], _ format: FileFormat, matchBy: MatchBy = .email
    ) throws -> [Contact] {
        var options = ReadingOptions()
        // The format is found out, as it is when the export is piped into the import.
        options.mapping.matchBy = matchBy
        var reader = ContactReader(name: "-", options: options)
        reader.append(file)
        reader.finish()
        var records: [InputRecord] = []
        try reader.read(upTo: .max, into: &records)
        #expect(reader.format == format || file.isEmpty)
        return try records.map { try $0.content.get() }
    }

    /// What stands on the wire.
    static func wire(_ contact: Contact) -> [UInt8] {
        var encoder = RequestEncoder()
        encoder.append(contact)
        return encoder.bytes
    }

    @Test func theColumns() {
        let contact = Contact(
            email: "a@x.io", id: "7", name: "Ann, \"A\"", lastName: " x", listIDs: [3],
            fields: [
                CustomField("n", .number(5)), CustomField("i", .integer(5)),
                CustomField("s", .string("5\n")), CustomField("b", .boolean(true)),
                CustomField("t", .timestamp(Timestamp(seconds: 0, nanoseconds: 1000))),
            ])
        let fields =
            "{\"n\":5.0,\"i\":5,\"s\":\"5\\n\",\"b\":true,"
            + "\"t\":{\"timestamp\":\"1970-01-01T00:00:00.000001Z\"}}"
        let cell = fields.map { $0 == "\"" ? "\"\"" : String($0) }.joined()
        let row = "a@x.io,,,\"Ann, \"\"A\"\"\",,\" x\",\"\(cell)\"\n"
        let header = "email,phone,external_id,name,first_name,last_name,fields\n"
        let empty = ",,,,,,\n"
        #expect(
            Self.text(Self.file([contact, Contact()], .csv)) == header + row + empty)
        #expect(
            Self.text(Self.file([contact], .csv, writesIDs: true)) == "id,\(header)7,\(row)")
        #expect(
            Self.text(Self.file([contact, Contact()], .ndjson))
                == "{\"email\":\"a@x.io\",\"name\":\"Ann, \\\"A\\\"\",\"last_name\":\" x\","
                + "\"fields\":\(fields)}\n{}\n")
        #expect(
            Self.text(Self.file([Contact(email: "a@x.io", id: "7")], .ndjson, writesIDs: true))
                == "{\"id\":\"7\",\"email\":\"a@x.io\"}\n")
    }

    private static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

    @Test(arguments: FileFormat.allCases)
    func anExportOfNothingIsRead(_ format: FileFormat) throws {
        #expect(try Self.read(Self.file([], .csv), .csv) == [])
        #expect(Self.file([], .ndjson) == [])
    }

    @Test(arguments: FileFormat.allCases, 0..<40)
    func whatIsWrittenIsReadBack(_ format: FileFormat, _ seed: Int) throws {
        var random = SplitMix64(seed: UInt64(seed))
        let contacts = (0..<100).map { _ in NastyContacts.contact(&random) }
        let file = Self.file(contacts, format)
        let found = try Self.read(file, format)
        #expect(found.count == contacts.count)
        for (found, contact) in zip(found, contacts) {
            #expect(Self.wire(found) == Self.wire(contact), "seed \(seed)")
        }
        #expect(Self.file(found, format) == file, "seed \(seed)")
    }

    @Test(arguments: FileFormat.allCases)
    func idsAreReadBackWhenTheyMatch(_ format: FileFormat) throws {
        var random = SplitMix64(seed: 5)
        let contacts = (0..<100).map { number in
            var contact = NastyContacts.contact(&random)
            contact.id = "0190163d-8694-739b-aea5-966c26f8a\(100 + number)"
            return contact
        }
        let file = Self.file(contacts, format, writesIDs: true)
        #expect(try Self.read(file, format, matchBy: .id).map(Self.wire) == contacts.map(Self.wire))
        let without = contacts.map { contact in
            var contact = contact
            contact.id = nil
            return contact
        }
        #expect(try Self.read(file, format).map(Self.wire) == without.map(Self.wire))
    }

    /// Each value whose text would be lost or be taken for another in one of the formats.
    @Test(arguments: FileFormat.allCases)
    func everyNastyValue(_ format: FileFormat) throws {
        for value in NastyContacts.values {
            for name in NastyContacts.names {
                let contact = Contact(email: "a@x.io", fields: [CustomField(name, value)])
                let found = try Self.read(Self.file([contact], format), format)
                #expect(found.map(Self.wire) == [Self.wire(contact)])
            }
        }
        for text in NastyContacts.texts where !text.isEmpty {
            let contact = Contact(
                email: text, phone: text, externalID: text, name: text, firstName: text,
                lastName: text)
            let found = try Self.read(Self.file([contact], format), format)
            #expect(found.map(Self.wire) == [Self.wire(contact)])
        }
    }
}

/// Contacts that are hard to write down.
enum NastyContacts {
    static let texts = [
        "", " ", "\t", "  \t ", " a ", "\"", "\"\"", "\"a\",\"b\"", "a,b", ",", ";", "|",
        "a;b\tc|d",
        "\n", "\r", "\r\n", "a\nb", "a\r\nb\n", "\nemail,phone\n", "{", "[", "#", "=1+1", "\\",
        "\\n",
        "\\\"", "\u{1}\u{1F}\u{7F}", "null", "true", "5", "5.0", "1e3", "2024-01-31T09:30:00Z",
        "\u{FEFF}", "e\u{301}", "é", "\u{1F418}", "\u{2028}\u{85}\u{A0}", "sep=;", "'",
        String(repeating: "\"\n,", count: 400),
    ]

    static let names = [
        "email", "phone", "id", "fields", "list_ids", "created_at", "age:integer", "a:timestamp",
        "timestamp", " ", " a ", "a,b", "\"", "\n", "\\", "\u{1}", "e\u{301}", "é", "\u{1F418}",
        String(repeating: "n", count: 150),
    ]

    static let values: [CustomField.Value] =
        texts.map { .string($0) }
        + [
            .integer(5), .integer(0), .integer(.min), .integer(.max),
            .integer(9_007_199_254_740_993), .number(5), .number(0), .number(-0.0), .number(0.1),
            .number(0.30000000000000004), .number(1e22), .number(1e23), .number(1e300),
            .number(.leastNonzeroMagnitude), .number(.greatestFiniteMagnitude),
            .number(-2.2250738585072014e-308), .boolean(true),
            .boolean(false), .timestamp(Timestamp(seconds: 0)),
            .timestamp(Timestamp(seconds: -62_135_596_800)),
            .timestamp(Timestamp(seconds: 253_402_300_799, nanoseconds: 999_999_000)),
            .timestamp(Timestamp(seconds: -1, nanoseconds: 500_000_000)),
        ]

    static func contact(_ random: inout SplitMix64) -> Contact {
        var contact = Contact()
        contact.email = standard(&random)
        contact.phone = standard(&random)
        contact.externalID = standard(&random)
        contact.name = standard(&random)
        contact.firstName = standard(&random)
        contact.lastName = standard(&random)
        for _ in 0..<random.below(6) {
            contact.fields.append(CustomField(name(&random), value(&random)))
        }
        return contact
    }

    /// A standard text is absent or not empty: the server keeps no empty ones.
    private static func standard(_ random: inout SplitMix64) -> String? {
        let text = text(&random)
        return text.isEmpty ? nil : text
    }

    private static func name(_ random: inout SplitMix64) -> String {
        let text = random.chance(0.5) ? random.pick(names) : text(&random)
        return text.isEmpty ? "x" : text
    }

    private static func text(_ random: inout SplitMix64) -> String {
        if random.chance(0.4) { return random.pick(texts) }
        let scalars = Array("a\" ,;\\\n\r\té\u{1}{}:'".unicodeScalars)
        var text = ""
        for _ in 0..<random.below(12) { text.unicodeScalars.append(random.pick(scalars)) }
        return text
    }

    private static func value(_ random: inout SplitMix64) -> CustomField.Value {
        switch random.below(6) {
        case 0: return .integer(Int64(truncatingIfNeeded: random.next()))
        case 1:
            let number = Double(bitPattern: random.next())
            return .number(number.isFinite ? number : 5)
        case 2:
            let seconds = Int64(random.next() % 315_537_897_600) - 62_135_596_800
            let micros = Int32(random.below(1_000_000))
            return .timestamp(Timestamp(seconds: seconds, nanoseconds: micros * 1000))
        case 3: return .string(text(&random))
        default: return random.pick(values)
        }
    }
}
