import ContactsClient
import Foundation
import Testing

@testable import ContactsTool

@Suite struct ImportLedgerTests {
    static func ledger(records: Int, bytes: Int = .max, streams: Int = 1) -> ImportLedger {
        var window = ImportLedger.Window()
        window.records = records
        window.bytes = bytes
        let path = FileManager.default.temporaryDirectory
            .appendingPathComponent("contacts-ledger-\(UUID().uuidString)").path
        return ImportLedger(
            streams: streams, window: window, totalBytes: 100, header: [],
            rejects: RejectsFile(path: path))
    }

    static func records(_ lines: ClosedRange<Int>) -> [(PendingRecord, Rejection?)] {
        lines.map { (PendingRecord(line: $0, bytes: [0x61, 0x0A]), nil) }
    }

    static func results(_ sequences: ClosedRange<UInt64>) -> [ContactResult] {
        sequences.map { ContactResult(sequence: $0, status: .created, id: "x") }
    }

    @Test(arguments: [(2, Int.max), (100, 4)])
    func theReaderWaitsWhileTheWindowIsFull(_ records: Int, _ bytes: Int) async throws {
        let ledger = Self.ledger(records: records, bytes: bytes)
        await ledger.waitForRoom()
        ledger.add(Self.records(2...3), stream: 0)
        let waiting = Task {
            await ledger.waitForRoom()
            return ledger.progress().rows
        }
        try await Task.sleep(for: .milliseconds(20))
        ledger.settle(Self.results(1...1), stream: 0)
        // It was let go by the result and not before.
        #expect(await waiting.value == 1)
        #expect(ledger.progress().bytes == 2)
    }

    @Test(arguments: [(UInt64(0), false), (2, true), (3, true), (4, false)])
    func asManyFailuresAsAllowedEndIt(_ limit: UInt64, _ ends: Bool) {
        let path = FileManager.default.temporaryDirectory
            .appendingPathComponent("contacts-ledger-\(UUID().uuidString)").path
        defer {
            try? FileManager.default.removeItem(atPath: path)
            try? FileManager.default.removeItem(atPath: path + ".reasons.ndjson")
        }
        let ledger = ImportLedger(
            streams: 2, totalBytes: nil, header: [], rejects: RejectsFile(path: path),
            maxFailures: limit)
        // One refused while reading, and one by the server on each of two streams.
        let refused = (PendingRecord(line: 2, bytes: [0x61]), Optional(Rejection("X", "no")))
        ledger.add([refused] + Self.records(3...3), stream: 0)
        ledger.add(Self.records(4...5), stream: 1)
        let error = ContactError(reasonText: "Y", field: "", message: "no")
        let failed = ContactResult(sequence: 1, status: .failed, id: "", error: error)
        #expect(ledger.failure == nil)
        ledger.settle([failed], stream: 0)
        ledger.settle([failed], stream: 1)
        #expect((ledger.failure is TooManyFailures) == ends)
        if let failure = ledger.failure { #expect(ErrorText.status(failure) == 1) }
        #expect(ledger.finish().failed == 3)
    }

    @Test func aFailureLetsTheReaderGo() async {
        let ledger = Self.ledger(records: 1)
        ledger.add(Self.records(2...2), stream: 0)
        let waiting = Task { await ledger.waitForRoom() }
        ledger.fail(FormatError("broken off"))
        await waiting.value
        let report = ledger.finish()
        #expect(report.undecided == 1)
        #expect(ledger.failure.map(ErrorText.status) == 65)
    }

    @Test func saysThroughWhichLineAllIsDecided() {
        let ledger = Self.ledger(records: 100, streams: 2)
        ledger.add(Self.records(2...4), stream: 0)
        ledger.add(Self.records(5...7), stream: 1)
        ledger.settle(Self.results(1...3), stream: 1)
        #expect(ledger.finish().settledThroughLine == 1)
        ledger.settle(Self.results(1...2), stream: 0)
        #expect(ledger.finish().settledThroughLine == 3)
        ledger.settle(Self.results(3...3), stream: 0)
        #expect(ledger.finish().settledThroughLine == 7)
        #expect(ledger.finish().created == 6)
    }

    @Test func anInterruptedInputEndsAtOnce() async throws {
        let path = FileManager.default.temporaryDirectory
            .appendingPathComponent("contacts-input-\(UUID().uuidString)").path
        try Data("email\na@x.io\n".utf8).write(to: URL(fileURLWithPath: path))
        defer { try? FileManager.default.removeItem(atPath: path) }
        let input = try InputFile(path: path)
        #expect(input.byteCount == 13)
        #expect(try await input.read()?.count == 13)
        #expect(try await input.read() == nil)
        input.interrupt()
        #expect(input.wasStopped && input.wasInterrupted)
        #expect(throws: FileError.self) { try InputFile(path: path + ".not") }
    }
}
