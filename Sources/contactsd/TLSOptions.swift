// Whether the server speaks TLS, and with which files. Flags win over the environment.

import ArgumentParser
import ContactsServer
import Foundation
import Logging
import TLS

struct TLSOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The server's certificate and those that lead to its authority, in PEM format.",
            discussion: """
                Else CONTACTS_TLS_CERTIFICATE, else the server speaks clear text. The files of all \
                TLS options are read again on SIGHUP and when they change.
                """, valueName: "file"))
    var tlsCertificate: String?

    @Option(
        help: ArgumentHelp(
            "The certificate's key, in PEM format. Else CONTACTS_TLS_KEY.", valueName: "file"))
    var tlsKey: String?

    @Option(
        help: ArgumentHelp(
            "Demands of each client a certificate that one of these authorities has signed.",
            discussion: "In PEM format. Else CONTACTS_TLS_CLIENT_CA, else clients need none.",
            valueName: "file"))
    var tlsClientCA: String?

    @Flag(
        help: ArgumentHelp(
            "Speaks clear text also on addresses that others can reach.",
            discussion: "For networks where something else encrypts. Else CONTACTS_CLEAR_TEXT=1."))
    var clearText = false

    /// What to speak on an address; nil: clear text.
    func certificates(for host: String, _ logger: Logger) throws -> ServerCertificates? {
        let files = try files()
        let isClearTextAsked = try isClearTextAsked()
        if files != nil, isClearTextAsked {
            throw ValidationError("give either --clear-text or --tls-certificate, not both")
        }
        if let files { return try ServerCertificates(files, logger: logger) }
        guard isClearTextAsked || AccessOptions.isLoopback(host) else {
            throw ValidationError(
                """
                --listen: others can reach \(host), so give --tls-certificate and --tls-key; \
                --clear-text does without, on a network where something else encrypts
                """)
        }
        return nil
    }

    private func isClearTextAsked() throws -> Bool {
        if clearText { return true }
        switch Self.variable("CONTACTS_CLEAR_TEXT")?.lowercased() {
        case nil, "0", "false", "no", "off": return false
        case "1", "true", "yes", "on": return true
        case let other?:
            throw ValidationError("CONTACTS_CLEAR_TEXT: \"\(other)\" is neither 1 nor 0")
        }
    }

    private func files() throws -> ServerCertificateFiles? {
        let certificate = tlsCertificate ?? Self.variable("CONTACTS_TLS_CERTIFICATE")
        let key = tlsKey ?? Self.variable("CONTACTS_TLS_KEY")
        let clientAuthorities = tlsClientCA ?? Self.variable("CONTACTS_TLS_CLIENT_CA")
        if let certificate, let key {
            return ServerCertificateFiles(
                certificate: certificate, key: key, clientAuthorities: clientAuthorities)
        }
        guard certificate == nil, key == nil, clientAuthorities == nil else {
            throw ValidationError("TLS needs both --tls-certificate and --tls-key")
        }
        return nil
    }

    private static func variable(_ name: String) -> String? {
        ProcessInfo.processInfo.environment[name].flatMap { $0.isEmpty ? nil : $0 }
    }
}

/// Reads certificates again on SIGHUP, and looks every few seconds whether they have changed. On a
/// queue of its own, since disks may be slow.
final class CertificateWatch {
    private let hangUp: any DispatchSourceSignal
    private let clock: any DispatchSourceTimer

    init(_ certificates: ServerCertificates) {
        let queue = DispatchQueue(label: "contactsd.certificates")
        hangUp = DispatchSource.makeSignalSource(signal: SIGHUP, queue: queue)
        hangUp.setEventHandler { certificates.readAgain() }
        hangUp.resume()
        clock = DispatchSource.makeTimerSource(queue: queue)
        let seconds = Int(TLSLimits.lookInterval.components.seconds)
        clock.schedule(deadline: .now() + .seconds(seconds), repeating: .seconds(seconds))
        clock.setEventHandler { certificates.look() }
        clock.resume()
    }

    func stop() {
        hangUp.cancel()
        clock.cancel()
    }
}
