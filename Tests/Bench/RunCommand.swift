// `bench run`: what is measured, in which order, and what comes of it. In: flags. Out: the report. The
// main task; whatever blocks, blocks it.

import ArgumentParser
import Foundation

struct RunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Runs the scenarios, checks every answer and prints a table.",
        discussion: "Scenarios: \(scenarios.joined(separator: ", ")).")

    static let scenarios =
        ThroughputScenario.all.map(\.key)
        + [
            WireOnly.key, LoneContact.key, Trickle.key, ShortStreams.key, LaneScaling.key,
            Growth.key,
        ]

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
        try BenchFiles.write(bench.report.json, to: json)
        try BenchFiles.write(Data(Plot(bench.report).svg.utf8), to: svg)
        FileHandle.standardOutput.write(Data(ReportText.text(bench.report).utf8))
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
        if chosen.contains(WireOnly.key) { try await WireOnly(bench: bench).run() }
        if chosen.contains(LoneContact.key) {
            var lone = LoneContact(bench)
            try await lone.run()
        }
        if chosen.contains(Trickle.key) {
            var trickle = Trickle(bench)
            try await trickle.run()
        }
        if chosen.contains(ShortStreams.key) { try await ShortStreams(bench).run() }
        if chosen.contains(LaneScaling.key) { try await LaneScaling(bench).run() }
        if chosen.contains(Growth.key) { try await Growth(bench).run() }
    }
}
