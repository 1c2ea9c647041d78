// What an upsert does to the table, and what it answers, on a real PostgreSQL.

import Contacts
import Ingest
import Postgres
import Testing
import TestSupport

@Suite struct UpsertTests {
    let harness: EngineHarness
    let workspace: Workspace

    init() throws {
        harness = try EngineHarness()
        workspace = try harness.workspace(.email)
    }

    private func statuses(
        _ contacts: [Contact], _ options: UpsertOptions = UpsertOptions(), cut: Int? = nil
    ) throws -> [UpsertStatus] {
        try harness.upsert(contacts, options, in: workspace, cut: cut).map(\.status)
    }

    @Test func aContactIsCreatedThenUnchangedThenUpdated() throws {
        let contact = Contact(email: " Ann@Example.COM ", name: "Ann")
        let created = try harness.upsert([contact], in: workspace)
        let unchanged = try harness.upsert([contact], in: workspace)
        let updated = try harness.upsert(
            [Contact(email: "ann@example.com", name: "Anna")], in: workspace)
        #expect(created.map(\.status) == [.created])
        #expect(unchanged.map(\.status) == [.unchanged])
        #expect(updated.map(\.status) == [.updated])
        #expect(Set([created, unchanged, updated].flatMap { $0.map(\.id) }).count == 1)
        #expect(try harness.contact(email: "ann@example.com")?.name == "Anna")
        #expect(try harness.contact(email: "ann@example.com")?.id == created[0].id)
    }

    @Test func anUnchangedContactIsNotWritten() throws {
        let contact = Contact(
            email: "a@example.com", name: "Ann", fields: [CustomField("x", .integer(1))])
        _ = try statuses([contact])
        let before = try harness.connection.query("SELECT xmin::text, ctid::text FROM contacts")
        #expect(try statuses([contact]) == [.unchanged])
        let after = try harness.connection.query("SELECT xmin::text, ctid::text FROM contacts")
        #expect(before.text(0, 0) == after.text(0, 0))
        #expect(before.text(0, 1) == after.text(0, 1))
    }

