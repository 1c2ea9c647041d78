// Where transactions are cut means nothing: the same stream, one contact a transaction, ten, or all
// in one, gives the same answers and the same tables, byte for byte. A dry run predicts them.

import Contacts
import Ingest
import Postgres
import Testing
import TestSupport

@Suite struct GroupingTests {
    static let contactCount = 400

    @Test(arguments: [UniqueIdentifiers.email, [.email, .phone, .externalID]], UInt64(1)...3)
    func aStreamCutInAnyWayGivesTheSame(unique: UniqueIdentifiers, seed: UInt64) throws {
        let whole = try outcome(unique, seed, cut: nil)
        #expect(whole.contains { $0.contains("updated") && $0.hasPrefix("event") })
        #expect(whole.contains { $0.contains("IDENTIFIER_TAKEN") } == (unique != .email))
        for cut in [1, 10] {
            #expect(try outcome(unique, seed, cut: cut) == whole, "seed \(seed), cut \(cut)")
        }
    }

    /// All that can be seen of the stream: its answers, the tables, the events.
    private func outcome(
        _ unique: UniqueIdentifiers, _ seed: UInt64, cut: Int?
    ) throws -> [String] {
        let harness = try EngineHarness(lanes: 2)
        let workspace = try harness.workspace(unique)
        try harness.connection.execute(
            "INSERT INTO lists (workspace_id, id, name) VALUES (\(workspace.id), 1, 'a'), (\(workspace.id), 2, 'b')"
        )
        var random = SeededRandom(seed: seed)
        let contacts = (0..<Self.contactCount).map { _ in Self.contact(using: &random) }
        var options = UpsertOptions()
        options.runWorkflow = true
        options.listIDs = [0, 2]
        options.importID = "import"
        var dry = options
        dry.validateOnly = true
        let predicted = try harness.upsert(contacts, dry, in: workspace, cut: cut)
        let results = try harness.upsert(contacts, options, in: workspace, cut: cut)
        #expect(predicted.map(\.status) == results.map(\.status))
        #expect(predicted.map { $0.error?.reasonText } == results.map { $0.error?.reasonText })
        var places: [String: String] = [:]
        var lines = results.map { Self.line($0, &places) }
        lines += try harness.everything().map { line in
            places.reduce(line) { $0.replacing($1.key, with: $1.value) }
        }
        return lines.prefix(results.count) + lines.dropFirst(results.count).sorted()
    }

    /// Ids are replaced by the order in which their contacts were made.
    private static func line(_ result: ContactResult, _ places: inout [String: String]) -> String {
        if !result.id.isEmpty, places[result.id] == nil { places[result.id] = "#\(places.count)" }
        let error = result.error.map {
            """
            \($0.reasonText) \($0.field) \($0.message) \($0.retryable) \
            \(places[$0.conflictingID] ?? $0.conflictingID)
            """
        }
        return "\(result.sequence) \(result.status) \(places[result.id] ?? "") \(error ?? "")"
    }

    private static func contact(using random: inout SeededRandom) -> Contact {
        var contact = Contact()
        contact.email = "k\(Int.random(in: 0..<40, using: &random))@example.com"
        let kind = Int.random(in: 0..<20, using: &random)
        if kind == 0 { contact.email = ["bad", "", nil].randomElement(using: &random) ?? nil }
        if kind % 3 == 0 {
            contact.phone = ["", "+161755500\(Int.random(in: 10..<30, using: &random))"]
                .randomElement(using: &random)
        }
        if kind % 4 == 0 { contact.externalID = "x\(Int.random(in: 0..<30, using: &random))" }
        if kind % 2 == 0 { contact.name = ["", "a", "b"].randomElement(using: &random) }
        if kind == 5 { contact.listIDs = [1] }
        if kind == 6 { contact.listIDs = [2, 7] }
        if kind > 12 {
            // Beyond the size that is looked up with the contact.
            let long = String(repeating: "x", count: 700)
            let values: [CustomField.Value] = [
                .null, .integer(1), .number(1), .string(long), .boolean(true),
                .timestamp(Timestamp(seconds: 1)),
            ]
            for name in ["p", "q", "r"] where Bool.random(using: &random) {
                contact.fields.append(
                    CustomField(name, values.randomElement(using: &random) ?? .null))
            }
        }
        return contact
    }
}
