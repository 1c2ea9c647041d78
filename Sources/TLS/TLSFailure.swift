// In: errors of NIOSSL, which carry BoringSSL's names as text. Out: the few kinds that a person acts
// on. Nothing in them comes from the peer but the name of an alert.
// On which thread: plain values, any thread.

internal import NIOCore
internal import NIOSSL

/// Why a connection did not become, or did not stay, a TLS connection.
package enum TLSFailure: Error, Equatable, CustomStringConvertible {
    /// The handshake's time is over.
    case tooSlow
    /// The other side closed the connection before the handshake's end.
    case closed
    /// What came is not TLS.
    case notTLS
    /// TLS, but no HTTP/2: the other side did not agree to the ALPN protocol `h2`.
    case noHTTP2
    /// The other side's certificate is no authority's that we trust, or not of today.
    case untrusted
    /// The other side's certificate is somebody else's.
    case wrongName
    /// The other side gave no certificate.
    case certificateMissing
    /// The other side wants a certificate of us.
    case certificateDemanded
    /// The other side does not take our certificate; the alert's name.
    case certificateRefused(String)
    /// Versions or ciphers that both sides have are too few.
    case nothingInCommon
    /// Anything else, by BoringSSL's name for it.
    case other(String)

    package var description: String {
        switch self {
        case .tooSlow: "the handshake took too long"
        case .closed: "the connection was closed during the handshake"
        case .notTLS: "it does not speak TLS"
        case .noHTTP2: "it does not offer HTTP/2 over TLS (ALPN h2)"
        case .untrusted:
            "its certificate is not trusted: no known authority has signed it, or not for today"
        case .wrongName: "its certificate is for another name"
        case .certificateMissing: "it has no certificate"
        case .certificateDemanded: "it demands a certificate"
        case .certificateRefused(let alert): "it refuses the certificate (\(alert))"
        case .nothingInCommon: "it has no TLS version or cipher in common, TLS 1.2 is the least"
        case .other(let name): "TLS failed: \(name)"
        }
    }

    init(_ error: any Error) {
        if let failure = error as? TLSFailure {
            self = failure
        } else if error as? NIOSSLExtraError == .failedToValidateHostname
            || error as? NIOSSLExtraError == .serverHostnameImpossibleToMatch
        {
            self = .wrongName
        } else if let error = error as? NIOSSLError {
            self.init(error)
        } else if let error = error as? BoringSSLError {
            self.init(name: Self.name(in: error))
        } else if error is IOError {
            self = .closed
        } else {
            self = .other(String(describing: type(of: error)))
        }
    }

    private init(_ error: NIOSSLError) {
        switch error {
        case .handshakeFailed(.sslError(let stack)) where stack == [.eofDuringHandshake]:
            self = .closed
        case .handshakeFailed(.syscallError), .uncleanShutdown: self = .closed
        case .handshakeFailed(let error), .shutdownFailed(let error):
            self.init(name: Self.name(in: error))
        case .unableToValidateCertificate: self = .wrongName
        case .noCertificateToValidate: self = .certificateMissing
        case .readInInvalidTLSState: self = .other("READ_IN_INVALID_STATE")
        default: self = .other("\(error)")
        }
    }

    /// - Parameter name: As in BoringSSL's list of errors, `ssl.h`.
    private init(name: String) {
        switch name {
        case "CERTIFICATE_VERIFY_FAILED": self = .untrusted
        case "WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST",
            "UNEXPECTED_MESSAGE", "UNEXPECTED_RECORD", "DECRYPTION_FAILED_OR_BAD_RECORD_MAC",
            "INVALID_ALERT", "ENCRYPTED_LENGTH_TOO_LONG", "TLSV1_ALERT_RECORD_OVERFLOW":
            self = .notTLS
        case "NO_APPLICATION_PROTOCOL", "TLSV1_ALERT_NO_APPLICATION_PROTOCOL":
            self = .noHTTP2
        case "PEER_DID_NOT_RETURN_A_CERTIFICATE": self = .certificateMissing
        case "TLSV1_ALERT_CERTIFICATE_REQUIRED": self = .certificateDemanded
        case "TLSV1_ALERT_UNKNOWN_CA", "SSLV3_ALERT_BAD_CERTIFICATE",
            "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE", "SSLV3_ALERT_CERTIFICATE_REVOKED",
            "SSLV3_ALERT_CERTIFICATE_EXPIRED", "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
            "TLSV1_ALERT_ACCESS_DENIED":
            self = .certificateRefused(name)
        case "UNSUPPORTED_PROTOCOL", "NO_SHARED_CIPHER", "NO_SHARED_GROUP",
            "TLSV1_ALERT_PROTOCOL_VERSION", "INAPPROPRIATE_FALLBACK":
            self = .nothingInCommon
        default: self = .other(name)
        }
    }

    /// The library gives its names within a text, "error:10000410:SSL
    /// routines:OPENSSL_internal:SSLV3_ALERT_HANDSHAKE_FAILURE at …"; the last error is the outermost.
    private static func name(in error: BoringSSLError) -> String {
        guard case .sslError(let stack) = error, let last = stack.last else { return "\(error)" }
        let text = last.description
        guard let mark = text.firstRange(of: "OPENSSL_internal:") else { return "EOF" }
        return String(
            text[mark.upperBound...].prefix { $0.isUppercase || $0.isNumber || $0 == "_" })
    }
}
