// Files and programs around a bench. In: paths, bytes. Out: directories, files, the contents of
// /proc. Any thread; blocks.

import Foundation

enum BenchFiles {
    /// Makes a directory that others may pass through, which PostgreSQL's user must.
    static func make(_ directory: String) throws {
        try FileManager.default.createDirectory(
            atPath: directory, withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o755])
    }

    static func remove(_ path: String) {
        try? FileManager.default.removeItem(atPath: path)
    }

    static func absolute(_ path: String) -> String {
        URL(fileURLWithPath: path).standardizedFileURL.path
    }

    static func directory(of path: String) -> String {
        (path as NSString).deletingLastPathComponent
    }

    /// The text of a file; empty when it cannot be read.
    static func text(_ path: String) -> String {
        guard let file = FileHandle(forReadingAtPath: path) else { return "" }
        defer { try? file.close() }
        // To its end: files of /proc have no length.
        let bytes = (try? file.readToEnd()) ?? nil
        return String(decoding: bytes ?? Data(), as: UTF8.self)
    }

    static func write(_ bytes: Data, to path: String) throws {
        try make(directory(of: absolute(path)))
        try bytes.write(to: URL(fileURLWithPath: path))
    }

    /// The program of this process.
    static var ownPath: String {
        (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
    }

    /// A program of PostgreSQL's: from PATH, else of the newest version that Debian installed.
    static func postgresProgram(_ name: String) throws -> String {
        let root = "/usr/lib/postgresql"
        let versions = (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []
        let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
        let places =
            versions.compactMap { Int($0) }.sorted(by: >).map { "\(root)/\($0)/bin" }
            + path.split(separator: ":").map(String.init)
        let found = places.map { "\($0)/\(name)" }.first {
            FileManager.default.isExecutableFile(atPath: $0)
        }
        guard let found else { throw BenchError("there is no \(name); install PostgreSQL") }
        return found
    }
}

/// Writes a large text file piece by piece.
struct FileWriter: ~Copyable {
    private static let pieceByteCount = 1 << 20

    private let file: FileHandle
    var bytes: [UInt8] = []

    init(path: String) throws {
        guard FileManager.default.createFile(atPath: path, contents: nil),
            let file = FileHandle(forWritingAtPath: path)
        else {
            throw BenchError("cannot write \(path)")
        }
        self.file = file
        bytes.reserveCapacity(Self.pieceByteCount + 4096)
    }

    mutating func append(_ text: String) { bytes.append(contentsOf: text.utf8) }

    mutating func flushIfFull() throws {
        if bytes.count >= Self.pieceByteCount { try flush() }
    }

    consuming func finish() throws {
        try flush()
        try file.close()
    }

    private mutating func flush() throws {
        try file.write(contentsOf: Data(bytes))
        bytes.removeAll(keepingCapacity: true)
    }
}

/// Progress, on standard error.
enum Note {
    static func print(_ text: String) {
        FileHandle.standardError.write(Data((text + "\n").utf8))
    }
}
