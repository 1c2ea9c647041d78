// Random imports against a model: a list of contacts to which each is applied alone, in order.
//
// Few keys, so that repeats and collisions are many; all options that decide what is written; any
// cut into transactions. Statuses, ids, errors and the table must be the model's.

import Contacts
import Ingest
import Testing
import TestSupport

@Suite struct ModelTests {
    @Test(arguments: UInt64(1)...12)
    func anImportDoesWhatApplyingItsContactsOneByOneDoes(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let harness = try EngineHarness(lanes: Int.random(in: 1...3, using: &random))
        let unique: UniqueIdentifiers =
            seed % 3 == 0 ? .email : [.email, .phone, .externalID]
        let workspace = try harness.workspace(unique)
        var model = ContactModel(unique: unique)
        for round in 0..<6 {
            var options = UpsertOptions()
            options.matchBy =
                unique == .email
                ? .email : [.email, .phone, .externalID].randomElement(using: &random) ?? .email
            options.writeMode = Bool.random(using: &random) ? .merge : .replace
            options.existence =
                [.upsert, .upsert, .upsert, .createOnly, .updateOnly]
                .randomElement(using: &random) ?? .upsert
            let contacts = (0..<150).map { _ in Self.contact(using: &random) }
            let expected = contacts.map { model.apply($0, options) }
            let results = try harness.upsert(
                contacts, options, in: workspace, cut: Int.random(in: 1...200, using: &random))
            for (index, result) in results.enumerated() {
                let comment = Comment(rawValue: "seed \(seed), round \(round), contact \(index)")
                model.compare(result, expected[index], comment)
            }
            #expect(try harness.table() == model.table(workspace), "seed \(seed), round \(round)")
        }
    }

    private static func contact(using random: inout SeededRandom) -> Contact {
        var contact = Contact()
        func text(_ values: [String?], _ random: inout SeededRandom) -> String? {
            values.randomElement(using: &random) ?? nil
        }
        let number = Int.random(in: 0..<6, using: &random)
        contact.email = text(
            ["k\(number)@example.com", "k\(number)@example.com", nil, ""], &random)
        contact.phone = text([nil, nil, "", "+161755512\(10 + number % 4)"], &random)
        contact.externalID = text([nil, nil, "", "e\(number % 4)"], &random)
        contact.name = text([nil, "", "a", "b"], &random)
        contact.lastName = text([nil, "", "c"], &random)
        if Int.random(in: 0..<20, using: &random) == 0 { contact.email = "no email" }
        for name in ["x", "yy", "z"] where Int.random(in: 0..<4, using: &random) == 0 {
            let values: [CustomField.Value] = [
                .null, .integer(1), .number(1), .string("1"), .boolean(true),
                .timestamp(Timestamp(seconds: 1)), .string("1970-01-01T00:00:01.000000Z"),
            ]
            contact.fields.append(CustomField(name, values.randomElement(using: &random) ?? .null))
        }
        return contact
    }
}

/// The contract in a hundred lines, without a database.
struct ContactModel {
    struct Stored {
        var texts: [String?]
        var fields: [String: CustomField.Value]
        var realID: String?
    }

    enum Expected {
        case stored(UpsertStatus, Int)
        case failed(Reason, String, conflicting: Int?)
    }

    let unique: UniqueIdentifiers
    private(set) var contacts: [Stored] = []

    init(unique: UniqueIdentifiers) { self.unique = unique }

    mutating func apply(_ contact: Contact, _ options: UpsertOptions) -> Expected {
        guard let key = options.matchBy.textField else { return applyByID(contact, options) }
        let incoming: [String?] = [
            contact.email, contact.phone, contact.externalID, contact.name, contact.firstName,
            contact.lastName,
        ]
        if contact.email == "no email", key == .email {
            return .failed(.emailInvalid, "email", conflicting: nil)
        }
        guard let value = incoming[key.rawValue], !value.isEmpty else {
            return .failed(.keyMissing, key.wireName, conflicting: nil)
        }
        if contact.email == "no email" { return .failed(.emailInvalid, "email", conflicting: nil) }
        guard let found = contacts.firstIndex(where: { $0.texts[key.rawValue] == value }) else {
            if options.existence == .updateOnly {
                return .failed(.notFound, key.wireName, conflicting: nil)
            }
            let new = Self.merged(
                Stored(texts: .init(repeating: nil, count: 6), fields: [:]),
                incoming, contact.fields, .merge)
            if let taken = taken(new, besides: nil) { return taken }
            contacts.append(new)
            return .stored(.created, contacts.count - 1)
        }
        if options.existence == .createOnly {
            return .failed(.alreadyExists, key.wireName, conflicting: found)
        }
        return update(found, incoming, contact, options)
    }

