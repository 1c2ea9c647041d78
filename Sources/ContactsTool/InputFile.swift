// In: the path of a file, or `-` for standard input. Out: its bytes in chunks, read on a queue of
// their own so that a slow pipe holds up nobody. `interrupt` ends the reading from any thread, also
// while it waits.

import Dispatch
import Foundation
import NIOConcurrencyHelpers
import Synchronization

package final class InputFile: Sendable {
    /// As large as a read is worth.
    private static let chunkBytes = 256 * 1024
    /// How often a waiting read looks whether it was interrupted.
    private static let pollMilliseconds: Int32 = 100

    /// The path as it was given.
    package let path: String
    /// The file's length; nil for a pipe or a terminal.
    package let byteCount: Int?
    /// When the file was last written to, in nanoseconds since 1970.
    let modified: Int?

    private let descriptor: Int32
    private let interrupted = Atomic(false)
    private let onInterrupt = NIOLockedValueBox<(@Sendable () -> Void)?>(nil)
    private let stopped = Atomic(false)
    private let queue = DispatchQueue(label: "contacts.input")

    /// Opens the file.
    package init(path: String) throws(FileError) {
        self.path = path
        descriptor = path == "-" ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError(path: path, action: "open", code: errno) }
        var status = stat()
        let isKnown = fstat(descriptor, &status) == 0
        if isKnown, status.st_mode & S_IFMT == S_IFDIR {
            throw FileError(path: path, action: "read", code: EISDIR)
        }
        let isRegular = isKnown && status.st_mode & S_IFMT == S_IFREG
        byteCount = isRegular ? Int(status.st_size) : nil
        let time = status.st_mtim
        modified = isRegular ? time.tv_sec * 1_000_000_000 + time.tv_nsec : nil
    }

    deinit {
        if path != "-" { close(descriptor) }
    }

    /// Ends the reading because the caller's user wants so.
    package func interrupt() {
        interrupted.store(true, ordering: .sequentiallyConsistent)
        stop()
        onInterrupt.withLockedValue { $0 }?()
    }

    /// Has something called when the reading is interrupted; at once if it was.
    func whenInterrupted(_ body: @escaping @Sendable () -> Void) {
        onInterrupt.withLockedValue { $0 = body }
        if wasInterrupted { body() }
    }

    /// Makes this read and all later ones say that the file has ended.
    package func stop() {
        stopped.store(true, ordering: .relaxed)
    }

    /// Whether `interrupt` was called.
    package var wasInterrupted: Bool { interrupted.load(ordering: .relaxed) }

    /// Whether the reading was ended before the file did.
    package var wasStopped: Bool { stopped.load(ordering: .relaxed) }

    /// Whether a read would not wait.
    var isReady: Bool {
        var event = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return byteCount != nil || poll(&event, 1, 0) != 0
    }

    /// Makes the next read begin at another place of a regular file.
    func seek(to offset: Int) throws(FileError) {
        guard lseek(descriptor, off_t(offset), SEEK_SET) >= 0 else {
            throw FileError(path: path, action: "read", code: errno)
        }
    }

    /// The bytes at a place of a regular file, as many as there are.
    func bytes(at offset: Int, count: Int) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: count) { buffer, length in
            length = max(0, pread(descriptor, buffer.baseAddress, count, off_t(offset)))
        }
    }

    /// The next bytes; nil at the end.
    package func read() async throws -> [UInt8]? {
        try await withCheckedThrowingContinuation { continuation in
            queue.async { continuation.resume(with: Result { try self.readNow() }) }
        }
    }

    private func readNow() throws(FileError) -> [UInt8]? {
        while !wasStopped {
            var event = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&event, 1, Self.pollMilliseconds) != 0 else { continue }
            var code: Int32 = 0
            let chunk = [UInt8](unsafeUninitializedCapacity: Self.chunkBytes) { buffer, count in
                let length = Foundation.read(descriptor, buffer.baseAddress, buffer.count)
                if length < 0 { code = errno }
                count = max(0, length)
            }
            if code == EINTR || code == EAGAIN { continue }
            guard code == 0 else { throw FileError(path: path, action: "read", code: code) }
            return chunk.isEmpty ? nil : chunk
        }
        return nil
    }
}
