// contacts load: sends made-up contacts and measures. In: flags. Out: a table, and JSON where it
// is asked for. On the main task; ContactsTool's LoadRun does the work.

import ArgumentParser
import ContactsClient
import ContactsTool
import Foundation

struct LoadCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "load",
        abstract: "Measures throughput and latency with made-up contacts.",
        discussion: """
            Contacts are named by --prefix and numbered: the same prefix and seed a second time \
            leaves all unchanged, another seed updates them, another prefix makes new ones.
            Latency is that of each contact from sending to result; with --rate from the moment at \
            which it should have been sent.
            """)

    @OptionGroup var server: ServerOptions

    @Option(help: "Calls at the same time.")
    var streams = 1

    @Option(help: "Connections that the calls share.")
    var connections = 1

    @Option(help: "Contacts in a message.")
    var chunk = 500

    @Option(help: "Contacts to send.")
    var contacts = 100_000

    @Option(help: ArgumentHelp("Contacts a second; else as fast as possible.", valueName: "n"))
    var rate: Double?

    @Option(help: "The same seed makes the same contacts.")
    var seed: UInt64 = 1

    @Option(help: "The share of contacts that repeat the keys of an earlier one, 0 to 1.")
    var repeats = 0.0

    @Option(help: "What the contacts' keys begin with.")
    var prefix = "load-"

    @Option(
        help: ArgumentHelp("Writes the report as JSON; - is standard output.", valueName: "path"))
    var json: String?

    @Flag(
        help: """
            Reads back each contact that was acknowledged, also when the run ended early, and \
            exits with 1 when one is missing or different.
            """)
    var verify = false

    func validate() throws {
        guard streams > 0, connections > 0, chunk > 0, contacts > 0 else {
            throw ValidationError(
                "--streams, --connections, --chunk and --contacts have to be at least 1")
        }
        guard (rate ?? 1) > 0, (0...1).contains(repeats) else {
            throw ValidationError("--rate has to be over 0 and --repeats from 0 to 1")
        }
    }

    func run() async throws {
        let configuration = try server.configuration()
        do {
            let run = LoadRun(options)
            let interrupt = Interrupt { run.stop() }
            defer { interrupt.cancel() }
            let (report, failure) = try await run.run(configuration)
            Terminal.note(report.text)
            if let json { try write(report.json, to: json) }
            if let verification = report.verification, !verification.isRight {
                throw ExitCode(ExitStatus.someFailed)
            }
            if let failure { throw Terminal.exitCode(failure) }
            if run.wasStopped { throw Interrupt.exitCode }
            if report.counts.failed > 0 { throw ExitCode(ExitStatus.someFailed) }
        } catch let code as ExitCode {
            throw code
        } catch {
            throw Terminal.exitCode(error)
        }
    }

    private var options: LoadOptions {
        var options = LoadOptions()
        options.streams = streams
        options.connections = connections
        options.chunk = chunk
        options.contacts = contacts
        options.rate = rate
        options.seed = seed
        options.repeats = repeats
        options.prefix = prefix
        options.verifies = verify
        return options
    }

    private func write(_ bytes: [UInt8], to path: String) throws {
        guard path != "-" else { return try Terminal.output(bytes) }
        do {
            try Data(bytes).write(to: URL(fileURLWithPath: path))
        } catch {
            throw FileError(path: path, action: "write", code: errno)
        }
    }
}
