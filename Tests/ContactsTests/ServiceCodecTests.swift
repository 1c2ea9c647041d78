// The calls beside the upsert on the wire: requests against what protobuf-c reads of them, responses
// that protobuf-c packed against the values that come out.
// In: values. Out: expectations, no side effects. Any thread.

import CContactsProto
import TestSupport
import Testing

@testable import Contacts

@Suite struct ServiceCodecTests {
    private static let time = Timestamp(seconds: 1_700_000_000, nanoseconds: 123_456_000)
    private static let later = Timestamp(seconds: -1, nanoseconds: 999_999_000)

    private static let record = ContactRecord(
        contact: Contact(
            email: "zoë@example.com", phone: "+16175551212", externalID: "", id: "an id",
            name: "Zoë", firstName: "Z", lastName: "Ω", listIDs: [1, .max],
            fields: [
                CustomField("a", .integer(5)), CustomField("b", .number(5)),
                CustomField("c", .string("5")), CustomField("d", .boolean(false)),
                CustomField("e", .timestamp(later)),
            ]),
        createdAt: time, updatedAt: later)

    private static let theImport: Import = {
        var summary = UpsertSummary()
        summary.total = 9
        summary.failed = 2
        summary.failedByReason = ["EMAIL_INVALID": 2]
        summary.committedThrough = 9
        var options = UpsertOptions()
        options.importID = "mine"
        options.matchBy = .phone
        options.listIDs = [7]
        options.validateOnly = true
        options.labels = ["from": "a file"]
        return Import(
            importID: "mine", state: .finished, summary: summary, options: options,
            createdAt: time, updatedAt: later)
    }()

    private let arena = Arena(budget: .max)
    private var builder: MessageBuilder { MessageBuilder(arena: arena) }

    /// The packed form of a message that `fill` has filled.
    private func packed<Message>(
        _ initialize: (UnsafeMutablePointer<Message>?) -> Void,
        _ fill: (inout Message) -> Void
    ) throws -> [UInt8] {
        let made = builder.make(Message.self, initialize)
        let message = try #require(made)
        fill(&message.pointee)
        return RequestEncoder.packedBytes(PackedMessage(message))
    }

    private func makeRecord() -> UnsafeMutablePointer<Contacts__V1__ContactRecord>? {
        let record = builder.make(
            Contacts__V1__ContactRecord.self, contacts__v1__contact_record__init)
        record?.pointee.contact = builder.contact(Self.record.contact)
        record?.pointee.created_at = builder.timestamp(Self.record.createdAt)
        record?.pointee.updated_at = builder.timestamp(Self.record.updatedAt)
        return record
    }

    private func makeImport(state: UInt32) -> UnsafeMutablePointer<Contacts__V1__Import>? {
        let summary = builder.make(
            Contacts__V1__BulkUpsertSummary.self, contacts__v1__bulk_upsert_summary__init)
        summary?.pointee.total = 9
        summary?.pointee.failed = 2
        summary?.pointee.committed_through = 9
        let reason = builder.make(Contacts__V1__CountEntry.self, contacts__v1__count_entry__init)
        reason?.pointee.key = arena.copy("EMAIL_INVALID")
        reason?.pointee.value = 2
        summary?.pointee.n_failed_by_reason = 1
        summary?.pointee.failed_by_reason = builder.array([reason])
        let message = builder.make(Contacts__V1__Import.self, contacts__v1__import__init)
        message?.pointee.import_id = arena.copy("mine")
        message?.pointee.state = Contacts__V1__ImportState(state)
        message?.pointee.summary = summary
        message?.pointee.options = builder.options(Self.theImport.options)
        message?.pointee.created_at = builder.timestamp(Self.time)
        message?.pointee.updated_at = builder.timestamp(Self.later)
        return message
    }

    private func makeList() -> UnsafeMutablePointer<Contacts__V1__List>? {
        let list = builder.make(Contacts__V1__List.self, contacts__v1__list__init)
        list?.pointee.id = 12
        list?.pointee.name = arena.copy("Friends é")
        list?.pointee.created_at = builder.timestamp(Self.time)
        return list
    }

    private func makeEvent(type: UInt32) -> UnsafeMutablePointer<Contacts__V1__ContactEvent>? {
        let event = builder.make(Contacts__V1__ContactEvent.self, contacts__v1__contact_event__init)
        event?.pointee.offset = .max
        event?.pointee.type = Contacts__V1__EventType(type)
        event?.pointee.contact_id = arena.copy("an id")
        event?.pointee.record = makeRecord()
        event?.pointee.import_id = arena.copy("mine")
        event?.pointee.occurred_at = builder.timestamp(Self.later)
        return event
    }

    private func export() throws -> [UInt8] {
        try packed(contacts__v1__export_contacts_response__init) { message in
            message.n_records = 2
            message.records = builder.array([makeRecord(), makeRecord()])
        }
    }

    // MARK: - Requests

