// Whether the server's memory and its CPU time a contact stay what they are while imports grow a
// hundredfold. In: the context. Out: runs and figures in the report. Messages are made while a run
// goes on, in small runs too, so that all are alike. Every answer and the table are checked.

import ContactsTool
import Postgres

struct Growth {
    static let key = "growth"
    private static let streamCounts = [1, 64]
    private static let chunk = 500
    /// Created before the clock starts, so that a small run does not pay for a server's beginnings.
    private static let warmUpCount = 10_000

    private let bench: BenchContext
    private let contacts: BenchContacts
    /// A tenth, once, and ten times the contacts of other runs.
    private let sizes: [Int]

    init(_ bench: BenchContext) {
        self.bench = bench
        contacts = bench.contacts()
        sizes = [
            bench.settings.contacts / 10, bench.settings.contacts, bench.settings.contacts * 10,
        ]
    }

    func run() async throws {
        var runs: [Case: [RunRecord]] = [:]
        // The largest size evens its noise out by itself.
        for pair in 1...bench.settings.pairs {
            for size in pair == 1 ? sizes : Array(sizes.dropLast()) {
                for streams in Self.streamCounts {
                    var record = try await run(size, streams)
                    record.pair = pair
                    bench.add(record)
                    runs[Case(size: size, streams: streams), default: []].append(record)
                }
            }
        }
        for size in sizes { try bench.references.drop(reference(size)) }
        report(runs)
    }

    private struct Case: Hashable {
        var size: Int
        var streams: Int
    }

    private func reference(_ size: Int) -> String { "growth_\(size)" }

    private func run(_ size: Int, _ streams: Int) async throws -> RunRecord {
        let warmUp = Workload(.new, count: Self.warmUpCount)
        let workload = Workload(.new, count: size, firstNumber: Self.warmUpCount)
        try bench.references.make(reference(size), contacts) { workload.versionsAfter }
        try bench.cluster.makeRun(fromBase: false)
        let server = try bench.startServer()
        var (record, outcome) = try await server.use {
            let connection = try bench.cluster.connect(BenchCluster.run)
            defer { connection.close() }
            let first = try await ServiceLoad.open(
                server.configuration(), Messages(warmUp, contacts, chunk: Self.chunk), streams: 1)
            _ = try await first.run()
            await first.close()
            return try await ServiceRun.measured(
                Messages(workload, contacts, chunk: Self.chunk, prepares: false),
                streams: streams, server, .byEmail, postmaster: bench.cluster.processID,
                connection)
        }
        record.scenario = Self.key
        record.note = "\(name(streams)), peak \((record.peakKilobytes ?? 0) / 1024) MiB"
        try check(outcome, workload, streams)
        return record
    }

    private func check(_ outcome: LoadOutcome, _ workload: Workload, _ streams: Int) throws {
        try bench.references.check(reference(workload.count), after: "a growing import")
        try bench.cluster.with(BenchCluster.run) { connection in
            try IDCheck.check(
                outcome.ids, Deal(chunk: Self.chunk, streams: streams), workload, contacts,
                connection)
        }
    }

    private func name(_ streams: Int) -> String { "\(streams) stream\(streams > 1 ? "s" : "")" }

    private func report(_ runs: [Case: [RunRecord]]) {
        var peaks: [Int: [Double]] = [:]
        for size in sizes.dropFirst() {
            for streams in Self.streamCounts {
                let values = (runs[Case(size: size, streams: streams)] ?? [])
                    .compactMap { $0.peakKilobytes.map { Double($0) / 1024 } }
                peaks[streams, default: []].append(values.median)
                bench.add(
                    Figure(
                        Self.key,
                        "server memory, \(ProgressText.grouped(size)) contacts, \(name(streams))",
                        values, unit: "MiB", .atMost, 100))
            }
        }
        for streams in Self.streamCounts {
            bench.add(
                Figure(
                    Self.key, "server memory, \(name(streams)), largest to smallest of these",
                    [(peaks[streams] ?? []).spread], unit: "x", .atMost, 1.10))
        }
        bench.add(
            Figure(
                Self.key, "server memory, largest to smallest of all these",
                [peaks.values.flatMap(\.self).spread], unit: "x", .atMost, 1.10))
        for streams in Self.streamCounts {
            let values = sizes.map { size in
                let figure = Figure(
                    Self.key,
                    "server CPU, \(ProgressText.grouped(size)) contacts, \(name(streams))",
                    (runs[Case(size: size, streams: streams)] ?? [])
                        .compactMap(\.serverMicroseconds), unit: "µs")
                bench.add(figure)
                return figure.value
            }
            bench.add(
                Figure(
                    Self.key, "server CPU, \(name(streams)), largest to smallest of these",
                    [values.spread], unit: "x", .atMost, 1.05))
        }
    }
}

extension [Double] {
    /// The largest as a multiple of the smallest.
    fileprivate var spread: Double { (self.max() ?? .nan) / (self.min() ?? .nan) }
}
