// A bulk upsert whose results come faster than they are read, in messages of one and of many.
//
// In: a server that answers what the test says. Out: expectations. Over sockets; each test has a
// server of its own.

import ContactsClient
import NIOConcurrencyHelpers
import NIOCore
import RPC
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(5))) struct BulkUpsertStreamTests {
    private static let path = "/contacts.v1.ContactService/BulkUpsert"

    /// `BulkUpsertResponse{results: {results: [{sequence, status: CREATED}]}}`, by hand.
    private static func results(_ sequences: Range<Int>) -> [UInt8] {
        let list = sequences.flatMap { sequence in
            field(1, [1 << 3] + varint(sequence) + [2 << 3, 1])
        }
        return field(2, list)
    }

    private static func field(_ number: UInt8, _ bytes: [UInt8]) -> [UInt8] {
        [number << 3 | 2] + varint(bytes.count) + bytes
    }

    private static func varint(_ value: Int) -> [UInt8] {
        value < 0x80 ? [UInt8(value)] : [UInt8(value & 0x7F) | 0x80] + varint(value >> 7)
    }

    private static func answer(_ count: Int, by chunk: Int, then status: RPCStatus) -> FakeAnswer {
        let messages = stride(from: 1, through: count, by: chunk).map {
            results($0..<min($0 + chunk, count + 1))
        }
        // A summary, all zero.
        return .messages(messages + [field(3, [])], then: status)
    }

    private static func run(
        _ answer: FakeAnswer, _ body: (BulkUpsertStream, FakeServer) async throws -> Void
    ) async throws {
        let server = try await FakeServer.start([path: answer])
        let client = try await ContactsClient.connect(.init(port: server.port))
        try await body(try await client.bulkUpsert(), server)
        await client.close()
        try await server.channel.close()
    }

    @Test(arguments: [1, 7, 500, 9_000]) func allResultsComeInOrder(chunk: Int) async throws {
        let count = 60_000
        try await Self.run(Self.answer(count, by: chunk, then: .ok)) { upsert, _ in
            upsert.finish()
            // More than the client takes is there before anything is read.
            try await Task.sleep(for: .milliseconds(300))
            var next: UInt64 = 1
            for try await results in upsert.results {
                #expect(!results.isEmpty)
                #expect(results.map(\.sequence) == Array(next..<next + UInt64(results.count)))
                next += UInt64(results.count)
            }
            #expect(next == UInt64(count) + 1)
            #expect(try await upsert.summary() == UpsertSummary())
        }
    }

    @Test func resultsBeforeAnErrorAreGiven() async throws {
        let status = RPCStatus(.unavailable, "gone")
        try await Self.run(Self.answer(1000, by: 10, then: status)) { upsert, _ in
            upsert.finish()
            var count = 0
            let error = await #expect(throws: ClientError.self) {
                for try await results in upsert.results { count += results.count }
            }
            #expect(error?.codeName == "UNAVAILABLE")
            #expect(count == 1000)
            await #expect(throws: ClientError.self) { try await upsert.send([Contact()]) }
        }
    }

    @Test func whatNobodyReadsStaysWithTheServer() async throws {
        try await Self.run(.endless([Self.results(1..<500)])) { upsert, server in
            upsert.finish()
            var sent = -1
            var rest = 0
            for _ in 0..<100 where rest < 5 {
                try await Task.sleep(for: .milliseconds(100))
                let now = server.log.sentMessageCount.load(ordering: .relaxed)
                rest = now == sent && now > 0 ? rest + 1 : 0
                sent = now
            }
            #expect(rest == 5, "the server sends on: \(sent) messages")
            var messageCount = 0
            for try await results in upsert.results {
                messageCount += results.count / 499
                if messageCount > sent { break }
            }
        }
    }

    @Test func aTaskThatWaitsForResultsCancelsTheCall() async throws {
        try await Self.run(.open([Self.results(1..<2)])) { upsert, _ in
            let reader = Task {
                var count = 0
                for try await results in upsert.results { count += results.count }
                return count
            }
            upsert.finish()
            try await Task.sleep(for: .milliseconds(100))
            reader.cancel()
            let error = await #expect(throws: ClientError.self) { try await reader.value }
            #expect(error?.codeName == "CANCELLED")
        }
    }

    @Test func messagesOfManyTasksAllLeave() async throws {
        try await Self.run(Self.answer(1, by: 1, then: .ok)) { upsert, server in
            try await withThrowingTaskGroup { group in
                for task in 0..<8 {
                    group.addTask {
                        for number in 0..<200 {
                            try await upsert.send([Contact(email: "\(task)-\(number)@example.com")])
                        }
                    }
                }
                try await group.waitForAll()
            }
            upsert.finish()
            for try await _ in upsert.results {}
            #expect(server.log.requestCounts.withLockedValue { $0[Self.path] } == 1 + 8 * 200)
            await #expect(throws: ClientError.self) { try await upsert.send([Contact()]) }
        }
    }
}
