// How far an import is, written down and read again; files that were changed or torn meanwhile.

import ContactsClient
import Foundation
import Testing

@testable import ContactsTool

@Suite struct SavedImportTests {
    private let folder = FileManager.default.temporaryDirectory
        .appendingPathComponent("contacts-state-\(UUID().uuidString)")

    init() throws {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }

    private static var state: SavedImport {
        var state = SavedImport(
            importID: "an \"id\"",
            file: FileIdentity(
                byteCount: 1 << 40, modified: 1_700_000_000_123_456_789, fingerprint: "0f"),
            options: ["--map": "a=b\nc=d", "--mode": "merge"])
        state.position = ReadingPosition(offset: 1 << 39, line: 77, skipsLine: true)
        state.sequence = 75
        state.report.created = 40
        state.report.replayed = 30
        state.report.failed = 6
        state.report.failedByReason = ["EMAIL_INVALID": 5, "RAGGED_ROW": 1]
        state.report.seconds = 1.5
        state.report.read = 76
        state.rejects.count = 6
        state.rejects.bytes = 512
        state.rejects.reasonsBytes = 1024
        return state
    }

    private func path(_ name: String) -> String { folder.appendingPathComponent(name).path }

    @Test func comesBackAsItWasWritten() throws {
        let file = ImportStateFile(input: path("a.csv"))
        #expect(try file.read() == nil)
        try file.write(SavedImport(importID: "x", file: Self.state.file, options: [:]))
        try file.write(Self.state)
        #expect(try file.read() == Self.state)
        let mode = try FileManager.default.attributesOfItem(atPath: file.path)
        #expect(mode[.posixPermissions] as? Int == 0o600)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).count == 1)
        file.remove()
        #expect(try file.read() == nil)
    }

    @Test func aTornFileIsNotBelieved() throws {
        let file = ImportStateFile(input: path("a.csv"))
        let whole = Self.state.json
        for length in 0..<whole.count - 1 {
            try Data(whole.prefix(length)).write(to: URL(fileURLWithPath: file.path))
            #expect(throws: FormatError.self) { try file.read() }
        }
        let text = String(decoding: whole, as: UTF8.self)
        for (old, new) in [
            ("\"version\":1", "\"version\":2"), ("\"line\":77", "\"line\":0"),
            ("\"sequence\":75", "\"sequence\":-1"), ("\"sequence\":75", "\"sequence\":\"75\""),
        ] {
            let other = text.replacingOccurrences(of: old, with: new)
            #expect(other != text && SavedImport(json: Array(other.utf8)) == nil)
        }
    }

    @Test func aFileIsKnownByItsSizeItsTimeItsBeginningAndItsEnd() throws {
        let path = path("big.csv")
        let time = Date(timeIntervalSince1970: 1_700_000_000)
        func identity(_ content: Data, _ modified: Date) throws -> FileIdentity {
            try content.write(to: URL(fileURLWithPath: path))
            try FileManager.default.setAttributes(
                [.modificationDate: modified], ofItemAtPath: path)
            return try #require(try InputFile(path: path).identity())
        }
        let content = Data(repeating: 0x61, count: 300_000)
        let first = try identity(content, time)
        #expect(try identity(content, time) == first)
        for place in [0, 65_535, 299_999, 300_000 - 65_536] {
            var other = content
            other[place] = 0x62
            #expect(try identity(other, time).fingerprint != first.fingerprint)
        }
        #expect(try identity(content + [0x61], time) != first)
        #expect(try identity(content, time + 1) != first)
        #expect(try identity(Data(), time).byteCount == 0)
    }

    @Test func otherOptionsAreNamed() {
        let state = Self.state
        func refusal(_ options: [String: String], _ importID: String = "") -> String? {
            state.refusal(file: state.file, options: options, importID: importID, path: "a")?
                .description.components(separatedBy: " ")[0]
        }
        #expect(refusal(state.options) == nil)
        #expect(refusal(state.options, state.importID) == nil)
        #expect(refusal(state.options, "other") == "--import-id")
        #expect(refusal(["--mode": "merge"]) == "--map")
        #expect(refusal(state.options.merging(["--mode": "replace"]) { $1 }) == "--mode")
        #expect(refusal(state.options.merging(["--list": "3"]) { $1 }) == "--list")
        var file = state.file
        file.fingerprint = "other"
        let changed = state.refusal(
            file: file, options: state.options, importID: "", path: "a.csv")
        #expect(changed?.status == 65)
    }