    private mutating func applyByID(_ contact: Contact, _ options: UpsertOptions) -> Expected {
        guard let id = contact.id else { return .failed(.keyMissing, "id", conflicting: nil) }
        if contact.email == "no email" { return .failed(.emailInvalid, "email", conflicting: nil) }
        guard let found = contacts.firstIndex(where: { $0.realID == id }) else {
            return .failed(.notFound, "id", conflicting: nil)
        }
        let incoming: [String?] = [
            contact.email, contact.phone, contact.externalID, contact.name, contact.firstName,
            contact.lastName,
        ]
        return update(found, incoming, contact, options)
    }

    private mutating func update(
        _ found: Int, _ incoming: [String?], _ contact: Contact, _ options: UpsertOptions
    ) -> Expected {
        let old = contacts[found]
        let new = Self.merged(old, incoming, contact.fields, options.writeMode)
        if new.texts == old.texts && new.fields == old.fields { return .stored(.unchanged, found) }
        if let taken = taken(new, besides: found) { return taken }
        contacts[found] = new
        return .stored(.updated, found)
    }

    private static func merged(
        _ old: Stored, _ incoming: [String?], _ fields: [CustomField], _ mode: WriteMode
    ) -> Stored {
        var new = old
        if mode == .replace { new.fields = [:] }
        for (index, text) in incoming.enumerated() where text != nil || mode == .replace {
            new.texts[index] = text?.isEmpty == false ? text : nil
        }
        for field in fields { new.fields[field.name] = field.value == .null ? nil : field.value }
        return new
    }

    private func taken(_ new: Stored, besides own: Int?) -> Expected? {
        for field in [TextField.email, .phone, .externalID] where unique.contains(field) {
            guard let value = new.texts[field.rawValue] else { continue }
            for (index, other) in contacts.enumerated()
            where index != own && other.texts[field.rawValue] == value {
                return .failed(.identifierTaken, field.wireName, conflicting: index)
            }
        }
        return nil
    }

    /// Checks a result; learns the id of a contact that was created.
    mutating func compare(_ result: ContactResult, _ expected: Expected, _ comment: Comment) {
        switch expected {
        case .stored(let status, let index):
            #expect(result.status == status, comment)
            if status == .created { contacts[index].realID = result.id }
            #expect(result.id == contacts[index].realID, comment)
        case .failed(let reason, let field, let conflicting):
            #expect(result.error?.reason == reason, comment)
            #expect(result.error?.field == field, comment)
            #expect(
                result.error?.conflictingID == (conflicting.map { contacts[$0].realID } ?? ""),
                comment)
        }
    }

    /// As `EngineHarness.table` shows it.
    func table(_ workspace: Workspace) -> [String] {
        contacts.map { contact in
            let names = contact.fields.keys.sorted { ($0.utf8.count, $0) < ($1.utf8.count, $1) }
            let fields = names.map { "\"\($0)\": \(Self.json(contact.fields[$0] ?? .null))" }
            let kinds = names.filter {
                if case .timestamp = contact.fields[$0] { true } else { false }
            }
            let kindTexts = kinds.map { "\"\($0)\": \"timestamp\"" }
            return
                ([String(workspace.id)] + contact.texts.map { $0 ?? "~" } + [
                    "{\(fields.joined(separator: ", "))}",
                    kinds.isEmpty ? "~" : "{\(kindTexts.joined(separator: ", "))}",
                ]).joined(separator: "|")
        }.sorted { Array($0.utf8).lexicographicallyPrecedes(Array($1.utf8)) }
    }

    private static func json(_ value: CustomField.Value) -> String {
        switch value {
        case .integer(let integer): "\(integer)"
        case .number(let number): "\(number)"
        case .string(let text): "\"\(text)\""
        case .boolean(let boolean): "\(boolean)"
        case .timestamp: "\"1970-01-01T00:00:01.000000Z\""
        case .null: "null"
        }
    }
}
