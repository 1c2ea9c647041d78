// In: names. Out: certificates and keys as files, made by the openssl command.

import Foundation
import TestSupport

/// An authority with what it has signed, in a directory of its own.
final class TestCertificates: Sendable {
    struct Pair: Sendable {
        let certificate: String
        let key: String
    }

    let directory: String
    let authority: Pair

    init() throws {
        directory = try TemporaryDirectory.make("tls")
        authority = Pair(certificate: directory + "/ca.pem", key: directory + "/ca.key")
        try Self.openssl(
            ["req", "-x509"] + Self.newKey + [
                "-keyout", authority.key, "-out", authority.certificate, "-days", "2",
                "-subj", "/CN=Test Authority",
            ])
    }

    deinit { TemporaryDirectory.remove(directory) }

    /// - Parameter alternatives: As openssl has them, such as `DNS:localhost,URI:urn:a`.
    func issue(_ name: String, _ alternatives: String?) throws -> Pair {
        let base = directory + "/" + UUID().uuidString
        let pair = Pair(certificate: base + ".pem", key: base + ".key")
        try Self.openssl(
            ["req", "-utf8"] + Self.newKey + [
                "-keyout", pair.key, "-out", base + ".csr", "-subj", name,
            ])
        let extensions =
            "basicConstraints=CA:FALSE\n"
            + (alternatives.map { "subjectAltName=\($0)\n" } ?? "")
        try Data(extensions.utf8).write(to: URL(fileURLWithPath: base + ".ext"))
        try Self.openssl([
            "x509", "-req", "-in", base + ".csr", "-CA", authority.certificate, "-CAkey",
            authority.key, "-CAcreateserial", "-out", pair.certificate, "-days", "2", "-extfile",
            base + ".ext",
        ])
        return pair
    }

    private static let newKey = [
        "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
    ]

    private static func openssl(_ arguments: [String]) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["openssl"] + arguments
        process.standardError = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw OpenSSLFailed(arguments: arguments)
        }
    }
}

struct OpenSSLFailed: Error {
    let arguments: [String]
}
