// In: a path. Out: the certificates or the key in it, or what is wrong with it, by name. Nothing of
// its content is ever in an error.
// On which thread: any that may wait for a disk.

internal import Foundation
internal import NIOSSL

/// A file that TLS cannot be set up with.
package struct TLSFileError: Error, CustomStringConvertible, Equatable {
    package let path: String
    package let reason: String

    package var description: String { "\(path): \(reason)" }
}

enum PEMFile {
    /// The certificates, the owner's first.
    static func certificates(_ path: String) throws(TLSFileError) -> [NIOSSLCertificate] {
        let bytes = try read(path)
        do {
            return try NIOSSLCertificate.fromPEMBytes(bytes)
        } catch {
            throw TLSFileError(path: path, reason: "not certificates in PEM format, or cut short")
        }
    }

    static func key(_ path: String) throws(TLSFileError) -> NIOSSLPrivateKey {
        let bytes = try read(path)
        do {
            return try NIOSSLPrivateKey(bytes: bytes, format: .pem)
        } catch {
            throw TLSFileError(
                path: path, reason: "not a private key in PEM format without a passphrase")
        }
    }

    private static func read(_ path: String) throws(TLSFileError) -> [UInt8] {
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else { throw failure(path) }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: TLSLimits.fileByteCount + 1)
        var count = 0
        while count < bytes.count {
            let read = bytes.withUnsafeMutableBytes { target in
                Foundation.read(file, target.baseAddress?.advanced(by: count), target.count - count)
            }
            if read < 0 { throw failure(path) }
            if read == 0 { break }
            count += read
        }
        guard count <= TLSLimits.fileByteCount else {
            throw TLSFileError(
                path: path, reason: "larger than \(TLSLimits.fileByteCount) bytes")
        }
        return Array(bytes.prefix(count))
    }

    private static func failure(_ path: String) -> TLSFileError {
        TLSFileError(path: path, reason: String(cString: strerror(errno)))
    }
}
