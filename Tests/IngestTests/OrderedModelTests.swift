// Several calls at once on a workspace with several unique identifiers, on four lanes, in small
// transactions, without waiting: the answers and the table must be those of applying the contacts
// one at a time in the order in which they were handed over. Also when the database refuses
// some.

import Contacts
import Postgres
import Testing
import TestSupport

@testable import Ingest

@Suite struct OrderedModelTests {
    private static let contactsPerRound = 120

    @Test(arguments: UInt64(1)...24)
    func laneSharingIsInvisible(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let harness = try EngineHarness(
            lanes: Int.random(in: 2...4, using: &random),
            orderedLimit: [1, 3, 10, 40].randomElement(using: &random) ?? 1)
        let unique: UniqueIdentifiers =
            seed % 4 == 0 ? [.email, .phone] : [.email, .phone, .externalID]
        let workspace = try harness.workspace(unique)
        try Self.refuse(harness.connection)
        var model = ContactModel(unique: unique)
        for round in 0..<5 {
            let calls = try (0..<3).map { _ in
                try PipelinedCall(
                    Self.options(unique, isFirst: round == 0, &random), in: workspace,
                    harness.engine)
            }
            var expected: [[ContactModel.Expected]] = [[], [], []]
            while expected.joined().count < Self.contactsPerRound {
                let call = Int.random(in: 0..<calls.count, using: &random)
                let contacts = (0..<Int.random(in: 1...4, using: &random)).map { _ in
                    Self.contact(calls[call].options, model, &random)
                }
                expected[call] += contacts.map { Self.apply($0, calls[call].options, &model) }
                try calls[call].send(contacts)
            }
            try compare(calls, expected, &model, "seed \(seed), round \(round)")
            #expect(try harness.table() == model.table(workspace), "seed \(seed), round \(round)")
        }
        try checkImports(harness.connection)
    }

    private func compare(
        _ calls: [PipelinedCall], _ expected: [[ContactModel.Expected]],
        _ model: inout ContactModel, _ comment: String
    ) throws {
        let answers = calls.map { $0.finish() }
        // Ids first: one call may name a contact that another has made.
        for created in [true, false] {
            for (call, answer) in answers.enumerated() {
                #expect(answer.failures.isEmpty, "\(comment)")
                try #require(answer.results.count == expected[call].count, "\(comment)")
                for (index, result) in answer.results.enumerated()
                where (result.status == .created) == created {
                    model.compare(
                        result, expected[call][index], "\(comment), call \(call), \(index)")
                }
            }
        }
        for call in calls where !expected[calls.firstIndex { $0 === call } ?? 0].isEmpty {
            try call.send([], ending: .finished)
            _ = call.finish()
        }
    }

    /// Every import has ended, and every contact is counted once and marked as decided.
    private func checkImports(_ connection: Connection) throws {
        let states = try connection.query("SELECT DISTINCT state FROM imports")
        #expect(states.rowCount == 1 && states.int16(0, 0) == 3)
        let counted = try connection.query(
            """
            SELECT p.import_id, sum(p.counts[1] + p.counts[2] + p.counts[3] + p.counts[4])::int8,
                sum((SELECT sum(get_bit(p.decided, n)) FROM
                    generate_series(0, length(p.decided) * 8 - 1) n))::int8
            FROM import_progress p GROUP BY p.import_id
            """)
        #expect(counted.rowCount > 0)
        for row in 0..<counted.rowCount {
            #expect(counted.int64(row, 1) == counted.int64(row, 2))
        }
    }

    // MARK: Refusals

    /// Refuses contacts by their email.
    private static func refuse(_ connection: Connection) throws {
        try connection.execute(
            """
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF NEW.email LIKE 'refused%' THEN RAISE EXCEPTION 'no'; END IF;
                RETURN NEW;
            END $$;
            CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON contacts
                FOR EACH ROW EXECUTE FUNCTION refuse()
            """)
    }

    private static func apply(
        _ contact: Contact, _ options: UpsertOptions, _ model: inout ContactModel
    ) -> ContactModel.Expected {
        guard contact.email?.hasPrefix("refused") ?? false else {
            return model.apply(contact, options)
        }
        var copy = model
        let expected = copy.apply(contact, options)
        guard case .stored = expected else { return expected }
        return .failed(.databaseRejected, "", conflicting: nil)
    }

    // MARK: Contacts

    private static func options(
        _ unique: UniqueIdentifiers, isFirst: Bool, _ random: inout SeededRandom
    ) -> UpsertOptions {
        var options = UpsertOptions()
        var ways: [MatchBy] = isFirst ? [.email, .phone] : [.email, .phone, .id, .id]
        if unique.contains(UniqueIdentifiers.externalID) { ways.append(.externalID) }
        options.matchBy = ways.randomElement(using: &random) ?? .email
        options.writeMode = Int.random(in: 0..<3, using: &random) == 0 ? .replace : .merge
        options.existence =
            options.matchBy == .id
            ? .upsert
            : [.upsert, .upsert, .upsert, .createOnly, .updateOnly].randomElement(using: &random)
                ?? .upsert
        return options
    }

    private static func contact(
        _ options: UpsertOptions, _ model: ContactModel, _ random: inout SeededRandom
    ) -> Contact {
        var contact = Contact()
        func text(_ values: [String?]) -> String? { values.randomElement(using: &random) ?? nil }
        contact.email = text([nil, "", "k\(Int.random(in: 0..<25, using: &random))@example.com"])
        let number = Int.random(in: 10..<35, using: &random)
        contact.phone = text([nil, "", "+161755512\(number)", "+161755512\(number)"])
        contact.externalID = text([nil, "", "e\(Int.random(in: 0..<25, using: &random))"])
        contact.name = text([nil, "", "a", "b"])
        switch options.matchBy {
        case .email:
            contact.email = "k\(Int.random(in: 0..<25, using: &random))@example.com"
            if Int.random(in: 0..<15, using: &random) == 0 {
                contact.email = "refused\(Int.random(in: 0..<3, using: &random))@example.com"
            }
        case .phone: contact.phone = "+161755512\(number)"
        case .externalID: contact.externalID = "e\(Int.random(in: 0..<25, using: &random))"
        case .id:
            let known = model.contacts.compactMap(\.realID)
            contact.id =
                known.randomElement(using: &random) ?? "00000000-0000-7000-8000-000000000000"
        }
        if Int.random(in: 0..<30, using: &random) == 0 { contact.email = "no email" }
        return contact
    }
}
