// In: certificate files, read at the start and again when they change or somebody asks. Out: for
// each accepted channel a handshake with what was read last.
// On which thread: any; reading waits for the disk, so not on an event loop.

package import Logging
internal import NIOConcurrencyHelpers
package import NIOCore
internal import Foundation
internal import NIOSSL

/// The files of a server that speaks TLS, all in PEM format.
package struct ServerCertificateFiles: Sendable, Equatable {
    /// The server's certificate, then those that lead to its authority.
    package let certificate: String
    package let key: String
    /// Authorities, one of which must have signed the certificate that each client has to show; nil:
    /// clients need none.
    package let clientAuthorities: String?

    package init(certificate: String, key: String, clientAuthorities: String? = nil) {
        self.certificate = certificate
        self.key = key
        self.clientAuthorities = clientAuthorities
    }

    var stamps: [FileStamp?] {
        [certificate, key, clientAuthorities].compactMap(\.self).map(FileStamp.init)
    }
}

package final class ServerCertificates: Sendable {
    private let files: ServerCertificateFiles
    private let logger: Logger
    private let failures: FailureLog
    private let context: NIOLockedValueBox<NIOSSLContext>
    private let changes: NIOLockedValueBox<FileChanges>

    /// - Throws: `TLSFileError` when they are of no use.
    package init(_ files: ServerCertificateFiles, logger: Logger) throws {
        self.files = files
        self.logger = logger
        failures = FailureLog(logger)
        // Before they are read: what changes meanwhile is read again.
        changes = NIOLockedValueBox(FileChanges(files.stamps))
        context = NIOLockedValueBox(try Self.read(files, logger))
    }

    /// Handshakes that failed since the start.
    package var failedHandshakeCount: Int { failures.count }

    /// Looks whether the files have changed, and if so reads them. To be called every
    /// `TLSLimits.lookInterval`.
    package func look() {
        let stamps = files.stamps
        if changes.withLockedValue({ $0.look(stamps) }) { read() }
    }

    /// Reads the files now.
    package func readAgain() {
        let stamps = files.stamps
        changes.withLockedValue { $0.willRead(stamps) }
        read()
    }

    /// Connections keep what they were opened with.
    private func read() {
        do {
            let new = try Self.read(files, logger)
            context.withLockedValue { $0 = new }
        } catch {
            logger.warning(
                "the certificates are of no use; those that were read before stay",
                metadata: ["reason": "\(error)"])
        }
    }

    /// Makes a channel that was just accepted speak TLS. Call it in the child channel's initializer.
    ///
    /// - Parameter whenReady: Adds what goes on top; it is given the names in the client's verified
    ///   certificate, and is not called when the handshake fails.
    package func serve(
        _ channel: any Channel, limit: TimeAmount,
        whenReady: @escaping ([String]) throws -> Void
    ) throws {
        var settings = NIOSSLHandler.Configuration()
        settings.maximumPreservedOutboundBufferCapacity = TLSLimits.keptOutputByteCount
        let tls = NIOSSLServerHandler(
            context: context.withLockedValue { $0 }, configuration: settings)
        let gate = TLSGate(.server, above: tls, limit: limit, whenReady: whenReady) {
            [failures] in failures.add($0, from: channel.remoteAddress)
        }
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHandler(tls)
        try pipeline.addHandler(gate)
    }

    private static func read(
        _ files: ServerCertificateFiles, _ logger: Logger
    ) throws(TLSFileError) -> NIOSSLContext {
        let chain = try PEMFile.certificates(files.certificate)
        let key = try PEMFile.key(files.key)
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(key))
        if let path = files.clientAuthorities {
            configuration.trustRoots = .certificates(try PEMFile.certificates(path))
            // Demanded and verified; a client has no name to compare with.
            configuration.certificateVerification = .noHostnameVerification
        }
        configuration.restrictToHTTP2()
        let context: NIOSSLContext
        do {
            context = try NIOSSLContext(configuration: configuration)
        } catch {
            throw TLSFileError(
                path: files.key, reason: "not the key of the certificate in \(files.certificate)")
        }
        if let owner = chain.first { note(owner, files, logger) }
        return context
    }

    private static func note(
        _ owner: NIOSSLCertificate, _ files: ServerCertificateFiles, _ logger: Logger
    ) {
        let end = Date(timeIntervalSince1970: TimeInterval(owner.notValidAfter))
        let metadata: Logger.Metadata = [
            "certificate": "\(files.certificate)", "valid_until": "\(end.formatted(.iso8601))",
        ]
        if end < Date() {
            logger.warning("the certificate has expired", metadata: metadata)
        } else {
            logger.info("certificates read", metadata: metadata)
        }
    }
}

extension TLSConfiguration {
    /// What HTTP/2 asks of TLS (RFC 9113 section 9.2): 1.2 at least, no compression and no
    /// renegotiation, which NIOSSL never does, and of the older ciphers only those with an ephemeral
    /// key exchange and an AEAD. TLS 1.3 has no others.
    mutating func restrictToHTTP2() {
        minimumTLSVersion = .tlsv12
        cipherSuites = "ECDHE+AESGCM:ECDHE+CHACHA20"
        applicationProtocols = [TLSGate.applicationProtocol]
        shutdownTimeout = TLSLimits.closeNotify
    }
}
