// The calls beside the upsert, over sockets, against a server that answers what the test says.

import ContactsClient
import NIOConcurrencyHelpers
import NIOCore
import RPC
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(5))) struct ServiceCallsTests {
    private static let service = "/contacts.v1.ContactService/"

    private static func run(
        _ answers: [String: FakeAnswer],
        _ body: (ContactsClient, FakeServer) async throws -> Void
    ) async throws {
        let server = try await FakeServer.start(answers)
        let client = try await ContactsClient.connect(.init(port: server.port))
        try await body(client, server)
        await client.close()
        try await server.channel.close()
    }

    /// `ExportContactsResponse{records: [{contact: {email: ...}}]}`, written by hand.
    private static func export(_ emails: [String]) -> [UInt8] {
        emails.flatMap { email in
            let contact = field(1, Array(email.utf8))
            return field(1, field(1, contact))
        }
    }

    /// A length-delimited field.
    private static func field(_ number: UInt8, _ bytes: [UInt8]) -> [UInt8] {
        precondition(bytes.count < 1 << 14, "longer lengths are not written here")
        let length: [UInt8] =
            bytes.count < 0x80
            ? [UInt8(bytes.count)] : [UInt8(bytes.count & 0x7F) | 0x80, UInt8(bytes.count >> 7)]
        return [number << 3 | 2] + length + bytes
    }

    private static let exportPath = service + "ExportContacts"
    private static let watchPath = service + "WatchEvents"

    @Test func anExportComesInItsOrder() async throws {
        let messages = (0..<100).map { number in
            Self.export((0..<10).map { "u\(number * 10 + $0)@example.com" })
        }
        try await Self.run([Self.exportPath: .messages(messages)]) { client, server in
            var emails: [String] = []
            for try await records in client.exportContacts(listID: 300) {
                emails += records.compactMap(\.contact.email)
            }
            #expect(emails == (0..<1000).map { "u\($0)@example.com" })
            #expect(
                server.log.requests.withLockedValue { $0[Self.exportPath] } == [0x08, 0xAC, 0x02])
        }
    }

    @Test func anErrorComesAfterTheBatchesBeforeIt() async throws {
        let answer = FakeAnswer.messages(
            [Self.export(["a@example.com"])], then: RPCStatus(.notFound, "no such list"))
        try await Self.run([Self.exportPath: answer]) { client, _ in
            var count = 0
            let error = await #expect(throws: ClientError.self) {
                for try await records in client.exportContacts() { count += records.count }
            }
            #expect(count == 1)
            #expect(error?.description == "NOT_FOUND: no such list")
        }
    }

    @Test func aServerWithoutTheCallSaysSo() async throws {
        try await Self.run([:]) { client, _ in
            let error = await #expect(throws: ClientError.self) {
                for try await _ in client.watchEvents(after: 7) {}
            }
            #expect(error?.codeName == "UNIMPLEMENTED")
            await #expect(throws: ClientError.self) { _ = try await client.lists() }
        }
    }

    @Test func whatNobodyReadsStaysWithTheServer() async throws {
        let message = Self.export([String(repeating: "x", count: 9000)])
        try await Self.run([Self.exportPath: .endless([message])]) { client, server in
            var iterator = client.exportContacts().makeAsyncIterator()
            _ = try await iterator.next()
            // The window of 4 MiB, what the kernel holds of both sockets, and what the server has
            // queued; without flow control it would be hundreds of megabytes.
            var last = -1
            while server.log.sentMessageCount.load(ordering: .relaxed) != last {
                last = server.log.sentMessageCount.load(ordering: .relaxed)
                try await Task.sleep(for: .milliseconds(300))
            }
            #expect(last * message.count < 20 << 20)
            // Reading on makes room for more.
            for _ in 0..<2 * last { _ = try await iterator.next() }
            #expect(server.log.sentMessageCount.load(ordering: .relaxed) > 2 * last)
        }
    }

    @Test func endingTheIterationEarlyCancelsTheCall() async throws {
        let message = Self.export(["a@example.com"])
        try await Self.run([Self.watchPath: .open([]), Self.exportPath: .endless([message])]) {
            client, server in
            var batches = 0
            for try await _ in client.exportContacts() {
                batches += 1
                if batches == 3 { break }
            }
            try await Self.waitForEnd(server)
            guard case .reset = server.log.ends.withLockedValue({ $0.first }) else {
                Issue.record("the server did not hear of it")
                return
            }
            // The connection goes on.
            let again = client.exportContacts()
            for try await records in again {
                #expect(records.count == 1)
                break
            }
        }
    }

    @Test func cancellingTheTaskCancelsTheCall() async throws {
        try await Self.run([Self.watchPath: .open([])]) { client, server in
            let watcher = Task {
                for try await _ in client.watchEvents() {}
            }
            while server.log.requests.withLockedValue({ $0.isEmpty }) {
                try await Task.sleep(for: .milliseconds(5))
            }
            watcher.cancel()
            await #expect(throws: (any Error).self) { try await watcher.value }
            try await Self.waitForEnd(server)
        }
    }

    private static func waitForEnd(_ server: FakeServer) async throws {
        let end = ContinuousClock.now + .seconds(20)
        while server.log.ends.withLockedValue({ $0.isEmpty }) {
            try #require(ContinuousClock.now < end, "the call did not end")
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    @Test func aMalformedBatchEndsTheCall() async throws {
        try await Self.run([Self.exportPath: .endless([[0xFF]])]) { client, server in
            let error = await #expect(throws: ClientError.self) {
                for try await _ in client.exportContacts() {}
            }
            #expect(error?.codeName == "INTERNAL")
            try await Self.waitForEnd(server)
        }
    }

    @Test func listsAndImports() async throws {
        let list = Self.field(2, Array("Friends".utf8)) + [0x08, 0x05]
        let theImport = Self.field(1, Array("mine".utf8)) + [0x10, 0x03]
        try await Self.run([
            Self.service + "CreateList": .messages([Self.field(1, list)]),
            Self.service + "ListLists": .messages([Self.field(1, list) + Self.field(1, list)]),
            Self.service + "DeleteList": .messages([[]]),
            Self.service + "GetImport": .messages([Self.field(1, theImport)]),
            Self.service + "ListImports": .messages([
                Self.field(1, theImport) + Self.field(2, Array("next".utf8))
            ]),
        ]) { client, server in
            let created = try await client.createList("Friends")
            #expect(created.id == 5)
            #expect(created.name == "Friends")
            let lists = try await client.lists()
            #expect(lists == [created, created])
            try await client.deleteList(5)
            #expect(
                server.log.requests.withLockedValue { $0[Self.service + "DeleteList"] } == [
                    0x08, 0x05,
                ])
            let found = try await client.import("mine")
            #expect(found.importID == "mine")
            #expect(found.state == .finished)
            let page = try await client.imports(pageSize: 1, pageToken: "t")
            #expect(page.imports == [found])
            #expect(page.nextPageToken == "next")
        }
    }

    @Test(
        arguments: [
            ([0x08, 0x01], .serving), ([0x08, 0x02], .notServing), ([], .unknown),
            ([0x12, 0x01, 0x41, 0x1D, 1, 2, 3, 4, 0x08, 0x01], .serving), ([0x08, 0x07], .unknown),
        ] as [([UInt8], ServingStatus)])
    func health(_ response: [UInt8], _ status: ServingStatus) async throws {
        try await Self.run(["/grpc.health.v1.Health/Check": .messages([response])]) { client, _ in
            let told = try await client.health()
            #expect(told == status)
        }
    }

    @Test(arguments: [[0x08], [0x08, 0x80], [0x0A, 0x05, 0x41], [0x0B], [0x0D, 1]] as [[UInt8]])
    func malformedHealth(_ response: [UInt8]) async throws {
        try await Self.run(["/grpc.health.v1.Health/Check": .messages([response])]) { client, _ in
            let error = await #expect(throws: ClientError.self) { _ = try await client.health() }
            #expect(error?.codeName == "INTERNAL")
        }
    }
}
