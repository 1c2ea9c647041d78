// Files that are there as a whole or not at all, and pipes that nobody reads.

import Foundation
import Testing

@testable import ContactsTool

@Suite(.timeLimit(.minutes(1))) struct ExportFileTests {
    static func directory() throws -> String {
        let path = FileManager.default.temporaryDirectory
            .appendingPathComponent("contacts-export-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: true)
        return path
    }

    private static func entries(_ directory: String) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: directory).sorted()
    }

    private static func contents(_ path: String) -> [UInt8]? {
        FileManager.default.contents(atPath: path).map { Array($0) }
    }

    @Test func aFileAppearsWhenItIsWhole() async throws {
        let directory = try Self.directory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let path = directory + "/a.csv"
        try Data("old".utf8).write(to: URL(fileURLWithPath: path))
        try FileManager.default.createSymbolicLink(
            atPath: directory + "/link.csv", withDestinationPath: "a.csv")
        let file = try ExportFile(path: directory + "/link.csv")
        let bytes = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0) }
        try await file.write(bytes)
        #expect(Self.contents(path) == Array("old".utf8))
        try file.finish()
        #expect(Self.contents(path) == bytes)
        #expect(try Self.entries(directory) == ["a.csv", "link.csv"])
        let link = directory + "/link.csv"
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: link) == "a.csv")
    }

    @Test func nothingIsLeftOfAFileThatIsNotFinished() async throws {
        let directory = try Self.directory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        do {
            let file = try ExportFile(path: directory + "/a.csv")
            try await file.write([1])
            #expect(try Self.entries(directory).count == 1)
        }
        // The file's queue may be the last to let go of it, a moment later.
        while try !Self.entries(directory).isEmpty { try await Task.sleep(for: .milliseconds(1)) }
    }

    @Test func aPathThatCannotBeWrittenIsNamed() throws {
        let directory = try Self.directory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        for path in [directory, directory + "/none/a.csv"] {
            let error = #expect(throws: FileError.self) { try ExportFile(path: path) }
            #expect(error?.path == path)
            #expect(error.map { ErrorText.status($0) } == ExitStatus.cannotCreate)
        }
        #expect(try Self.entries(directory) == [])
    }

    @Test func aDeviceIsWrittenAndStays() async throws {
        let file = try ExportFile(path: "/dev/null")
        try await file.write(Array(repeating: 0, count: 100_000))
        try file.finish()
        var status = stat()
        #expect(stat("/dev/null", &status) == 0 && status.st_mode & S_IFMT == S_IFCHR)
    }

    /// A pipe with a name, and its reading end.
    private static func pipe(_ directory: String) throws -> (path: String, reader: Int32) {
        let path = directory + "/pipe"
        try #require(mkfifo(path, 0o600) == 0)
        return (path, open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC))
    }

    @Test func aReaderThatGoesAwayIsAnError() async throws {
        let directory = try Self.directory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let (path, reader) = try Self.pipe(directory)
        let file = try ExportFile(path: path)
        try await file.write([1, 2, 3])
        close(reader)
        let error = await #expect(throws: FileError.self) { try await file.write([4]) }
        #expect(error?.code == EPIPE)
    }

    @Test func aFullPipeDoesNotHoldUpAnInterrupt() async throws {
        let directory = try Self.directory()
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let (path, reader) = try Self.pipe(directory)
        defer { close(reader) }
        let file = try ExportFile(path: path)
        let writing = Task { try await file.write(Array(repeating: 7, count: 1 << 20)) }
        try await Task.sleep(for: .milliseconds(50))
        file.interrupt()
        await #expect(throws: CancellationError.self) { try await writing.value }
        #expect(file.wasInterrupted)
    }
}
