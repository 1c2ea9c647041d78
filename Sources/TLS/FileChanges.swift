// In: how files look, again and again. Out: when they should be read. Pure, but for `FileStamp`,
// which asks the file system.

internal import Foundation

/// What tells a file from the one that stood there before: replaced, rewritten or gone.
struct FileStamp: Equatable, Sendable {
    var device: UInt64
    var inode: UInt64
    var byteCount: Int64
    var seconds: Int
    var nanoseconds: Int

    /// Nil where there is no file. Links are followed: a mounted secret is exchanged by a link.
    init?(_ path: String) {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        device = UInt64(status.st_dev)
        inode = UInt64(status.st_ino)
        byteCount = Int64(status.st_size)
        seconds = status.st_mtim.tv_sec
        nanoseconds = status.st_mtim.tv_nsec
    }

    init(inode: UInt64) {
        (device, self.inode, byteCount, seconds, nanoseconds) = (0, inode, 0, 0, 0)
    }
}

///   settled ──(other than what was read)──▶ changing ──(the same twice)──▶ settled: read it
struct FileChanges {
    /// What stood there when the files were read last, whether or not they were of use.
    private var read: [FileStamp?]
    private var seen: [FileStamp?]

    init(_ stamps: [FileStamp?]) {
        read = stamps
        seen = stamps
    }

    /// Whether the files should be read now.
    mutating func look(_ stamps: [FileStamp?]) -> Bool {
        defer { seen = stamps }
        guard stamps == seen, stamps != read else { return false }
        read = stamps
        return true
    }

    /// They are read for another reason.
    mutating func willRead(_ stamps: [FileStamp?]) {
        read = stamps
        seen = stamps
    }
}
