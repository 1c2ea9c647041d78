// A thousand streams of one contact each, 64 at a time on one connection, against as many
// transactions over libpq on a connection for each lane, in turns. In: the context. Out: runs and a
// ratio in the report. Every answer and the table are checked.

import ContactsClient
import Foundation

struct ShortStreams {
    static let key = "short"
    private static let streamCount = 1000
    private static let concurrency = 64

    let bench: BenchContext
    private let contacts: BenchContacts

    init(_ bench: BenchContext) {
        self.bench = bench
        contacts = bench.contacts()
    }

    private var rounds: Int { 2 * bench.settings.pairs - 1 }
    private var laneCount: Int { bench.settings.lanes ?? max(2, bench.report.machine.cores) }

    func run() async throws {
        try bench.references.make("short", contacts) {
            Array(repeating: 0, count: 2 * rounds * Self.streamCount)
        }
        try bench.cluster.makeRun(fromBase: false)
        var ids = Array(repeating: ContactID.none, count: 2 * rounds * Self.streamCount)
        var ratios: [Double] = []
        let server = try bench.startServer()
        try await server.use {
            for round in 0..<rounds {
                let first = (2 * round + 1) * Self.streamCount
                let insert = try insertAll(first - Self.streamCount, round)
                let (service, given) = try await streamAll(server, first, round)
                ids.replaceSubrange(first..<(first + Self.streamCount), with: given)
                ratios.append(service.perSecond / insert.perSecond)
            }
        }
        try bench.references.check("short", after: "streams of one contact each")
        try bench.cluster.with(BenchCluster.run) { try IDCheck.compare(ids, contacts, $0) }
        bench.add(
            Figure(
                Self.key, "streams/s to transactions/s of libpq", ratios, unit: "x", .atLeast, 3))
    }

    // MARK: libpq

    private func insertAll(_ first: Int, _ round: Int) throws -> RunRecord {
        let contacts = contacts
        let shares = try (0..<laneCount).map { lane in
            let connection = try bench.cluster.connect(BenchCluster.run)
            let numbers = stride(
                from: first + lane, to: first + Self.streamCount, by: laneCount)
            return Share(insert: try SingleInsert(connection, contacts), numbers: Array(numbers))
        }
        let start = ContinuousClock.now
        DispatchQueue.concurrentPerform(iterations: shares.count) { shares[$0].run() }
        let seconds = (ContinuousClock.now - start).inSeconds
        for share in shares { try share.finish() }
        return record(.libpq, seconds, round)
    }

    /// What one connection has to insert. Run by one thread at a time.
    private final class Share: @unchecked Sendable {
        private var insert: SingleInsert
        private let numbers: [Int]
        private var failure: (any Error)?

        init(insert: SingleInsert, numbers: [Int]) {
            self.insert = insert
            self.numbers = numbers
        }

        func run() {
            do {
                for number in numbers { try insert.run(number) }
            } catch {
                failure = error
            }
        }

        func finish() throws {
            insert.close()
            if let failure { throw failure }
        }
    }

    // MARK: Service

    private func streamAll(
        _ server: ServerProcess, _ first: Int, _ round: Int
    ) async throws -> (RunRecord, [ContactID]) {
        let client = try await ContactsClient.connect(server.configuration())
        let contacts = (first..<first + Self.streamCount).map {
            self.contacts.contact(Item(number: $0, version: 0))
        }
        var ids = Array(repeating: ContactID.none, count: Self.streamCount)
        let start = ContinuousClock.now
        try await withThrowingTaskGroup { group in
            for worker in 0..<Self.concurrency {
                group.addTask {
                    var given: [(Int, ContactID)] = []
                    for place in stride(from: worker, to: contacts.count, by: Self.concurrency) {
                        given.append((place, try await Self.stream(contacts[place], client)))
                    }
                    return given
                }
            }
            for try await given in group {
                for (place, id) in given { ids[place] = id }
            }
        }
        let seconds = (ContinuousClock.now - start).inSeconds
        await client.close()
        return (record(.service, seconds, round), ids)
    }

    private static func stream(
        _ contact: Contact, _ client: ContactsClient
    ) async throws -> ContactID {
        let upsert = try await client.bulkUpsert()
        try await upsert.send([contact])
        upsert.finish()
        var results: [ContactResult] = []
        for try await batch in upsert.results { results += batch }
        let summary = try await upsert.summary()
        guard results.count == 1, let result = results.first, result.sequence == 1,
            result.status == .created, let id = result.contactID, summary.created == 1,
            summary.total == 1
        else { throw BenchError("a stream of one contact was answered by \(results)") }
        return id
    }

    private func record(_ side: RunRecord.Side, _ seconds: Double, _ round: Int) -> RunRecord {
        var record = RunRecord(side: side, contacts: Self.streamCount, seconds: seconds)
        record.scenario = Self.key
        record.pair = round + 1
        bench.add(record)
        return record
    }
}
