// What more lanes bring, and what their backends wait for. In: the context. Out: runs and figures in
// the report. All new contacts over 16 streams, so that neither a stream nor a connection is what
// bounds it; with more lanes than cores the waits show which of PostgreSQL's locks comes first.
// Every answer and the table are checked.

import ContactsTool
import Postgres

struct LaneScaling {
    static let key = "lanes"
    private static let laneCounts = [1, 2, 4, 8]
    private static let streams = 16
    private static let chunk = 500

    private let bench: BenchContext
    private let contacts: BenchContacts
    private let workload: Workload

    init(_ bench: BenchContext) {
        self.bench = bench
        contacts = bench.contacts()
        workload = Workload(.new, count: bench.settings.contacts)
    }

    func run() async throws {
        try bench.references.make(Self.key, contacts) { workload.versionsAfter }
        let messages = Messages(workload, contacts, chunk: Self.chunk)
        var runs: [Int: [RunRecord]] = [:]
        var waits: [Int: BackendWaits] = [:]
        for pair in 1...bench.settings.pairs {
            for lanes in Self.laneCounts {
                var (record, seen) = try await run(messages, lanes)
                record.scenario = Self.key
                record.pair = pair
                record.note = "\(lanes) lanes; \(seen.text)"
                bench.add(record)
                runs[lanes, default: []].append(record)
                waits[lanes, default: BackendWaits()].add(seen)
            }
        }
        try bench.references.drop(Self.key)
        for lanes in Self.laneCounts { report(lanes, runs[lanes] ?? [], waits[lanes]) }
    }

    private func run(_ messages: Messages, _ lanes: Int) async throws -> (RunRecord, BackendWaits) {
        try bench.cluster.makeRun(fromBase: false)
        let server = try bench.startServer(lanes: lanes)
        let (record, outcome, waits) = try await server.use {
            let connection = try bench.cluster.connect(BenchCluster.run)
            defer { connection.close() }
            let conninfo = bench.cluster.conninfo("bench")
            let watch = Task { try await BackendWaits.watch(conninfo) }
            let (record, outcome) = try await ServiceRun.measured(
                messages, streams: Self.streams, server, .byEmail,
                postmaster: bench.cluster.processID, connection)
            watch.cancel()
            return (record, outcome, try await watch.value)
        }
        try bench.references.check(Self.key, after: "\(lanes) lanes")
        try bench.cluster.with(BenchCluster.run) { connection in
            try IDCheck.check(
                outcome.ids, Deal(chunk: Self.chunk, streams: Self.streams), workload, contacts,
                connection)
        }
        return (record, waits)
    }

    private func report(_ lanes: Int, _ runs: [RunRecord], _ waits: BackendWaits?) {
        let name = "\(lanes) lane\(lanes > 1 ? "s" : "")"
        bench.add(Figure(Self.key, "\(name), contacts/s", runs.map(\.perSecond), unit: ""))
        bench.add(
            Figure(
                Self.key, "\(name), PostgreSQL's CPU", runs.compactMap(\.databaseMicroseconds),
                unit: "µs"))
        for (event, share) in waits?.largest ?? [] {
            bench.add(
                Figure(Self.key, "\(name), backends in \(event)", [100 * share], unit: "%"))
        }
    }
}

/// What the busy backends of lanes were seen to do, in samples.
struct BackendWaits: Sendable {
    private var counts: [String: Int] = [:]

    private var total: Int { counts.values.reduce(0, +) }

    /// The states that took most of the time, with their shares.
    var largest: [(event: String, share: Double)] {
        let sorted = counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
        return sorted.prefix(4).map { ($0.key, Double($0.value) / Double(total)) }
    }

    var text: String {
        largest.map { "\($0.event) \((100 * $0.share).places(0)) %" }.joined(separator: ", ")
    }

    /// Looks again and again until its task is cancelled.
    static func watch(_ conninfo: String) async throws -> BackendWaits {
        let connection = try Connection(conninfo: conninfo, applicationName: "bench")
        defer { connection.close() }
        var waits = BackendWaits()
        while !Task.isCancelled {
            let found = try connection.query(
                """
                SELECT coalesce(wait_event_type || ':' || wait_event, 'CPU')
                FROM pg_stat_activity
                WHERE datname = '\(BenchCluster.run)' AND state = 'active'
                    AND backend_type = 'client backend'
                """)
            for row in 0..<found.rowCount {
                waits.counts[found.text(row, 0) ?? "unknown", default: 0] += 1
            }
            try? await Task.sleep(for: .milliseconds(10))
        }
        return waits
    }

    mutating func add(_ other: BackendWaits) { counts.merge(other.counts, uniquingKeysWith: +) }
}
