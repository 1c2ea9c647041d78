import ContactsClient
import Foundation
import Testing

@testable import ContactsTool

@Suite struct RejectsFileTests {
    let folder = FileManager.default.temporaryDirectory
        .appendingPathComponent("contacts-rejects-\(UUID().uuidString)")

    init() throws {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }

    /// Reads a file, "imports" it against a server that refuses emails without an at sign, and
    /// gives back the file of rejects.
    private func rejects(of file: [UInt8], name: String) throws -> RejectsFile {
        var reader = ContactReader(name: name, options: ReadingOptions())
        reader.append(file)
        reader.finish()
        var records: [InputRecord] = []
        try reader.read(upTo: .max, into: &records)
        let rejects = RejectsFile(path: folder.appendingPathComponent(name).path)
        var pending = PendingRecords()
        var sequence: UInt64 = 0
        var results: [ContactResult] = []
        for record in records {
            let held = PendingRecord(line: record.line, bytes: record.bytes)
            switch record.content {
            case .failure(let refused): pending.append(held, rejection: refused.rejection)
            case .success(let contact):
                pending.append(held)
                sequence += 1
                let isGood = contact.email?.contains("@") == true
                let error = ContactError(
                    reasonText: "EMAIL_INVALID", field: "email", message: "no at sign")
                results.append(
                    ContactResult(
                        sequence: sequence, status: isGood ? .created : .failed, id: "",
                        error: isGood ? nil : error))
            }
        }
        try pending.settle(results) { outcome in
            guard case .rejected(let record, let sequence, let rejection) = outcome else { return }
            try rejects.write(record, sequence: sequence, rejection, header: reader.header)
        }
        try rejects.close()
        #expect(pending.count == 0 && pending.byteCount == 0)
        return rejects
    }

    @Test func keepsOriginalBytesUnderTheHeader() throws {
        let good = "\u{FEFF}email;note\r\na@x.io;1\r\n"
        let bad = "bad;\"two\r\nlines\"\r\nc@x.io\r\nd@x.io;"
        let file = Array((good + bad).utf8) + [0xE9]
        let rejects = try rejects(of: file, name: "a.csv")
        let written = try [UInt8](Data(contentsOf: URL(fileURLWithPath: rejects.path)))
        let expected = "\u{FEFF}email;note\r\nbad;\"two\r\nlines\"\r\nc@x.io\r\nd@x.io;"
        #expect(written == Array(expected.utf8) + [0xE9, 0x0A])
        let reasons = try String(contentsOfFile: rejects.reasonsPath, encoding: .utf8)
        #expect(
            reasons.split(separator: "\n").map { $0.components(separatedBy: ",\"message")[0] } == [
                "{\"line\":3,\"sequence\":2,\"field\":\"email\",\"reason\":\"EMAIL_INVALID\"",
                "{\"line\":5,\"sequence\":null,\"field\":\"\",\"reason\":\"RAGGED_ROW\"",
                "{\"line\":6,\"sequence\":null,\"field\":\"note\",\"reason\":\"INVALID_UTF8\"",
            ])
        let mode = try FileManager.default.attributesOfItem(atPath: rejects.path)
        #expect(mode[.posixPermissions] as? Int == 0o600)
    }

    @Test func canBeMendedAndImportedAgain() throws {
        let rejects = try rejects(
            of: Array("email,note\na@x.io,1\nbad,\"two\nlines\"\n".utf8), name: "b.csv")
        let text = try String(contentsOfFile: rejects.path, encoding: .utf8)
        let mended = text.replacingOccurrences(of: "bad", with: "b@x.io")
        let again = try self.rejects(of: Array(mended.utf8), name: "c.csv")
        #expect(again.count == 0)
        let contact = try ColumnMappingTests.contact(mended)
        #expect(contact.fields == [CustomField("note", .string("two\nlines"))])
    }

    @Test func isNotMadeWithoutARejectedRecord() throws {
        let rejects = try rejects(of: Array("email\na@x.io\n".utf8), name: "d.csv")
        #expect(!FileManager.default.fileExists(atPath: rejects.path))
        #expect(!FileManager.default.fileExists(atPath: rejects.reasonsPath))
    }

    @Test func jsonLinesHaveNoHeader() throws {
        let rejects = try rejects(of: Array("{\"email\":\"a\"}\n{".utf8), name: "e.ndjson")
        let written = try String(contentsOfFile: rejects.path, encoding: .utf8)
        #expect(written == "{\"email\":\"a\"}\n{\n")
    }

    @Test func aPathThatCannotBeWrittenIsNamed() throws {
        let rejects = RejectsFile(path: folder.appendingPathComponent("no/file").path)
        #expect(throws: FileError.self) {
            try rejects.write(
                PendingRecord(line: 1, bytes: []), sequence: nil, Rejection("X", ""), header: [])
        }
    }

    /// Also where the server is asked nothing, and so never answers.
    @Test func refusedRecordsLeaveNothingBehind() {
        var pending = PendingRecords()
        var mostPlaces = 0
        for line in 1...100_000 {
            pending.append(PendingRecord(line: line, bytes: [0x61]), rejection: Rejection("X", ""))
            pending.settleRefused { _ in }
            mostPlaces = max(mostPlaces, pending.placeCount)
        }
        #expect(pending.count == 0 && pending.settledLine == 100_000)
        #expect(mostPlaces <= 1026)
    }

    @Test func aResultOutOfOrderIsAnError() {
        var pending = PendingRecords()
        pending.append(PendingRecord(line: 1, bytes: []))
        #expect(throws: PendingRecords.Mismatch.self) {
            try pending.settle([ContactResult(sequence: 2, status: .created, id: "")]) { _ in }
        }
    }
}
