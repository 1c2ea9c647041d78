// The command line's root. In: arguments and environment. Out: an exit code; data on standard
// output, everything else on standard error. The work is done by ContactsTool.

import ArgumentParser
import ContactsClient
import ContactsTool
import Foundation

@main
struct ContactsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "contacts",
        abstract: "Imports, exports, reads and load-tests contacts.",
        discussion: """
            Exit codes: 0 all is well; 1 some contacts failed or were not found, \
            or the server is not serving; 64 usage; 65 the file cannot be read as its format; 66 no such file; 69 the server is not \
            available; 70 any other error; 73 a file cannot be written; 130 interrupted, 143 by SIGTERM.
            """,
        version: "0.1.0",
        subcommands: [
            ImportCommand.self, ExportCommand.self, GetCommand.self, HealthCommand.self,
            LoadCommand.self, SampleCommand.self,
        ])
}

struct ServerOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The server; else CONTACTS_SERVER, else 127.0.0.1:50051.", valueName: "host:port"))
    var server: String?

    @Option(
        help: ArgumentHelp(
            "The workspace; else CONTACTS_WORKSPACE, else the server's default.",
            valueName: "name"))
    var workspace: String?

    @Option(
        help: ArgumentHelp(
            "The file that holds your key, \"-\" for none; else CONTACTS_KEY_FILE.",
            discussion: """
                A key is not given as an argument, which others could see in the list of processes.
                """,
            valueName: "file"))
    var keyFile: String?

    @Flag(help: "Speaks TLS; the server's certificate has to be one that this system trusts.")
    var tls = false

    @Option(
        help: ArgumentHelp(
            "Speaks TLS and trusts these authorities alone, in PEM format.", valueName: "file"))
    var ca: String?

    @Option(
        help: ArgumentHelp(
            "Speaks TLS and shows this certificate to a server that demands one.",
            valueName: "file"))
    var tlsCertificate: String?

    @Option(help: ArgumentHelp("The private key of --tls-certificate.", valueName: "file"))
    var tlsKey: String?

    func validate() throws {
        if (tlsCertificate == nil) != (tlsKey == nil) {
            throw ValidationError("give --tls-certificate and --tls-key, or neither")
        }
    }

    private var security: ContactsClient.Security? {
        var identity: ContactsClient.Security.Identity?
        if let tlsCertificate, let tlsKey {
            identity = .init(certificate: tlsCertificate, key: tlsKey)
        }
        guard tls || ca != nil || identity != nil else { return nil }
        return ContactsClient.Security(authorities: ca, identity: identity)
    }

    func configuration() throws -> ContactsClient.Configuration {
        let environment = ProcessInfo.processInfo.environment
        guard
            var configuration = ServerAddress.configuration(
                server: server, workspace: workspace, environment: environment)
        else {
            throw ValidationError("the server has to be HOST:PORT, such as 127.0.0.1:50051")
        }
        if let file = keyFile ?? environment["CONTACTS_KEY_FILE"], !file.isEmpty, file != "-" {
            configuration.key = try key(in: file)
        }
        configuration.security = security
        return configuration
    }

    /// What stands in the file may be told to nobody, so the errors do not.
    private func key(in file: String) throws -> String {
        let text: String
        do {
            text = try String(contentsOfFile: file, encoding: .utf8)
        } catch {
            throw ValidationError("--key-file: \(file) cannot be read")
        }
        let key = text.trimmingCharacters(in: .whitespacesAndNewlines)
        guard !key.isEmpty, key.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw ValidationError(
                "--key-file: \(file) does not hold a key, as \"contactsd key create\" prints it")
        }
        return key
    }
}

enum Terminal {
    /// Writes data.
    static func output(_ bytes: [UInt8]) throws {
        try FileHandle.standardOutput.write(contentsOf: bytes)
    }

    /// Writes what is for people.
    static func note(_ text: String) {
        try? FileHandle.standardError.write(contentsOf: Array(text.utf8))
    }

    /// Says what went wrong and gives the exit code for it.
    static func exitCode(_ error: any Error) -> ExitCode {
        note("contacts: \(ErrorText.text(error))\n")
        return ExitCode(ErrorText.status(error))
    }
}