    @Test func mergeKeepsWhatIsAbsentAndClearsWhatIsEmpty() throws {
        _ = try statuses([
            Contact(email: "a@example.com", phone: "+16175551212", name: "Ann", firstName: "A")
        ])
        #expect(
            try statuses([Contact(email: "a@example.com", name: "", lastName: "B")]) == [.updated])
        let contact = try #require(try harness.contact(email: "a@example.com"))
        #expect(contact.phone == "+16175551212")
        #expect(contact.name == nil)
        #expect(contact.firstName == "A")
        #expect(contact.lastName == "B")
    }

    @Test func replaceClearsWhatIsAbsentCustomFieldsIncluded() throws {
        var options = UpsertOptions()
        options.writeMode = .replace
        let full = Contact(
            email: "a@example.com", name: "Ann", fields: [CustomField("x", .integer(1))])
        #expect(try statuses([full], options) == [.created])
        #expect(try statuses([full], options) == [.unchanged])
        #expect(
            try statuses([Contact(email: "a@example.com", firstName: "A")], options) == [.updated])
        let contact = try #require(try harness.contact(email: "a@example.com"))
        #expect(contact.name == nil)
        #expect(contact.firstName == "A")
        #expect(contact.fields.isEmpty)
    }

    @Test func customFieldsMergeByNameAndKeepTheirKind() throws {
        let time = Timestamp(seconds: 1_700_000_000, nanoseconds: 123_456_000)
        _ = try statuses([
            Contact(
                email: "a@example.com",
                fields: [
                    CustomField("integer", .integer(.max)), CustomField("number", .number(5)),
                    CustomField("time", .timestamp(time)), CustomField("text", .string("")),
                    CustomField("gone", .boolean(true)),
                ])
        ])
        let patch = Contact(
            email: "a@example.com",
            fields: [CustomField("gone", .null), CustomField("number", .number(0.1))])
        #expect(try statuses([patch]) == [.updated])
        #expect(try statuses([patch]) == [.unchanged])
        let fields = try #require(try harness.contact(email: "a@example.com")).fields
        #expect(Set(fields.map(\.name)) == ["integer", "number", "time", "text"])
        #expect(fields.contains(CustomField("integer", .integer(.max))))
        #expect(fields.contains(CustomField("number", .number(0.1))))
        #expect(fields.contains(CustomField("time", .timestamp(time))))
        #expect(fields.contains(CustomField("text", .string(""))))
    }

    @Test func anIntegerAndAnEqualNumberDiffer() throws {
        _ = try statuses([Contact(email: "a@example.com", fields: [CustomField("x", .integer(5))])])
        #expect(
            try statuses([Contact(email: "a@example.com", fields: [CustomField("x", .number(5))])])
                == [.updated])
    }

    @Test func aNewContactWithANullFieldHasNoSuchField() throws {
        _ = try statuses([
            Contact(
                email: "a@example.com",
                fields: [CustomField("x", .null), CustomField("y", .integer(1))])
        ])
        #expect(
            try harness.contact(email: "a@example.com")?.fields == [CustomField("y", .integer(1))])
    }

    @Test(arguments: [1, 7, 1000, nil])
    func oneKeyAThousandTimesEndsAsTheLastSays(cut: Int?) throws {
        var random = SeededRandom(seed: 42)
        var contacts = (0..<3000).map { Contact(email: "user\($0)@example.com", name: "n") }
        var places = Array(contacts.indices).shuffled(using: &random)
        places.removeLast(2000)
        for (number, place) in places.sorted().enumerated() {
            contacts[place] = Contact(email: "same@example.com", name: "name \(number / 2)")
        }
        let results = try statuses(contacts, cut: cut == 1 ? 50 : cut)
        let same = places.sorted().map { results[$0] }
        let expected = (0..<1000).map { number -> UpsertStatus in
            number == 0 ? .created : number % 2 == 0 ? .updated : .unchanged
        }
        #expect(same == expected)
        #expect(results.count { $0 == .created } == 2001)
        #expect(try harness.contact(email: "same@example.com")?.name == "name 499")
    }

    @Test func everyTenthBadContactFailsAlone() throws {
        let contacts = (1...1000).map { number in
            Contact(email: number % 10 == 0 ? "not an email" : "u\(number)@example.com")
        }
        let results = try harness.upsert(contacts, in: workspace)
        for result in results {
            if result.sequence % 10 == 0 {
                #expect(result.error?.reason == .emailInvalid)
                #expect(result.error?.field == "email")
            } else {
                #expect(result.status == .created)
            }
        }
        #expect(try harness.table().count == 900)
    }

    /// The limits of a contact hold for what stands after merging, however it came there.
    @Test func mergingEndsAtTheLimitsOfAContact() throws {
        let harness = try EngineHarness()
        let workspace = try harness.workspace(.email)
        func merge(_ fields: [CustomField]) throws -> ContactResult? {
            try harness.upsert([Contact(email: "a@b.example", fields: fields)], in: workspace).first
        }
        #expect(try merge((0..<299).map { CustomField("f\($0)", .integer(1)) })?.status == .created)
        #expect(try merge([CustomField("last", .integer(1))])?.status == .updated)
        let tooMany = try merge([CustomField("one more", .integer(1))])
        #expect(tooMany?.error?.reason == .fieldInvalid)
        #expect(tooMany?.error?.field == "fields")
        #expect(
            try merge([CustomField("last", .null), CustomField("one more", .integer(1))])?.status
                == .updated)
        // Nor by getting shorter.
        #expect(
            try merge([CustomField("f0", .string(String(repeating: "x", count: 3000)))])?.status
                == .updated)
        let shorter = try merge([CustomField("f0", .integer(1)), CustomField("yet more", .null)])
        #expect(shorter?.status == .updated)
        _ = try merge([CustomField("f0", .string(String(repeating: "x", count: 3000)))])
        let tooManyAgain = try merge([
            CustomField("f0", .string("")), CustomField("yet one more", .integer(1)),
        ])
        #expect(tooManyAgain?.error?.reason == .fieldInvalid)
        // Each call stays below the limit of a contact, and six bytes a character is the most.
        let long = String(repeating: "\u{1}", count: 90_000)
        #expect(try merge([CustomField("f0", .string(long))])?.status == .updated)
        let tooLarge = try merge([CustomField("f1", .string(long))])
        #expect(tooLarge?.error?.reason == .contactTooLarge)
        #expect(try merge([CustomField("f0", .integer(1))])?.status == .updated)
    }

    @Test func existenceIsHonoured() throws {
        var options = UpsertOptions()
        options.existence = .updateOnly
        let missing = try harness.upsert([Contact(email: "a@example.com")], options, in: workspace)
        #expect(missing[0].error?.reason == .notFound)
        options.existence = .createOnly
        let both = try harness.upsert(
            [Contact(email: "a@example.com"), Contact(email: "a@example.com", name: "x")], options,
            in: workspace)
        #expect(both[0].status == .created)
        #expect(both[1].error?.reason == .alreadyExists)
        #expect(both[1].error?.conflictingID == both[0].id)
    }

    @Test func aTakenIdentifierNamesTheOtherContact() throws {
        let all = try harness.workspace([.email, .phone, .externalID])
        let results = try harness.upsert(
            [
                Contact(email: "a@example.com", phone: "+16175551212"),
                Contact(email: "b@example.com", phone: "+16175551212"),
                Contact(email: "a@example.com", phone: "+16175551213"),
                Contact(email: "b@example.com", phone: "+16175551212"),
                Contact(email: "a@example.com", phone: "+16175551212"),
            ], in: all)
        #expect(results.map(\.status) == [.created, .failed, .updated, .created, .failed])
        #expect(results[1].error?.reason == .identifierTaken)
        #expect(results[1].error?.field == "phone")
        #expect(results[1].error?.conflictingID == results[0].id)
        #expect(results[4].error?.conflictingID == results[3].id)
        // The same again, each in its own transaction, over what stands.
        let again = try harness.upsert(
            [
                Contact(email: "a@example.com", phone: ""),
                Contact(email: "b@example.com", phone: "+16175551213"),
                Contact(email: "a@example.com", phone: "+16175551212"),
            ], in: all)
        #expect(again.map(\.status) == [.updated, .updated, .updated])
    }

    @Test func matchingByPhoneAndExternalID() throws {
        let all = try harness.workspace([.email, .phone, .externalID])
        var options = UpsertOptions()
        options.matchBy = .phone
        options.defaultDialCode = "1"
        let first = try harness.upsert(
            [Contact(phone: "(617) 555-1212", externalID: "e1")], options, in: all)
        options.matchBy = .externalID
        let second = try harness.upsert(
            [Contact(email: "a@example.com", externalID: "e1")], options, in: all)
        #expect(first[0].status == .created)
        #expect(second[0].status == .updated)
        #expect(first[0].id == second[0].id)
    }

    @Test func aConstraintOfTheOwnerFailsOneContactAlone() throws {
        try harness.connection.execute(
            "ALTER TABLE contacts ADD CHECK (name IS DISTINCT FROM 'forbidden')")
        let contacts = (0..<500).map {
            Contact(email: "u\($0)@example.com", name: $0 == 321 ? "forbidden" : "ok")
        }
        let results = try harness.upsert(contacts, in: workspace)
        #expect(results.count { $0.status == .created } == 499)
        #expect(results[321].error?.reason == .databaseRejected)
    }

    @Test func largeCustomFieldsAreMergedToo() throws {
        let text = String(repeating: "x", count: 50_000)
        let large = Contact(
            email: "a@example.com",
            fields: [CustomField("large", .string(text)), CustomField("n", .integer(1))])
        #expect(try statuses([large]) == [.created])
        #expect(try statuses([large]) == [.unchanged])
        let patch = Contact(email: "a@example.com", fields: [CustomField("n", .integer(2))])
        #expect(try statuses([patch, patch]) == [.updated, .unchanged])
        let fields = try #require(try harness.contact(email: "a@example.com")).fields
        #expect(Set(fields.map(\.name)) == ["large", "n"])
        #expect(fields.contains(CustomField("large", .string(text))))
    }

    @Test func aContactWithLargeCustomFieldsKeepsThemWhenAnotherFieldChanges() throws {
        let fields = [CustomField("large", .string(String(repeating: "x", count: 5000)))]
        _ = try statuses([Contact(email: "a@example.com", name: "Ann", fields: fields)])
        let rename = Contact(email: "a@example.com", name: "Anna")
        #expect(try statuses([rename, rename]) == [.updated, .unchanged])
        #expect(try statuses([rename]) == [.unchanged])
        let contact = try #require(try harness.contact(email: "a@example.com"))
        #expect(contact.name == "Anna")
        #expect(contact.fields == fields)
    }

    @Test func aTriggerOfTheOwnerFailsOneContactAlone() throws {
        try harness.connection.execute(
            """
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF NEW.name = 'forbidden' THEN RAISE EXCEPTION 'no'; END IF;
                RETURN NEW;
            END $$;
            CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON contacts
                FOR EACH ROW EXECUTE FUNCTION refuse()
            """)
        let contacts = (0..<300).map {
            Contact(email: "u\($0)@example.com", name: $0 == 123 ? "forbidden" : "ok")
        }
        let results = try harness.upsert(contacts, in: workspace)
        #expect(results.count { $0.status == .created } == 299)
        #expect(results[123].error?.reason == .databaseRejected)
        #expect(results[123].error?.retryable == false)
    }

    @Test func manyContactsThatAreLargeInTheDatabaseAreUpdatedInParts() throws {
        // 34 MB in the database, looked up by a transaction of 1 MB.
        try harness.connection.execute(
            """
            INSERT INTO contacts (workspace_id, id, unique_by, email, external_id, name, first_name,
                last_name)
            SELECT w.id, gen_random_uuid(), w.unique_by, 'u' || n || '@example.com',
                repeat('e', 250), repeat('n', 1024), repeat('f', 1024), repeat('l', 1024)
            FROM workspaces w, generate_series(1, 10000) n WHERE w.name = 'default'
            """)
        let contacts = (1...10_000).map { Contact(email: "u\($0)@example.com", name: "small") }
        #expect(try Set(statuses(contacts)) == [.updated])
        let result = try harness.connection.query(
            "SELECT count(*)::int4 FROM contacts WHERE name = 'small' AND length(last_name) = 1024")
        #expect(result.int32(0, 0) == 10_000)
    }

    @Test func aWriterFromOutsideIsNotOverwrittenBlindly() throws {
        _ = try statuses([Contact(email: "a@example.com", name: "Ann")])
        let other = try harness.database.connect()
        try other.execute("BEGIN; UPDATE contacts SET first_name = 'Other'")
        let committed = WorkAfter(milliseconds: 300, other) {
            try? $0.execute("COMMIT")
        }
        #expect(try statuses([Contact(email: "a@example.com", name: "Anna")]) == [.updated])
        committed.wait()
        let contact = try #require(try harness.contact(email: "a@example.com"))
        #expect(contact.name == "Anna")
        #expect(contact.firstName == "Other")
    }

    @Test func aContactThatAnotherWriterMakesMeanwhileIsUpdated() throws {
        let other = try harness.database.connect()
        try other.execute(
            """
            BEGIN;
            INSERT INTO contacts (workspace_id, id, unique_by, email, name)
            SELECT id, gen_random_uuid(), unique_by, 'a@example.com', 'Other' FROM workspaces
            """)
        let committed = WorkAfter(milliseconds: 300, other) {
            try? $0.execute("COMMIT")
        }
        #expect(try statuses([Contact(email: "a@example.com", firstName: "Ann")]) == [.updated])
        committed.wait()
        let contact = try #require(try harness.contact(email: "a@example.com"))
        #expect(contact.name == "Other")
        #expect(contact.firstName == "Ann")
    }
}
