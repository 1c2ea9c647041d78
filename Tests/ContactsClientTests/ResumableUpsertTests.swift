// An upsert whose connections break at every place: each contact is stored once and answered once.
//
// In: a server that breaks off as the test says. Out: expectations. Over sockets; each test has a
// server of its own.

import ContactsClient
import HTTP2
import NIOConcurrencyHelpers
import NIOCore
import RPC
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(5))) struct ResumableUpsertTests {
    private static let quick = RetryPolicy(
        patience: .seconds(20), initialDelay: .milliseconds(1), maximumDelay: .milliseconds(20))
    /// After a failure nothing happens for as long as a test lasts.
    private static let slow = RetryPolicy(
        patience: .seconds(86_400), initialDelay: .seconds(86_400), maximumDelay: .seconds(86_400))
    /// However long the machine takes to get so far.
    private static let patient = RetryPolicy(
        patience: .seconds(86_400), initialDelay: .milliseconds(1), maximumDelay: .milliseconds(20))
    private static let gone = RPCStatus(.unavailable, "gone")

    private static func email(_ number: Int) -> String { "n\(number)@example.com" }

    /// Sends contacts in messages of that many, and takes their results.
    private static func transfer(
        _ upsert: ResumableUpsert, _ numbers: ClosedRange<Int>, by chunk: Int
    ) async throws -> [ContactResult] {
        async let sending: Void = {
            for start in stride(from: numbers.lowerBound, through: numbers.upperBound, by: chunk) {
                let message = start..<min(start + chunk, numbers.upperBound + 1)
                try await upsert.send(message.map { Contact(email: email($0)) })
            }
            upsert.finish()
        }()
        var results: [ContactResult] = []
        for try await batch in upsert.results { results += batch }
        try await sending
        return results
    }

    private static func run(
        _ breaks: [(results: Int, then: Break)], count: Int, chunk: Int,
        retry: RetryPolicy = quick
    ) async throws -> KeptImport {
        let kept = KeptImport()
        kept.fields.withLockedValue { $0.breaks = breaks }
        let server = try await ImportServer.start(kept)
        let upsert = ContactsClient.resumableUpsert(.init(port: server.port), retry: retry)
        let results = try await transfer(upsert, 1...count, by: chunk)
        #expect(results.map(\.sequence) == (1...count).map(UInt64.init))
        #expect(results.allSatisfy { $0.status == .created || $0.status == .replayed })
        #expect(kept.fields.withLockedValue { $0.contacts } == (1...count).map(email))
        #expect(kept.fields.withLockedValue { $0.ids } == [upsert.importID])
        let summary = try await upsert.summary()
        #expect(summary.total == UInt64(count) && summary.committedThrough == UInt64(count))
        #expect(summary.created + summary.replayed == UInt64(count) && summary.failed == 0)
        #expect(upsert.outage == nil)
        try await server.channel.close()
        return kept
    }

    @Test(arguments: 0...13) func goesOnWhereverItBreaks(at place: Int) async throws {
        for ending in [Break.connection, .goAway, .status(Self.gone)] {
            let kept = try await Self.run([(place, ending)], count: 13, chunk: 4)
            #expect(kept.fields.withLockedValue { $0.calls } == 2)
        }
    }

    /// Every call answers a little and breaks, mostly in the middle of a message.
    @Test func goesOnHoweverOftenItBreaks() async throws {
        let breaks = (0..<60).map { (results: 1 + $0 % 7, then: Break.status(Self.gone)) }
        let kept = try await Self.run(breaks, count: 300, chunk: 9)
        let numbers = kept.fields.withLockedValue { $0.firstNumbers }
        #expect(numbers.first == 1 && numbers.count == 61)
        let expected = breaks.reduce(into: [1]) { $0.append($0[$0.count - 1] + $1.results) }
        #expect(numbers == expected)
    }

    @Test func manyContactsOverABreakAreSentOnce() async throws {
        let breaks = [2_000, 14_000, 1, 20_000].map { (results: $0, then: Break.goAway) }
        _ = try await Self.run(breaks, count: 60_000, chunk: 500)
    }

    @Test func waitsForAServerThatComesLater() async throws {
        let kept = KeptImport()
        let first = try await ImportServer.start(kept)
        let port = first.port
        try await first.channel.close()
        let upsert = ContactsClient.resumableUpsert(.init(port: port), retry: Self.quick)
        async let results = Self.transfer(upsert, 1...10, by: 3)
        while upsert.outage == nil { try await Task.sleep(for: .milliseconds(5)) }
        try await Task.sleep(for: .milliseconds(150))
        let outage = try #require(upsert.outage)
        #expect(outage.error.codeName == "UNAVAILABLE")
        #expect(ContinuousClock.now - outage.since > .milliseconds(100))
        let server = try await ImportServer.start(kept, port: port)
        #expect(try await results.count == 10)
        try await server.channel.close()
    }

    @Test(arguments: [RPCCode.aborted, .invalidArgument, .failedPrecondition, .internal])
    func otherEndsAreFinal(_ code: RPCCode) async throws {
        let error = await #expect(throws: ClientError.self) {
            _ = try await Self.run(
                [(5, .status(RPCStatus(code, "no")))], count: 10, chunk: 2)
        }
        #expect(error?.code == code.rawValue)
    }

    @Test func patienceEnds() async throws {
        let kept = KeptImport()
        kept.fields.withLockedValue {
            $0.breaks = Array(repeating: (0, .status(Self.gone)), count: 10_000)
        }
        let server = try await ImportServer.start(kept)
        var policy = Self.quick
        policy.patience = .seconds(1)
        let upsert = ContactsClient.resumableUpsert(.init(port: server.port), retry: policy)
        let start = ContinuousClock.now
        let error = await #expect(throws: ClientError.self) {
            try await Self.transfer(upsert, 1...10, by: 10)
        }
        #expect(error?.codeName == "UNAVAILABLE" && error?.message == "gone")
        #expect(ContinuousClock.now - start >= .seconds(1))
        #expect(kept.fields.withLockedValue { $0.calls } > 1)
        await #expect(throws: ClientError.self) { try await upsert.summary() }
        try await server.channel.close()
    }

    @Test func withoutPatienceThereIsOneCall() async throws {
        let kept = KeptImport()
        kept.fields.withLockedValue { $0.breaks = [(3, .status(Self.gone))] }
        let server = try await ImportServer.start(kept)
        let upsert = ContactsClient.resumableUpsert(.init(port: server.port), retry: .never)
        await #expect(throws: ClientError.self) { try await Self.transfer(upsert, 1...9, by: 9) }
        #expect(kept.fields.withLockedValue { $0.calls } == 1)
        try await server.channel.close()
    }

    @Test func aDryRunIsNotGoneOnWith() async throws {
        let kept = KeptImport()
        kept.fields.withLockedValue { $0.breaks = [(3, .connection)] }
        let server = try await ImportServer.start(kept)
        var options = UpsertOptions()
        options.validateOnly = true
        let upsert = ContactsClient.resumableUpsert(
            .init(port: server.port), options, retry: Self.quick)
        await #expect(throws: ClientError.self) { try await Self.transfer(upsert, 1...9, by: 9) }
        #expect(kept.fields.withLockedValue { $0.calls } == 1)
        #expect(upsert.importID.isEmpty)
        try await server.channel.close()
    }

    @Test func goesOnFromAGivenContact() async throws {
        let kept = KeptImport()
        kept.fields.withLockedValue { fields in
            fields.contacts = (1...8).map(Self.email)
            fields.breaks = [(1, .connection)]
        }
        let server = try await ImportServer.start(kept)
        var options = UpsertOptions()
        options.importID = "mine"
        let upsert = ContactsClient.resumableUpsert(
            .init(port: server.port), options, firstSequence: 6, retry: Self.quick)
        let results = try await Self.transfer(upsert, 6...12, by: 2)
        #expect(results.map(\.sequence) == Array(6...12))
        #expect(results.map(\.status).prefix(3) == [.replayed, .replayed, .replayed])
        #expect(kept.fields.withLockedValue { $0.contacts } == (1...12).map(Self.email))
        #expect(kept.fields.withLockedValue { $0.firstNumbers } == [6, 7])
        try await server.channel.close()
    }

    @Test func aServerThatForgotIsNotSentHoles() async throws {
        let kept = KeptImport()
        kept.fields.withLockedValue { fields in
            fields.contacts = (1...8).map(Self.email)
            fields.claims = 3
        }
        let server = try await ImportServer.start(kept)
        let upsert = ContactsClient.resumableUpsert(
            .init(port: server.port), firstSequence: 9, retry: Self.quick)
        let error = await #expect(throws: ClientError.self) {
            try await Self.transfer(upsert, 9...12, by: 2)
        }
        #expect(error?.codeName == "DATA_LOSS")
        try await server.channel.close()
    }

    /// `google.rpc.Status{details: [Any{"t.io/google.rpc.RetryInfo", RetryInfo{0.25 s}}]}`.
    private static var retryInfo: [UInt8] {
        func field(_ number: UInt8, _ bytes: [UInt8]) -> [UInt8] {
            [number << 3 | 2, UInt8(bytes.count)] + bytes
        }
        let name = Array("t.io/google.rpc.RetryInfo".utf8)
        let delay: [UInt8] = [2 << 3] + [0x80, 0xE5, 0x9A, 0x77]
        return [1 << 3, 8] + field(3, field(1, name) + field(2, field(1, delay)))
    }

    @Test func aServerCanAskForTime() async throws {
        let statuses = [
            RPCStatus(
                .unavailable, metadata: Headers([("grpc-retry-pushback-ms", "250")])),
            RPCStatus(.resourceExhausted, details: Self.retryInfo),
        ]
        for status in statuses {
            let start = ContinuousClock.now
            var policy = Self.quick
            policy.maximumDelay = .zero
            let kept = try await Self.run([(3, .status(status))], count: 9, chunk: 2, retry: policy)
            #expect(kept.fields.withLockedValue { $0.calls } == 2)
            #expect(ContinuousClock.now - start >= .milliseconds(250))
        }
        let error = await #expect(throws: ClientError.self) {
            let status = RPCStatus(.resourceExhausted, "too large")
            _ = try await Self.run([(3, .status(status))], count: 9, chunk: 2)
        }
        #expect(error?.retryDelay == nil)
    }

    @Test func givingUpEndsTheWaiting() async throws {
        let kept = KeptImport()
        kept.fields.withLockedValue {
            $0.breaks = Array(repeating: (2, .status(Self.gone)), count: 1)
        }
        let server = try await ImportServer.start(kept)
        let upsert = ContactsClient.resumableUpsert(.init(port: server.port), retry: Self.slow)
        let transfer = Task { try await Self.transfer(upsert, 1...9, by: 3) }
        while upsert.outage == nil { try await Task.sleep(for: .milliseconds(5)) }
        upsert.stopRetrying()
        let error = await #expect(throws: ClientError.self) { try await transfer.value }
        #expect(error?.message == "gone")
        try await server.channel.close()
    }

    /// What has no result is held, but not without bounds.
    @Test func sendingWaitsForResults() async throws {
        let kept = KeptImport()
        kept.fields.withLockedValue {
            $0.breaks = Array(repeating: (0, .status(Self.gone)), count: 100_000)
        }
        let server = try await ImportServer.start(kept)
        let upsert = ContactsClient.resumableUpsert(.init(port: server.port), retry: Self.patient)
        let sent = Atomic(0)
        let sender = Task {
            var small = RequestEncoder()
            small.append([Contact(email: Self.email(1))])
            var large = RequestEncoder()
            let text = String(repeating: "x", count: 90_000)
            large.append([Contact(email: Self.email(1), name: text)])
            for _ in 0..<400 {
                try await upsert.send(small)
                try await upsert.send(large)
                sent.add(90_000, ordering: .relaxed)
            }
        }
        while sent.load(ordering: .relaxed) < 16 << 20 - 200_000 {
            try await Task.sleep(for: .milliseconds(10))
        }
        try await Task.sleep(for: .milliseconds(100))
        #expect(sent.load(ordering: .relaxed) < 16 << 20)
        sender.cancel()
        await #expect(throws: (any Error).self) { try await sender.value }
        try await server.channel.close()
    }

    @Test func onlyFailuresAreHandedOnWhereThatIsAskedFor() async throws {
        let server = try await ImportServer.start(KeptImport())
        var options = UpsertOptions()
        options.results = .failures
        let upsert = ContactsClient.resumableUpsert(.init(port: server.port), options)
        #expect(try await Self.transfer(upsert, 1...20, by: 3).isEmpty)
        #expect(try await upsert.summary().created == 20)
        try await server.channel.close()
    }
}