    @Test func rejectsAreCutToWhatTheyWere() throws {
        let path = path("r.csv")
        func rejects() -> RejectsFile { RejectsFile(path: path) }
        func write(_ file: RejectsFile, _ line: Int) throws {
            let record = PendingRecord(line: line, bytes: Array("row\(line)\n".utf8))
            let header = Array("email\n".utf8)
            try file.write(record, sequence: nil, Rejection("X", "no"), header: header)
        }
        let first = rejects()
        try write(first, 2)
        let mark = try first.flush()
        try write(first, 3)
        try write(first, 4)
        try first.close()
        let again = rejects()
        try again.resume(mark)
        #expect(again.count == 1)
        try write(again, 5)
        try again.close()
        #expect(try String(contentsOfFile: path, encoding: .utf8) == "email\nrow2\nrow5\n")
        let reasons = try String(contentsOfFile: again.reasonsPath, encoding: .utf8)
        #expect(
            reasons.split(separator: "\n").map { $0.prefix(9) } == ["{\"line\":2", "{\"line\":5"])
        try Data("e".utf8).write(to: URL(fileURLWithPath: path))
        #expect(throws: ResumeRefused.self) { try rejects().resume(mark) }
    }

    @Test func theCommandCanBePasted() {
        let text = CommandText.resuming(
            ["/usr/bin/contacts", "import", "it's.csv", "--resume", "--map", "a=b c", ""])
        #expect(text == "contacts import --resume 'it'\\''s.csv' --map 'a=b c' ''")
    }

    // Reading on.

    private static let files: [(name: String, text: String)] = [
        ("plain.csv", "email,name\na@x.io,A\nb@x.io,B\n\nc@x.io,C"),
        ("mark.csv", "\u{FEFF}sep=;\r\nemail;name\r\na@x.io;\"two\r\nlines\"\r\n\r\nb@x.io;B\r\n"),
        ("cr.csv", "email,name\ra@x.io,\"a\rb\"\rb@x.io,B\rc@x.io\r"),
        ("open.csv", "email,name\na@x.io,\"open\nb@x.io,B\nc@x.io,C\n"),
        (
            "long.csv",
            "email,name\na@x.io,A\n\(String(repeating: "x", count: 1_200_000)),y\nb@x.io,B\n"
        ),
        ("a.ndjson", "\u{FEFF}{\"email\":\"a@x.io\"}\n\n{\r\n{\"email\":\"b@x.io\"}"),
        (
            "long.ndjson",
            "{\"email\":\"a@x.io\"}\n{\(String(repeating: "x", count: 1_200_000))\n{\"email\":\"b\"}\n"
        ),
    ]

    /// From behind each record the rest is read as it was.
    @Test(arguments: files.map(\.name)) func goesOnBehindEachRecord(_ name: String) throws {
        let text = try #require(Self.files.first { $0.name == name }).text
        let bytes = Array(text.utf8)
        var reader = ContactReader(name: name, options: ReadingOptions())
        reader.append(bytes)
        reader.finish()
        var records: [InputRecord] = []
        try reader.read(upTo: .max, into: &records)
        #expect(records.count >= 2)
        for (index, record) in records.enumerated() {
            var again = ContactReader(name: name, options: ReadingOptions())
            again.append(Array(bytes.prefix(200)))
            var beginning: [InputRecord] = []
            try again.read(upTo: 1, into: &beginning)
            again.go(to: record.end)
            for start in stride(from: record.end.offset, to: bytes.count, by: 100_000) {
                again.append(Array(bytes[start..<min(start + 100_000, bytes.count)]))
            }
            again.finish()
            var rest: [InputRecord] = []
            try again.read(upTo: .max, into: &rest)
            let expected = records[(index + 1)...]
            #expect(rest.map(\.line) == expected.map(\.line))
            #expect(rest.map(\.bytes) == expected.map(\.bytes))
            #expect(rest.map(\.end) == expected.map(\.end))
            #expect(rest.map(Self.outcome) == expected.map(Self.outcome))
            #expect(again.header == reader.header)
        }
    }

    private static func outcome(_ record: InputRecord) -> String {
        switch record.content {
        case .success(let contact): contact.email ?? ""
        case .failure(let refused): refused.rejection.reason
        }
    }
}
