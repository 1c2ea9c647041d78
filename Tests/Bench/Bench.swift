// The bench's command line. In: flags. Out: progress on standard error, a table on standard output,
// JSON and a plot in files. Exit code: 0; 1 for a wrong answer, a failure, or, if targets were
// demanded, a missed one; 130 when interrupted.

import ArgumentParser
import Foundation

@main
struct Bench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measures the service against psql, on a PostgreSQL of its own.",
        subcommands: [RunCommand.self], defaultSubcommand: RunCommand.self)
}

struct RunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Runs the scenarios, checks every answer and prints a table.",
        discussion: "Scenarios: \(scenarios.joined(separator: ", ")).")

    static let scenarios = ThroughputScenario.all.map(\.key)

    @Option(help: "Contacts of a run.")
    var contacts = 200_000

    @Option(help: "Runs of each side, in turns.")
    var pairs = 3

    @Option(help: "Which scenarios, separated by commas; else all.")
    var only: String?

    @Option(help: "The same seed makes the same contacts.")
    var seed: UInt64 = 1

    @Option(help: "contactsd's --lanes; else its own default.")
    var lanes: Int?

    @Option(help: "Where the results go.")
    var json = ".build/bench/results.json"

    @Option(help: "Where the plot goes.")
    var svg = ".build/bench/throughput.svg"

    @Option(
        help: """
            A directory for PostgreSQL and large files, removed in the end. Else one under .build, \
            or under /var/lib where PostgreSQL's user cannot enter that.
            """)
    var directory: String?

    @Option(help: "The server's program; else the one beside this one.")
    var contactsd: String?

    @Option(help: "psql; else PostgreSQL's own.")
    var psql: String?

    @Flag(help: "Exit with 1 when a target is missed.")
    var requireTargets = false

    func validate() throws {
        guard contacts >= 100, pairs >= 1 else {
            throw ValidationError("--contacts has to be at least 100, --pairs at least 1")
        }
        let unknown = chosen.subtracting(Self.scenarios)
        guard unknown.isEmpty else {
            throw ValidationError(
                "there is no scenario \(unknown.sorted().joined(separator: ", "))")
        }
    }

    private var chosen: Set<String> {
        Set((only ?? Self.scenarios.joined(separator: ",")).split(separator: ",").map(String.init))
    }

    func run() async throws {
        signal(SIGPIPE, SIG_IGN)
        Note.print("starting PostgreSQL")
        let cluster = try BenchCluster(directory: directory)
        let interrupt = Interruption { cluster.stop() }
        defer {
            interrupt.cancel()
            cluster.stop()
        }
        let bench = try context(cluster)
        try await run(bench)
        try bench.report.json.write(toFile: json)
        print(ReportText.text(bench.report))
        Note.print("results: \(json), plot: \(svg)")
        let missed = ReportText.missed(bench.report)
        if !missed.isEmpty { Note.print("missed: \(missed.joined(separator: "; "))") }
        if requireTargets, !missed.isEmpty { throw ExitCode(1) }
    }

    private func context(_ cluster: BenchCluster) throws -> BenchContext {
        let beside = BenchFiles.directory(of: BenchFiles.ownPath) + "/contactsd"
        let program = BenchFiles.absolute(contactsd ?? beside)
        guard FileManager.default.isExecutableFile(atPath: program) else {
            throw BenchError("there is no \(program); build it: swift build -c release")
        }
        return try BenchContext(
            settings: .init(
                contacts: contacts, pairs: pairs, seed: seed,
                sharedBuffersMegabytes: BenchCluster.sharedBuffersMegabytes, lanes: lanes),
            cluster: cluster, psql: try psql ?? BenchFiles.postgresProgram("psql"),
            contactsd: program)
    }

    private func run(_ bench: BenchContext) async throws {
        let throughput = ThroughputScenario.all.filter { chosen.contains($0.key) }
        let needsBase = throughput.contains { $0.kind != .new }
        try bench.cluster.makeTemplates(
            bench.contacts(), baseCount: needsBase ? bench.settings.contacts : 0)
        for scenario in throughput {
            Note.print(scenario.title)
            try await Throughput(bench: bench, scenario: scenario).run()
        }
    }
}

extension Data {
    fileprivate func write(toFile path: String) throws {
        try BenchFiles.write(self, to: path)
    }
}

/// Cleans up and ends the process on SIGINT and SIGTERM.
final class Interruption {
    private var sources: [any DispatchSourceSignal] = []

    init(_ cleanUp: @escaping @Sendable () -> Void) {
        for number in [SIGINT, SIGTERM] {
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler {
                Note.print("interrupted, cleaning up")
                cleanUp()
                _exit(130)
            }
            source.resume()
            sources.append(source)
        }
    }

    func cancel() {
        for source in sources { source.cancel() }
    }
}
