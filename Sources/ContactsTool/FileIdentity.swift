// In: an open file. Out: what tells it from another one and from itself after a change, without
// reading all of it. On the reading task.

import Foundation

/// What a file is known by.
package struct FileIdentity: Sendable, Equatable {
    package var byteCount: Int
    /// When it was last written to, in nanoseconds since 1970.
    package var modified: Int
    /// FNV-1a of its beginning and its end, in hexadecimal digits.
    package var fingerprint: String

    package init(byteCount: Int, modified: Int, fingerprint: String) {
        self.byteCount = byteCount
        self.modified = modified
        self.fingerprint = fingerprint
    }
}

extension InputFile {
    /// Of the file's beginning, and of its end, so many bytes are looked at.
    private static let fingerprintBytes = 64 * 1024

    /// What the file is known by; nil for what is no regular file.
    func identity() -> FileIdentity? {
        guard let byteCount, let modified else { return nil }
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for offset in [0, max(0, byteCount - Self.fingerprintBytes)] {
            for byte in bytes(at: offset, count: Self.fingerprintBytes) {
                hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3
            }
        }
        return FileIdentity(
            byteCount: byteCount, modified: modified, fingerprint: String(hash, radix: 16))
    }
}
