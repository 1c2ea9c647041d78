// Bulk loads against psql's staged upsert, in turns. In: scenarios. Out: runs, ratios, costs and
// latencies in the report. After each run every answer and the whole table are checked.

import Foundation
import Histogram
import Postgres

struct ThroughputScenario {
    var key: String
    var title: String
    var kind: Workload.Kind
    var streams = 1
    /// Contacts in a message.
    var chunk = 500
    var workspace = BenchWorkspace.byEmail
    /// The least ratio to psql.
    var target: Double

    static let all = [
        ThroughputScenario(
            key: "new", title: "all new, 1 stream, 500 a message", kind: .new, target: 1.3),
        ThroughputScenario(
            key: "new-16", title: "all new, 16 streams, 500 a message", kind: .new, streams: 16,
            target: 1.3),
        ThroughputScenario(key: "unchanged", title: "all unchanged", kind: .unchanged, target: 1.6),
        ThroughputScenario(key: "changed", title: "all changed", kind: .changed, target: 1.15),
        ThroughputScenario(
            key: "mixed", title: "mixed, some repeated, some bad", kind: .mixed, target: 1.2),
        ThroughputScenario(
            key: "single", title: "all new, 4 streams, 1 a message", kind: .new, streams: 4,
            chunk: 1, target: 1.0),
        ThroughputScenario(
            key: "unique", title: "all new, three identifiers unique", kind: .new,
            workspace: .byAll, target: 1.2),
    ]
}

struct Throughput {
    let bench: BenchContext
    let scenario: ThroughputScenario

    /// What the table must be in the end, and psql's files, are the same for several scenarios.
    private var dataName: String {
        "all_" + scenario.kind.rawValue + (scenario.workspace.hasPhone ? "_three" : "")
    }

    func run() async throws {
        let contacts = bench.contacts(scenario.workspace)
        let count = bench.settings.contacts
        let workload =
            scenario.kind == .mixed
            ? Workload.mixed(count: count, seed: bench.settings.seed)
            : Workload(scenario.kind, count: count)
        try bench.references.make(dataName, contacts, scenario.workspace) {
            workload.versionsAfter
        }
        let scripts = (0..<PsqlScript.connectionCount).map {
            "\(bench.cluster.directory)/\(dataName)-\($0).sql"
        }
        let rowCount = try PsqlScript.write(workload, contacts, scenario.workspace, to: scripts)
        let messages = Messages(workload, contacts, chunk: scenario.chunk)
        var psql: [RunRecord] = []
        var service: [RunRecord] = []
        for pair in 1...bench.settings.pairs {
            psql.append(try runPsql(scripts, rowCount, workload, pair))
            service.append(try await runService(messages, contacts, pair))
        }
        scripts.forEach(BenchFiles.remove)
        report(psql, service)
    }

    private func runPsql(
        _ scripts: [String], _ rowCount: Int, _ workload: Workload, _ pair: Int
    ) throws -> RunRecord {
        try bench.cluster.makeRun(fromBase: workload.needsBase)
        var record = try bench.baseline.run(scripts, rowCount: rowCount)
        record.scenario = scenario.key
        record.pair = pair
        try bench.references.check(dataName, after: "psql's \(scenario.title)")
        bench.add(record)
        return record
    }

    private func runService(
        _ messages: Messages, _ contacts: BenchContacts, _ pair: Int
    ) async throws -> RunRecord {
        try bench.cluster.makeRun(fromBase: messages.workload.needsBase)
        let server = try bench.startServer()
        var (record, outcome) = try await server.use { try await load(messages, server) }
        record.scenario = scenario.key
        record.pair = pair
        try bench.references.check(dataName, after: "the service's \(scenario.title)")
        try bench.cluster.with(BenchCluster.run) { connection in
            try IDCheck.check(
                outcome.ids, Deal(chunk: scenario.chunk, streams: scenario.streams),
                messages.workload, contacts, connection)
        }
        bench.add(record)
        return record
    }

    private func load(
        _ messages: Messages, _ server: ServerProcess
    ) async throws -> (RunRecord, LoadOutcome) {
        let connection = try bench.cluster.connect(BenchCluster.run)
        defer { connection.close() }
        return try await ServiceRun.measured(
            messages, streams: scenario.streams, server, scenario.workspace,
            postmaster: bench.cluster.processID, connection)
    }

    // MARK: Report

    private func report(_ psql: [RunRecord], _ service: [RunRecord]) {
        let ratios = zip(psql, service).map { $1.perSecond / $0.perSecond }
        bench.report.comparisons.append(
            Comparison(
                scenario: scenario.key, title: scenario.title,
                psqlPerSecond: psql.map(\.perSecond).median,
                servicePerSecond: service.map(\.perSecond).median,
                ratio: Figure(
                    scenario.key, "ratio to psql", ratios, unit: "", .atLeast, scenario.target)))
        let server = service.compactMap(\.serverMicroseconds)
        switch scenario.key {
        case "new":
            bench.add(Figure("cpu", "server CPU, 500 a message", server, unit: "µs", .atMost, 0.9))
        case "single":
            bench.add(Figure("cpu", "server CPU, 1 a message", server, unit: "µs", .atMost, 1.5))
        case "new-16":
            bench.add(
                Figure(
                    "latency", "16 streams at full load, p50", service.compactMap(\.p50),
                    unit: "ms", .atMost, 150))
            bench.add(
                Figure(
                    "latency", "16 streams at full load, p99", service.compactMap(\.p99),
                    unit: "ms", .atMost, 400))
        case "unchanged":
            bench.add(
                Figure(
                    "unchanged", "log written for unchanged contacts",
                    service.compactMap(\.walBytes), unit: "bytes", .atMost, 1))
        default: break
        }
    }
}
