// Whom a client trusts and who it is, and what is said when that fails.
//
// In: files, as a caller names them. Out: the TLS layer's settings and its failures in words. Any
// thread that may wait for a disk.

internal import TLS

extension ContactsClient {
    /// TLS, with files in PEM format that are read for each connection, so that renewed ones count.
    public struct Security: Sendable, Equatable {
        /// A client's own certificate, for servers that demand one.
        public struct Identity: Sendable, Equatable {
            /// The file of the certificate, then those that lead to its authority.
            public var certificate: String
            /// The file of its key.
            public var key: String

            /// Names the files.
            public init(certificate: String, key: String) {
                self.certificate = certificate
                self.key = key
            }
        }

        /// The file of the authorities that are trusted; `nil`: the system's.
        public var authorities: String?
        /// What the client shows of itself; `nil`: nothing.
        public var identity: Identity?

        /// TLS as it is usual: the system's authorities, and a server that does not ask who calls.
        public init(authorities: String? = nil, identity: Identity? = nil) {
            self.authorities = authorities
            self.identity = identity
        }
    }
}

/// A file of certificates or a key that is of no use.
public struct SecurityFileError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The file.
    public let path: String
    /// What is wrong with it.
    public let reason: String

    public var description: String { "\(path): \(reason)" }
}

extension ContactsClient.Configuration {
    func clientTLS() throws -> ClientTLS? {
        guard let security else { return nil }
        do {
            return try ClientTLS(
                host: host, authorities: security.authorities,
                identity: security.identity.map { ($0.certificate, $0.key) })
        } catch let error as TLSFileError {
            throw SecurityFileError(path: error.path, reason: error.reason)
        }
    }
}

extension ClientError {
    /// Somebody listens, but what comes is not what a server of ours says.
    static func noServer(_ address: String, _ error: any Error, isSecure: Bool) -> ClientError {
        if let failure = error as? TLSFailure {
            return .unavailable("no secure connection to \(address): \(failure)")
        }
        return .unavailable(
            "\(address) does not answer as an HTTP/2 server"
                + (isSecure ? "" : "; if it speaks TLS, so must the client"))
    }
}
