// In: bytes, and a path or `-` for standard output. Out: a file that is there as a whole or not at
// all: it is written under another name and renamed at the end. Written on a queue of its own, so
// that a slow pipe holds up nobody; `interrupt` ends the writing from any thread, also while it
// waits.

import Dispatch
import Foundation
import Synchronization

package final class ExportFile: Sendable {
    /// How often a waiting write looks whether it was interrupted.
    private static let pollMilliseconds: Int32 = 100
    /// A pipe that takes anything takes so much (PIPE_BUF), so that no write waits.
    private static let pipeBytes = 4096

    /// How it is called in messages.
    private let name: String
    private let descriptor: Int32
    private let isRegular: Bool
    /// Where it is written, and what that is renamed to.
    private let rename: (from: String, to: String)?
    private let interrupted = Atomic(false)
    private let isOver = Atomic(false)
    private let queue = DispatchQueue(label: "contacts.export")

    /// Opens the file. To be called before the connection is: a standard output that was closed
    /// lends its number to whatever is opened next.
    package init(path: String) throws(FileError) {
        // A reader that goes away is an error of the write, not the end of the process.
        signal(SIGPIPE, SIG_IGN)
        name = path == "-" ? "standard output" : path
        guard path != "-" else {
            rename = nil
            descriptor = STDOUT_FILENO
            // Swift's own event queues, which are there already, are files of no kind.
            let kind = Self.kind(of: descriptor)
            isRegular = kind == S_IFREG
            if kind == 0 { throw FileError(path: name, action: "write", code: EBADF) }
            return
        }
        // A link stays a link.
        let target = realpath(path, nil).map { resolved in
            defer { free(resolved) }
            return String(cString: resolved)
        }
        var status = stat()
        if let target, stat(target, &status) == 0, status.st_mode & S_IFMT != S_IFREG {
            // A pipe or a device cannot be replaced; opening a directory fails.
            rename = nil
            isRegular = false
            descriptor = open(target, O_WRONLY | O_CLOEXEC)
        } else {
            let to = target ?? path
            let from = "\(to).part-\(getpid())"
            rename = (from, to)
            isRegular = true
            // Contacts are personal data: nobody but their owner reads them.
            descriptor = open(from, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        }
        try check(descriptor >= 0)
    }

    deinit {
        discard()
    }

    /// Ends the writing because the caller's user wants so.
    package func interrupt() {
        interrupted.store(true, ordering: .relaxed)
    }

    /// Whether `interrupt` was called.
    package var wasInterrupted: Bool { interrupted.load(ordering: .relaxed) }

    /// Writes bytes.
    ///
    /// - Throws: `FileError`; `CancellationError` once it was interrupted.
    package func write(_ bytes: [UInt8]) async throws {
        try await withCheckedThrowingContinuation { continuation in
            queue.async { continuation.resume(with: Result { try self.writeNow(bytes) }) }
        }
    }

    /// Says that the file will not be whole: nothing is left of it. After `finish` it does nothing.
    package func discard() {
        guard !isOver.exchange(true, ordering: .relaxed), descriptor > STDOUT_FILENO
        else { return }
        close(descriptor)
        if let rename { unlink(rename.from) }
    }

    /// Says that the file is whole.
    package func finish() throws {
        guard !isOver.exchange(true, ordering: .relaxed), let rename else { return }
        do {
            try check(fsync(descriptor) == 0)
            try check(Foundation.rename(rename.from, rename.to) == 0)
        } catch {
            close(descriptor)
            unlink(rename.from)
            throw error
        }
        try check(close(descriptor) == 0)
    }

    private func writeNow(_ bytes: [UInt8]) throws {
        var start = 0
        while start < bytes.count {
            if wasInterrupted { throw CancellationError() }
            var length = bytes.count - start
            if !isRegular {
                var event = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                guard poll(&event, 1, Self.pollMilliseconds) != 0 else { continue }
                length = min(length, Self.pipeBytes)
            }
            let written = bytes.withUnsafeBytes { buffer in
                Foundation.write(descriptor, buffer.baseAddress.map { $0 + start }, length)
            }
            if written < 0, errno == EINTR || errno == EAGAIN { continue }
            try check(written >= 0)
            start += written
        }
    }

    private func check(_ isRight: Bool) throws(FileError) {
        if !isRight { throw FileError(path: name, action: "write", code: errno) }
    }

    private static func kind(of descriptor: Int32) -> mode_t {
        var status = stat()
        return fstat(descriptor, &status) == 0 ? status.st_mode & S_IFMT : 0
    }
}
