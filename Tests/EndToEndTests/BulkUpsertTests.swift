// The client library against the server, over sockets, on a real PostgreSQL.

import ContactsClient
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(5))) struct BulkUpsertTests {
    @Test func everyContactHasOneResultInOrder() async throws {
        try await ServerFixture.run { fixture in
            let client = try await fixture.client()
            let upsert = try await client.bulkUpsert()
            let count = 20_000
            async let sending: Void = {
                for start in stride(from: 0, to: count, by: 500) {
                    try await upsert.send(
                        (start..<(start + 500)).map { Contact(email: "u\($0)@example.com") })
                }
                upsert.finish()
            }()
            var next: UInt64 = 1
            var ids: Set<String> = []
            for try await results in upsert.results {
                for result in results {
                    #expect(result.sequence == next)
                    #expect(result.status == .created)
                    ids.insert(result.id)
                    next += 1
                }
            }
            try await sending
            #expect(next == UInt64(count) + 1)
            #expect(ids.count == count)
            let summary = try await upsert.summary()
            #expect(summary.created == UInt64(count))
            #expect(summary.committedThrough == UInt64(count))
            #expect(try fixture.rowCount() == count)
            await client.close()
        }
    }

    @Test func startedComesBeforeAnyContactIsSent() async throws {
        try await ServerFixture.run { fixture in
            let client = try await fixture.client()
            let upsert = try await client.bulkUpsert()
            let started = try await upsert.started()
            #expect(!started.importID.isEmpty)
            #expect(started.resumed == false)
            #expect(started.options.matchBy == .email)
            #expect(started.limits.maxMessageBytes == 4 * 1024 * 1024)
            upsert.finish()
            for try await _ in upsert.results { Issue.record("no contact was sent") }
            #expect(try await upsert.summary() == UpsertSummary())
            await client.close()
        }
    }

    @Test func aRefusedCallThrowsTheServersStatus() async throws {
        try await ServerFixture.run { fixture in
            let client = try await fixture.client(workspace: "nowhere")
            let upsert = try await client.bulkUpsert()
            let error = await #expect(throws: ClientError.self) { try await upsert.started() }
            #expect(error?.codeName == "NOT_FOUND")
            await client.close()
        }
    }

    @Test func optionsThatContradictAreRefusedBeforeAnythingIsWritten() async throws {
        try await ServerFixture.run { fixture in
            let client = try await fixture.client()
            var options = UpsertOptions()
            options.matchBy = .id
            options.existence = .createOnly
            let error = await #expect(throws: ClientError.self) {
                try await client.upsertContacts(
                    [Contact(email: "a@example.com")], options: options)
            }
            #expect(error?.codeName == "INVALID_ARGUMENT")
            #expect(try fixture.rowCount() == 0)
            await client.close()
        }
    }

    @Test func aContactReadsBackAsItWasSent() async throws {
        try await ServerFixture.run { fixture in
            let client = try await fixture.client()
            let contact = Contact(
                email: "zoë@example.com", phone: "+16175551212", externalID: "e-1", name: "Zoë 🐘",
                firstName: "Zoë", lastName: "Ωmega",
                fields: [
                    CustomField("a", .integer(.min)),
                    CustomField("b", .number(.leastNonzeroMagnitude)),
                    CustomField("c", .boolean(false)), CustomField("d", .string("\u{1}\"\\")),
                    CustomField("e", .timestamp(.init(seconds: -1, nanoseconds: 999_999_000))),
                ])
            let answer = try await client.upsertContacts([contact])
            let keys: [ContactKey] = [
                .email("ZOË@example.com"), .id(answer.results[0].id), .phone("1 617 555 1212"),
                .externalID("e-1"), .email("nobody@example.com"),
            ]
            let records = try await client.getContacts(keys)
            var expected = contact
            expected.id = answer.results[0].id
            for record in records.prefix(4) { #expect(record?.contact == expected) }
            #expect(records[4] == nil)
            await client.close()
        }
    }

    @Test func aCallerThatGoesAwayLeavesTheServerServing() async throws {
        try await ServerFixture.run { fixture in
            let client = try await fixture.client()
            do {
                let upsert = try await client.bulkUpsert()
                _ = try await upsert.started()
                try await upsert.send([Contact(email: "a@example.com")])
            }
            let answer = try await client.upsertContacts([Contact(email: "b@example.com")])
            #expect(answer.results.map(\.status) == [.created])
            await client.close()
        }
    }

    @Test func stoppingAnswersWhatWasTakenThenSaysUnavailable() async throws {
        let fixture = try ServerFixture()
        let client = try await fixture.client()
        let upsert = try await client.bulkUpsert()
        _ = try await upsert.started()
        let sender = Task {
            var number = 0
            while true {
                try await upsert.send(
                    (0..<100).map { Contact(email: "u\(number + $0)@example.com") })
                number += 100
            }
        }
        var answered: UInt64 = 0
        var isStopping = false
        let error = await #expect(throws: ClientError.self) {
            for try await results in upsert.results {
                answered += UInt64(results.count)
                if answered > 1000, !isStopping {
                    isStopping = true
                    BackgroundThread.run { fixture.stop() }
                }
            }
        }
        #expect(error?.codeName == "UNAVAILABLE")
        #expect(try await upsert.summary().total == answered)
        _ = await sender.result
        await client.close()
        #expect(try fixture.rowCount() == Int(answered))
    }

    @Test func sendingSuspendsWhileNobodyReads() async throws {
        try await ServerFixture.run { fixture in
            let client = try await fixture.client()
            let upsert = try await client.bulkUpsert()
            _ = try await upsert.started()
            // Without a key each is answered by a long error, so that windows fill soon.
            let contact = Contact(name: String(repeating: "n", count: 300))
            let sent = Progress()
            let sender = Task {
                for _ in 0..<200 {
                    try await upsert.send(Array(repeating: contact, count: 500))
                    sent.unit(500)
                }
                upsert.finish()
            }
            // Two looks half a second apart see the same number: sending has come to rest.
            var last = -1
            while sent.count != last {
                last = sent.count
                try await Task.sleep(for: .milliseconds(500))
            }
            #expect(last < 90_000)
            var answered = 0
            for try await results in upsert.results { answered += results.count }
            try await sender.value
            #expect(answered == 100_000)
            await client.close()
        }
    }
}

/// A count that two tasks see.
final class Progress: Sendable {
    private let value = Atomic<Int>(0)
    var count: Int { value.load(ordering: .relaxed) }
    func unit(_ count: Int) { value.wrappingAdd(count, ordering: .relaxed) }
}