    /// Field numbers and wire types as the proto has them, written out by hand.
    @Test func requestsAreAsTheProtoSays() {
        #expect(ServiceRequests.exportContacts(listID: 0) == [])
        #expect(ServiceRequests.exportContacts(listID: 300) == [0x08, 0xAC, 0x02])
        #expect(ServiceRequests.deleteList(1) == [0x08, 0x01])
        #expect(ServiceRequests.listLists() == [])
        #expect(ServiceRequests.createList("é") == [0x0A, 0x02, 0xC3, 0xA9])
        #expect(ServiceRequests.getImport("ab") == [0x0A, 0x02, 0x61, 0x62])
        #expect(ServiceRequests.listImports(pageSize: 0, pageToken: "") == [])
        #expect(
            ServiceRequests.listImports(pageSize: 5, pageToken: "t") == [
                0x08, 0x05, 0x12, 0x01, 0x74,
            ])
        #expect(
            ServiceRequests.watchEvents(after: .max) == [0x08] + Array(repeating: 0xFF, count: 9)
                + [0x01])
    }

    @Test func aNegativeListSurvives() throws {
        let bytes = ServiceRequests.exportContacts(listID: -1)
        let message = try #require(
            bytes.withUnsafeBytes {
                arena.unpack($0, contacts__v1__export_contacts_request__unpack)
            })
        #expect(message.pointee.list_id == -1)
    }

    // MARK: - Responses

    @Test func responsesComeOutAsTheyWentIn() throws {
        let decoder = ResponseDecoder()
        #expect(try decode(export(), decoder.exportContacts) == [Self.record, Self.record])
        let single = try packed(contacts__v1__get_import_response__init) {
            $0.import = makeImport(state: 3)
        }
        #expect(try decode(single, decoder.getImport) == Self.theImport)
        let page = try packed(contacts__v1__list_imports_response__init) { message in
            message.n_imports = 1
            message.imports = builder.array([makeImport(state: 3)])
            message.next_page_token = arena.copy("more")
        }
        let imports = try decode(page, decoder.listImports)
        #expect(imports.imports == [Self.theImport])
        #expect(imports.nextPageToken == "more")
        let list = ContactList(id: 12, name: "Friends é", createdAt: Self.time)
        let created = try packed(contacts__v1__create_list_response__init) { $0.list = makeList() }
        #expect(try decode(created, decoder.createList) == list)
        let lists = try packed(contacts__v1__list_lists_response__init) { message in
            message.n_lists = 2
            message.lists = builder.array([makeList(), makeList()])
        }
        #expect(try decode(lists, decoder.listLists) == [list, list])
        let events = try packed(contacts__v1__watch_events_response__init) { message in
            message.n_events = 1
            message.events = builder.array([makeEvent(type: 2)])
        }
        let event = ContactEvent(
            offset: .max, type: .updated, record: Self.record, importID: "mine",
            occurredAt: Self.later)
        #expect(try decode(events, decoder.watchEvents) == [event])
    }

    @Test func nothingIsAnEmptyAnswer() throws {
        let decoder = ResponseDecoder()
        #expect(try decode([], decoder.exportContacts) == [])
        #expect(try decode([], decoder.listLists) == [])
        #expect(try decode([], decoder.watchEvents) == [])
        #expect(try decode([], decoder.listImports).imports == [])
        #expect(throws: Never.self) { try decode([], decoder.deleteList) }
        #expect(throws: DecodeError.malformed) { try decode([], decoder.getImport) }
        #expect(throws: DecodeError.malformed) { try decode([], decoder.createList) }
    }

    @Test func whatIsCutIsMalformedOrShorter() throws {
        let whole = try export()
        let decoder = ResponseDecoder()
        for length in 0..<whole.count {
            // Cut between two records the rest is a message of its own.
            guard let records = try? decode(Array(whole[..<length]), decoder.exportContacts)
            else { continue }
            #expect(records.count < 2)
            #expect(records.allSatisfy { $0 == Self.record })
        }
    }

    @Test func anUnknownStateOrTypeIsMalformed() throws {
        let decoder = ResponseDecoder()
        for state: UInt32 in [0, 4, 255, 256] {
            let bytes = try packed(contacts__v1__get_import_response__init) {
                $0.import = makeImport(state: state)
            }
            #expect(throws: DecodeError.malformed) { try decode(bytes, decoder.getImport) }
        }
        for type: UInt32 in [0, 3] {
            let bytes = try packed(contacts__v1__watch_events_response__init) { message in
                message.n_events = 1
                message.events = builder.array([makeEvent(type: type)])
            }
            #expect(throws: DecodeError.malformed) { try decode(bytes, decoder.watchEvents) }
        }
        // A record without a contact, and an event without a record.
        #expect(throws: DecodeError.malformed) { try decode([0x0A, 0x00], decoder.exportContacts) }
        #expect(throws: DecodeError.malformed) {
            try decode([0x0A, 0x02, 0x10, 0x01], decoder.watchEvents)
        }
    }

    @Test func anyBytesAreMalformedAtWorst() {
        SeededRandom.run { random in
            let decoder = ResponseDecoder()
            for _ in 0..<2000 {
                let count = Int.random(in: 0..<40, using: &random)
                let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
                _ = try? decode(bytes, decoder.exportContacts)
                _ = try? decode(bytes, decoder.listImports)
                _ = try? decode(bytes, decoder.watchEvents)
                _ = try? decode(bytes, decoder.listLists)
            }
        }
    }

    private func decode<Value>(
        _ bytes: [UInt8], _ decode: (UnsafeRawBufferPointer) throws(DecodeError) -> Value
    ) throws -> Value {
        try bytes.withUnsafeBytes { try decode($0) }
    }
}
