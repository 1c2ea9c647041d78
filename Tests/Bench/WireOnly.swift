// What a contact costs before the database: bulk loads to `bench discard-server`. In: the context.
// Out: runs and figures in the report.

import Foundation

struct WireOnly {
    static let key = "wire"

    let bench: BenchContext

    func run() async throws {
        for (streams, chunk, limit) in [(1, 500, 0.6), (4, 1, 1.0)] {
            let workload = Workload(.new, count: bench.settings.contacts)
            let messages = Messages(workload, bench.contacts(), chunk: chunk)
            var runs: [RunRecord] = []
            for pair in 1...bench.settings.pairs {
                var record = try await run(messages, streams: streams)
                record.scenario = Self.key
                record.note = "\(chunk) a message"
                record.pair = pair
                bench.add(record)
                runs.append(record)
            }
            let title =
                "no database, \(streams) stream\(streams > 1 ? "s" : ""), \(chunk) a message"
            bench.add(
                Figure(
                    "cpu", "server CPU, \(title)", runs.compactMap(\.serverMicroseconds),
                    unit: "µs", .atMost, limit))
            bench.add(Figure("cpu", title, runs.map(\.perSecond), unit: "contacts/s"))
        }
    }

    private func run(_ messages: Messages, streams: Int) async throws -> RunRecord {
        let server = try ServerProcess(
            [BenchFiles.ownPath, "discard-server"], directory: bench.cluster.directory)
        return try await server.use {
            let (record, outcome) = try await ServiceRun.measured(
                messages, streams: streams, server, .byEmail, postmaster: nil, nil)
            let ids = Set(outcome.ids.joined())
            guard ids.count == messages.workload.count else {
                throw BenchError("\(ids.count) ids for \(messages.workload.count) contacts")
            }
            return record
        }
    }
}
