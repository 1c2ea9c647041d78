// In: whom a client trusts and who it is, as files. Out: handshakes on its channels.
// On which thread: made on any that may wait for a disk; used on the channel's event loop.

package import NIOCore
internal import NIOSSL

package struct ClientTLS: Sendable {
    private let context: NIOSSLContext
    /// Nil for an address: the certificate has to name that then.
    private let serverName: String?

    /// - Parameters:
    ///   - host: As the user named the server; its certificate has to be for it.
    ///   - authorities: A file of those trusted; nil: the system's.
    ///   - identity: Files of the client's own certificate and key.
    /// - Throws: `TLSFileError`.
    package init(
        host: String, authorities: String?, identity: (certificate: String, key: String)?
    ) throws {
        var configuration = TLSConfiguration.makeClientConfiguration()
        if let authorities {
            configuration.trustRoots = .certificates(try PEMFile.certificates(authorities))
        }
        if let identity {
            configuration.certificateChain = try PEMFile.certificates(identity.certificate)
                .map { .certificate($0) }
            configuration.privateKey = .privateKey(try PEMFile.key(identity.key))
        }
        configuration.restrictToHTTP2()
        do {
            context = try NIOSSLContext(configuration: configuration)
        } catch {
            throw identity.map {
                TLSFileError(
                    path: $0.key, reason: "not the key of the certificate in \($0.certificate)")
            } ?? TLSFileError(path: authorities ?? "the system's authorities", reason: "of no use")
        }
        serverName = (try? SocketAddress(ipAddress: host, port: 0)) == nil ? host : nil
    }

    /// Makes a client's channel speak TLS. Call it in the channel's initializer; what is added next
    /// may write at once, it goes out after the handshake.
    package func connect(
        _ channel: any Channel, limit: TimeAmount, whenFailed: @escaping (TLSFailure) -> Void
    ) throws {
        var settings = NIOSSLHandler.Configuration()
        settings.maximumPreservedOutboundBufferCapacity = TLSLimits.keptOutputByteCount
        let tls = try NIOSSLClientHandler(
            context: context, serverHostname: serverName, configuration: settings)
        let gate = TLSGate(
            .client(serverName: serverName), above: tls, limit: limit, whenReady: { _ in },
            whenFailed: whenFailed)
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHandler(tls)
        try pipeline.addHandler(gate)
    }
}
