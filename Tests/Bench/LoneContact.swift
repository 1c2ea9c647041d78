// The latency of one contact at a time on an idle server, against an INSERT over libpq, in turns. In:
// the context. Out: figures in the report. Every answer and the table are checked.

import ContactsClient
import Histogram

struct LoneContact {
    static let key = "lone"
    private static let blockCount = 10
    private static let blockSize = 100

    private let bench: BenchContext
    private let contacts: BenchContacts
    /// By number, the ids that came.
    private var ids: [ContactID]
    private var next = 0
    /// Milliseconds of the contacts of each block.
    private var libpq: [[Double]] = []
    private var stream: [[Double]] = []
    private var unary: [[Double]] = []

    init(_ bench: BenchContext) {
        self.bench = bench
        contacts = bench.contacts()
        ids = Array(repeating: .none, count: 3 * Self.blockCount * Self.blockSize)
    }

    mutating func run() async throws {
        try bench.references.make("lone", contacts) { [count = ids.count] in
            Array(repeating: 0, count: count)
        }
        try bench.cluster.makeRun(fromBase: false)
        let server = try bench.startServer()
        try await server.use { try await measure(server) }
        try bench.references.check("lone", after: "one contact at a time")
        try bench.cluster.with(BenchCluster.run) { try IDCheck.compare(ids, contacts, $0) }
        report()
    }

    private mutating func measure(_ server: ServerProcess) async throws {
        let client = try await ContactsClient.connect(server.configuration())
        let upsert = try await client.bulkUpsert()
        _ = try await upsert.started()
        let results = upsert.results.makeAsyncIterator()
        var insert = try SingleInsert(bench.cluster.connect(BenchCluster.run), contacts)
        var sequence: UInt64 = 0
        for _ in 0..<Self.blockCount {
            libpq.append(try insertBlock(&insert))
            var times: [Double] = []
            for _ in 0..<Self.blockSize {
                let contact = take()
                sequence += 1
                let start = ContinuousClock.now
                try await upsert.send([contact])
                let answer = try await results.next()
                times.append((ContinuousClock.now - start).inMilliseconds)
                try check(answer ?? [], sequence)
            }
            stream.append(times)
            times = []
            for _ in 0..<Self.blockSize {
                let contact = take()
                let start = ContinuousClock.now
                let answer = try await client.upsertContacts([contact])
                times.append((ContinuousClock.now - start).inMilliseconds)
                try check(answer.results, 1)
            }
            unary.append(times)
        }
        insert.close()
        upsert.finish()
        guard try await results.next() == nil, try await upsert.summary().total == sequence else {
            throw BenchError("the stream of single contacts ended with other results")
        }
        await client.close()
    }

    private mutating func insertBlock(_ insert: inout SingleInsert) throws -> [Double] {
        var times: [Double] = []
        for _ in 0..<Self.blockSize {
            let start = ContinuousClock.now
            try insert.run(next)
            times.append((ContinuousClock.now - start).inMilliseconds)
            next += 1
        }
        return times
    }

    private mutating func take() -> Contact {
        next += 1
        return contacts.contact(Item(number: next - 1, version: 0))
    }

    /// Keeps the id of the contact that was taken last.
    private mutating func check(_ results: [ContactResult], _ sequence: UInt64) throws {
        guard results.count == 1, let result = results.first, result.sequence == sequence,
            result.status == .created, let id = result.contactID
        else { throw BenchError("a single contact was answered by \(results)") }
        ids[next - 1] = id
    }

    private func report() {
        keep(libpq, .libpq, "INSERT")
        keep(stream, .service, "on an open stream")
        keep(unary, .service, "UpsertContacts")
        let bare = libpq.map(\.median)
        bench.add(Figure(Self.key, "INSERT over libpq, p50", bare, unit: "ms"))
        for (name, blocks) in [("on an open stream", stream), ("UpsertContacts", unary)] {
            let medians = blocks.map(\.median)
            bench.add(Figure(Self.key, "\(name), p50", medians, unit: "ms"))
            let ratios = zip(medians, bare).map { $0 / $1 }
            bench.add(
                Figure(Self.key, "\(name), p50 to that of libpq", ratios, unit: "x", .atMost, 1.5))
        }
    }
}

extension LoneContact {
    private func keep(_ blocks: [[Double]], _ side: RunRecord.Side, _ note: String) {
        for (place, times) in blocks.enumerated() {
            var latency = Histogram<UInt64>(numberOfSignificantValueDigits: .three)
            for time in times { latency.record(UInt64(time * 1e6)) }
            var record = RunRecord(
                side: side, contacts: times.count, seconds: times.reduce(0, +) / 1000)
            record.scenario = Self.key
            record.pair = place + 1
            record.note = note
            record.setLatency(latency)
            bench.add(record)
        }
    }
}

extension Duration {
    var inMilliseconds: Double { self / .milliseconds(1) }
}
