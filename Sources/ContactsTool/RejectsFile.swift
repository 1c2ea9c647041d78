// In: records that were refused, with their original bytes. Out: a file that can be mended and
// imported again, and beside it one JSON object a record that says why. Neither is made when
// there is nothing to put in. One writer; on the task that settles results.

import Foundation

package final class RejectsFile {
    /// The original records.
    package let path: String
    /// The reasons.
    package var reasonsPath: String { path + ".reasons.ndjson" }
    /// How many records were written.
    package private(set) var count = 0

    /// So much is gathered before it is written.
    private static let bufferBytes = 64 * 1024

    private var records: OutputFile?
    private var reasons: OutputFile?
    private var line = JSONWriter()

    /// Where the rejects of that input go when nobody says otherwise.
    package static func defaultPath(input: String, format: FileFormat) -> String {
        let name = input == "-" ? "stdin" : input
        return "\(name).rejects.\(format == .csv ? "csv" : "ndjson")"
    }

    /// Names the file; nothing is opened before the first reject.
    package init(path: String) {
        self.path = path
    }

    /// Goes on with the files of an earlier run: what stands in them behind these lengths is dropped.
    ///
    /// - Throws: `FileError`; `ResumeRefused` when they are shorter.
    package func resume(_ rejects: SavedImport.Rejects) throws {
        guard rejects.count > 0 else { return }
        records = try OutputFile(path: path, keeping: rejects.bytes)
        reasons = try OutputFile(path: reasonsPath, keeping: rejects.reasonsBytes)
        count = rejects.count
    }

    /// Writes what is gathered and says how long the files are.
    package func flush() throws -> SavedImport.Rejects {
        try records?.flush(over: 0)
        try reasons?.flush(over: 0)
        var rejects = SavedImport.Rejects()
        rejects.count = count
        rejects.bytes = records?.byteCount ?? 0
        rejects.reasonsBytes = reasons?.byteCount ?? 0
        return rejects
    }

    /// Writes one record. `header` stands at the file's top.
    package func write(
        _ record: PendingRecord, sequence: UInt64?, _ rejection: Rejection, header: [UInt8]
    ) throws {
        if records == nil {
            let records = try OutputFile(path: path)
            records.append(header, endingIn: header.isEmpty ? nil : ASCII.lineFeed)
            self.records = records
            reasons = try OutputFile(path: reasonsPath)
        }
        records?.append(record.bytes, endingIn: ASCII.lineFeed)
        line.reset()
        line.object { line in
            line.set("line", record.line)
            if let sequence { line.set("sequence", sequence) } else { line.setNull("sequence") }
            line.set("field", rejection.field)
            line.set("reason", rejection.reason)
            line.set("message", rejection.message)
        }
        line.endLine()
        reasons?.append(line.bytes, endingIn: nil)
        count += 1
        try records?.flush(over: Self.bufferBytes)
        try reasons?.flush(over: Self.bufferBytes)
    }

    /// Writes what is gathered and closes the files.
    package func close() throws {
        _ = try flush()
        records = nil
        reasons = nil
    }
}

/// A file that is written to its end.
final class OutputFile {
    private let handle: FileHandle
    private var buffer: [UInt8] = []
    /// Written to the file.
    private(set) var byteCount = 0

    init(path: String) throws {
        // Rejected records are personal data: nobody but their owner reads them.
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw FileError(path: path, action: "write", code: errno)
        }
        handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    }

    /// Opens a file that is there, and cuts it to that length.
    init(path: String, keeping byteCount: Int) throws {
        let descriptor = open(path, O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw FileError(path: path, action: "write", code: errno)
        }
        handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        guard try handle.seekToEnd() >= byteCount else {
            throw ResumeRefused(
                description: "\(path) is shorter than the import has left it; import the file "
                    + "again without --resume", status: ExitStatus.dataError)
        }
        try handle.truncate(atOffset: UInt64(byteCount))
        self.byteCount = byteCount
    }

    /// Adds bytes and, when they do not end in it, the line end.
    func append(_ bytes: [UInt8], endingIn end: UInt8?) {
        buffer.append(contentsOf: bytes)
        if let end, bytes.last != end, bytes.last != ASCII.carriageReturn { buffer.append(end) }
    }

    func flush(over limit: Int) throws {
        guard buffer.count > limit else { return }
        try handle.write(contentsOf: buffer)
        byteCount += buffer.count
        buffer.removeAll(keepingCapacity: true)
    }
}

/// A file cannot be used.
package struct FileError: Error, Sendable, CustomStringConvertible {
    package var path: String
    package var action: String
    /// `errno`.
    package var code: Int32

    package init(path: String, action: String, code: Int32) {
        self.path = path
        self.action = action
        self.code = code
    }

    package var description: String {
        "cannot \(action) \(path): \(String(cString: strerror(code)))"
    }
}
