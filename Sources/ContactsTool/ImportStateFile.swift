// In: how far an import is, again and again. Out: a file beside the imported one that is always
// whole, and gone when the import has ended completely. On the task that settles results.

import Foundation

package struct ImportStateFile: Sendable {
    package let path: String

    /// The state file of that input.
    package init(input: String) {
        path = "\(input).import-state.json"
    }

    /// The state; nil when there is none.
    ///
    /// - Throws: `FormatError` when the file is damaged, `FileError` when it cannot be read.
    package func read() throws -> SavedImport? {
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        guard let data = FileManager.default.contents(atPath: path) else {
            throw FileError(path: path, action: "read", code: errno)
        }
        guard let state = SavedImport(json: Array(data)) else {
            throw FormatError(
                "\(path) is damaged or of another version; import the file again without --resume")
        }
        return state
    }

    /// Puts the state in place of the one before, as a whole.
    package func write(_ state: SavedImport) throws {
        let temporary = path + ".tmp"
        // It tells what the imported file holds, if only in numbers: nobody else reads it.
        let descriptor = open(
            temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw FileError(path: temporary, action: "write", code: errno)
        }
        let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        try handle.write(contentsOf: state.json)
        guard rename(temporary, path) == 0 else {
            throw FileError(path: path, action: "write", code: errno)
        }
    }

    /// Removes the file, if it is there.
    package func remove() {
        unlink(path)
    }
}

/// Writes the state of one import now and then.
struct StateKeeper {
    /// The shortest time between two writes.
    private static let interval = Duration.seconds(1)

    let file: ImportStateFile
    /// As it was when the import began.
    let beginning: SavedImport
    private var lastWrite: ContinuousClock.Instant?
    private var isStopped = false
    /// Why nothing could be written at all.
    private(set) var failure: (any Error)?

    init(file: ImportStateFile, beginning: SavedImport) {
        self.file = file
        self.beginning = beginning
    }

    var isDue: Bool {
        !isStopped && lastWrite.map { ContinuousClock.now - $0 >= Self.interval } ?? true
    }

    mutating func write(_ state: SavedImport) {
        guard !isStopped else { return }
        do {
            try file.write(state)
        } catch {
            isStopped = true
            if lastWrite == nil { failure = error }
        }
        lastWrite = .now
    }

    /// Writes no more, because counts and rejects may differ. What was written before stays right:
    /// what came after it is done again.
    mutating func stop() { isStopped = true }
}
