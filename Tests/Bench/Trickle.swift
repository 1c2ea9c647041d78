// Ten contacts a second on a connection of their own, while another connection floods the server. In:
// the context. Out: runs and figures in the report. Every answer and the table are checked.

import ContactsClient
import ContactsTool
import Histogram
import Synchronization

struct Trickle {
    static let key = "trickle"
    private static let interval = Duration.milliseconds(100)
    private static let floodStreams = 8
    /// Numbers that no flood reaches.
    private static let firstNumber = 1 << 32
    /// The flood lasts several seconds, so that there are results enough for a percentile.
    private static let floodFactor = 4

    private let bench: BenchContext
    private let contacts: BenchContacts
    private var latency = Histogram<UInt64>(numberOfSignificantValueDigits: .three)

    init(_ bench: BenchContext) {
        self.bench = bench
        contacts = bench.contacts()
    }

    mutating func run() async throws {
        let workload = Workload(.new, count: Self.floodFactor * bench.settings.contacts)
        try bench.references.make("flood", contacts) { workload.versionsAfter }
        let messages = Messages(workload, contacts, chunk: 500)
        for pair in 1...bench.settings.pairs {
            try bench.cluster.makeRun(fromBase: false)
            let server = try bench.startServer()
            let (flooded, ids, deal) = try await server.use {
                try await run(messages, server, pair)
            }
            try check(flooded, ids, deal, workload)
        }
        try bench.references.drop("flood")
        let count = ProgressText.grouped(latency.totalCount)
        for (percentile, bound) in [(50.0, nil), (99.0, 250.0)] {
            let value = Double(latency.valueAtPercentile(percentile)) / 1e6
            bench.add(
                Figure(
                    Self.key, "a contact beside a flood, p\(Int(percentile)) of \(count)", [value],
                    unit: "ms", bound == nil ? nil : .atMost, bound))
        }
    }

    private mutating func run(
        _ messages: Messages, _ server: ServerProcess, _ pair: Int
    ) async throws -> (LoadOutcome, [ContactID], Deal) {
        let load = try await ServiceLoad.open(
            server.configuration(), messages, streams: Self.floodStreams)
        let client = try await ContactsClient.connect(server.configuration())
        let upsert = try await client.bulkUpsert()
        _ = try await upsert.started()
        let flood = Flood(load)
        let start = ContinuousClock.now
        async let outcome = flood.run()
        let contacts = contacts
        async let sentCount = Self.send(contacts, upsert, from: start, while: flood)
        let (times, ids) = try await receive(upsert, from: start)
        let flooded = try await outcome
        guard try await sentCount == ids.count else {
            throw BenchError("\(ids.count) contacts beside a flood were answered")
        }
        await load.close()
        await client.close()
        report(flooded, times, pair)
        return (flooded, ids, load.deal)
    }

    private mutating func report(_ flooded: LoadOutcome, _ times: [Double], _ pair: Int) {
        var flood = RunRecord(
            side: .service, contacts: flooded.contacts, seconds: flooded.seconds)
        flood.note = "the flood"
        var beside = RunRecord(side: .service, contacts: times.count, seconds: flooded.seconds)
        beside.note = "beside it"
        var latency = Histogram<UInt64>(numberOfSignificantValueDigits: .three)
        for time in times { latency.record(UInt64(time * 1e6)) }
        self.latency.add(latency)
        flood.setLatency(flooded.latency)
        beside.setLatency(latency)
        for var record in [flood, beside] {
            record.scenario = Self.key
            record.pair = pair
            bench.add(record)
        }
    }

    /// Sends a contact whenever its time has come, until the flood is over.
    private static func send(
        _ contacts: BenchContacts, _ upsert: BulkUpsertStream, from start: ContinuousClock.Instant,
        while flood: Flood
    ) async throws -> Int {
        var count = 0
        while !flood.isOver {
            try await Task.sleep(until: start + interval * count, clock: .continuous)
            let item = Item(number: firstNumber + count, version: 0)
            try await upsert.send([contacts.contact(item)])
            count += 1
        }
        upsert.finish()
        return count
    }

    /// - Returns: Milliseconds from the time at which each contact was due, and the ids.
    private func receive(
        _ upsert: BulkUpsertStream, from start: ContinuousClock.Instant
    ) async throws -> (times: [Double], ids: [ContactID]) {
        var times: [Double] = []
        var ids: [ContactID] = []
        for try await results in upsert.results {
            let now = ContinuousClock.now
            for result in results {
                guard result.status == .created, result.sequence == UInt64(ids.count) + 1,
                    let id = result.contactID
                else { throw BenchError("a contact beside a flood was answered by \(result)") }
                times.append((now - (start + Self.interval * ids.count)).inMilliseconds)
                ids.append(id)
            }
        }
        guard try await upsert.summary().total == UInt64(ids.count) else {
            throw BenchError("the stream beside the flood counts other contacts")
        }
        return (times, ids)
    }

    private func check(
        _ flooded: LoadOutcome, _ ids: [ContactID], _ deal: Deal, _ workload: Workload
    ) throws {
        let references = bench.references
        try references.make("beside", first: Self.firstNumber, contacts) {
            Array(repeating: 0, count: ids.count)
        }
        try references.check("flood", "beside", after: "a flood and a trickle")
        try references.drop("beside")
        try bench.cluster.with(BenchCluster.run) { connection in
            try IDCheck.compare(ids, first: Self.firstNumber, contacts, connection)
        }
        try bench.cluster.with(BenchCluster.run) { connection in
            try IDCheck.check(flooded.ids, deal, workload, contacts, connection)
        }
    }

    /// A load that tells when it is over, also when it failed.
    private final class Flood: Sendable {
        private let load: ServiceLoad
        private let over = Atomic(false)

        init(_ load: ServiceLoad) {
            self.load = load
        }

        var isOver: Bool { over.load(ordering: .relaxed) }

        func run() async throws -> LoadOutcome {
            defer { over.store(true, ordering: .relaxed) }
            return try await load.run()
        }
    }
}
