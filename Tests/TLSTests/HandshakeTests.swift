// Handshakes on real sockets: who the caller is, how long it may take, and what is said when it
// fails.

import Foundation
import Logging
import NIOCore
import NIOPosix
import Testing

@testable import TLS

@Suite(.timeLimit(.minutes(5)))
struct HandshakeTests {
    let certificates: TestCertificates
    let server: TestCertificates.Pair

    init() throws {
        certificates = try TestCertificates()
        server = try certificates.issue("/CN=contacts", "DNS:localhost,IP:127.0.0.1")
    }

    private func files(mutual: Bool) -> ServerCertificateFiles {
        ServerCertificateFiles(
            certificate: server.certificate, key: server.key,
            clientAuthorities: mutual ? certificates.authority.certificate : nil)
    }

    private func client(
        _ pair: TestCertificates.Pair? = nil, host: String = "localhost"
    ) throws -> ClientTLS {
        try ClientTLS(
            host: host, authorities: certificates.authority.certificate,
            identity: pair.map { ($0.certificate, $0.key) })
    }

    @Test(arguments: [
        (
            "/CN=importer", "DNS:b.example,URI:spiffe://a/x,URI:urn:y,email:a@b.example",
            "spiffe://a/x,urn:y,b.example"
        ),
        ("/CN=importer", "DNS:only.example", "only.example"),
        ("/O=Somebody/CN=Import Tool \u{fc}", nil, "Import Tool \u{fc}"),
        ("/CN=importer", "IP:127.0.0.1", "importer"),
        ("/O=Somebody", nil, ""),
        // Whoever may choose a common name may not thereby choose a URI.
        ("/CN=spiffe:\\/\\/a\\/admin", nil, ""),
    ])
    func `The caller is known by its certificate`(
        subject: String, alternatives: String?, names: String
    ) async throws {
        let pair = try certificates.issue(subject, alternatives)
        let server = try await WhoServer.start(files(mutual: true))
        let caller = try await WhoClient.connect(server.port, try client(pair))
        #expect(try await caller.who() == names)
        try await caller.channel.close()
        // And again, when the client may take up its old session.
        let again = try await WhoClient.connect(server.port, try client(pair))
        #expect(try await again.who() == names)
        try await again.channel.close()
        try await server.channel.close()
    }

    @Test
    func `A certificate that nobody asked for is nobody's`() async throws {
        let pair = try certificates.issue("/CN=importer", "URI:urn:me")
        let server = try await WhoServer.start(files(mutual: false))
        let caller = try await WhoClient.connect(server.port, try client(pair, host: "127.0.0.1"))
        #expect(try await caller.who() == "")
        #expect(server.certificates.failedHandshakeCount == 0)
        try await caller.channel.close()
        try await server.channel.close()
    }

    private func failure(_ server: WhoServer, _ tls: ClientTLS) async throws -> TLSFailure? {
        let caller = try await WhoClient.connect(server.port, tls)
        do {
            try await caller.ready.get()
            return nil
        } catch let failure as TLSFailure {
            return failure
        }
    }

    @Test
    func `The client says what is wrong`() async throws {
        let server = try await WhoServer.start(files(mutual: true))
        let others = try TestCertificates()
        #expect(try await failure(server, try client()) == .certificateDemanded)
        #expect(
            try await failure(server, try client(try others.issue("/CN=x", nil)))
                == .certificateRefused("TLSV1_ALERT_UNKNOWN_CA"))
        let wrongName = try await failure(server, try client(host: "example.com"))
        #expect(wrongName == .wrongName)
        let stranger = try ClientTLS(
            host: "localhost", authorities: others.authority.certificate, identity: nil)
        #expect(try await failure(server, stranger) == .untrusted)
        #expect(server.certificates.failedHandshakeCount >= 3)
        try await server.channel.close()
    }

    /// Connects without a word and waits for the end.
    private func silence(_ port: Int) async throws -> TimeAmount {
        let begin = NIODeadline.now()
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(EndOfFile())
                }
            }
            .connect(host: "127.0.0.1", port: port).get()
        try await channel.closeFuture.get()
        return .now() - begin
    }

    @Test
    func `A handshake has its time and no more`() async throws {
        let limit = TimeAmount.milliseconds(400)
        let server = try await WhoServer.start(files(mutual: false), limit: limit)
        let caller = try await WhoClient.connect(server.port, try client())
        _ = try await caller.who()
        let took = try await silence(server.port)
        #expect(took >= limit)
        #expect(server.certificates.failedHandshakeCount == 1)
        // The one that was in time stays, though its limit has passed as well.
        #expect(try await caller.who() == "")
        try await caller.channel.close()
        try await server.channel.close()
    }

    @Test
    func `Files of no use are named`() throws {
        let other = try certificates.issue("/CN=other", nil)
        func reason(_ certificate: String, _ key: String) -> String {
            do {
                _ = try ServerCertificates(
                    ServerCertificateFiles(certificate: certificate, key: key),
                    logger: Logger(label: "test"))
                return "none"
            } catch {
                return "\(error)"
            }
        }
        #expect(reason(server.certificate, server.key) == "none")
        #expect(
            reason(server.certificate, other.key)
                == "\(other.key): not the key of the certificate in \(server.certificate)")
        #expect(reason("/none", server.key) == "/none: No such file or directory")
        #expect(reason(server.certificate, "/tmp") == "/tmp: Is a directory")
        #expect(reason(server.key, server.key).hasPrefix("\(server.key): not certificates"))
        // At the limit of a file, and one byte past it.
        let padded = certificates.directory + "/padded.pem"
        var bytes = try Data(contentsOf: URL(fileURLWithPath: server.certificate))
        bytes.append(Data(repeating: 10, count: TLSLimits.fileByteCount - bytes.count))
        try bytes.write(to: URL(fileURLWithPath: padded))
        #expect(reason(padded, server.key) == "none")
        bytes.append(10)
        try bytes.write(to: URL(fileURLWithPath: padded))
        #expect(reason(padded, server.key) == "\(padded): larger than 1048576 bytes")
    }
}
