// Each way that a transaction can take to the table is taken, and its answers are right.

import Contacts
import Postgres
import Testing
import TestSupport

@testable import Ingest

@Suite struct PathTests {
    private let harness: EngineHarness
    private let workspace: Workspace

    init() throws {
        // One lane, so that one transaction is one.
        harness = try EngineHarness(lanes: 1)
        workspace = try harness.workspace(.email)
    }

    private func contacts(_ range: Range<Int>, name: String = "n") -> [Contact] {
        range.map { Contact(email: "p\($0)@example.com", name: name) }
    }

    private func statuses(_ results: [ContactResult]) -> Set<UpsertStatus> {
        Set(results.map(\.status))
    }

    private func rowCount() throws -> Int64? {
        try harness.connection.query("SELECT count(*) FROM contacts").int64(0, 0)
    }

    /// Up to 100 contacts go by INSERT, more by COPY.
    @Test(arguments: [3, 100, 101, 500])
    func newContactsAreNotLookedUpOnceLookUpsFindNone(size: Int) throws {
        var results: [ContactResult] = []
        for part in 0..<4 {
            results += try harness.upsert(
                contacts(part * size..<(part + 1) * size), in: workspace)
        }
        #expect(statuses(results) == [.created])
        #expect(Set(results.map(\.id)).count == 4 * size)
        #expect(harness.engine.count(of: .straight) == 3)
        #expect(harness.engine.count(of: .wrongGuess) == 0)
        #expect(try rowCount() == Int64(4 * size))
    }

    @Test(arguments: [3, 500])
    func aWrongGuessIsTakenBack(size: Int) throws {
        _ = try harness.upsert(contacts(0..<size), in: workspace)
        let mixed = contacts(size..<2 * size) + contacts(0..<1, name: "changed")
        let results = try harness.upsert(mixed, in: workspace)
        #expect(statuses(Array(results.dropLast())) == [.created])
        #expect(results.last?.status == .updated)
        #expect(harness.engine.count(of: .wrongGuess) == 1)
        #expect(harness.engine.count(of: .straight) == 0)
        #expect(harness.engine.count(of: .lostRace) == 0)
        #expect(try rowCount() == Int64(2 * size))
        // After a wrong guess two look-ups have to find nothing.
        for part in 2..<5 {
            _ = try harness.upsert(contacts(part * size..<(part + 1) * size), in: workspace)
        }
        #expect(harness.engine.count(of: .straight) == 1)
    }

    @Test func aRepeatWithinATransactionIsNoWrongGuess() throws {
        _ = try harness.upsert(contacts(0..<10), in: workspace)
        let results = try harness.upsert(
            contacts(10..<20) + contacts(10..<20) + contacts(10..<12, name: "b"), in: workspace)
        #expect(results.map(\.status).filter { $0 == .created }.count == 10)
        #expect(results.map(\.status).filter { $0 == .unchanged }.count == 10)
        #expect(results.map(\.status).filter { $0 == .updated }.count == 2)
        #expect(harness.engine.count(of: .straight) == 1)
    }

    /// What took an identifier and gave it up again is only proved by a look-up.
    @Test func anIdentifierThatIsTakenForATimeIsLookedUp() throws {
        let unique = try harness.workspace([.email, .phone])
        let phone = "+4915112345678"
        _ = try harness.upsert([Contact(email: "holder@example.com", phone: phone)], in: unique)
        // The look-up finds none, so that the next transaction is a guess.
        _ = try harness.upsert([Contact(email: "x@example.com")], in: unique)
        let results = try harness.upsert(
            [
                Contact(email: "y@example.com", phone: phone),
                Contact(email: "y@example.com", phone: "+4915187654321"),
            ], in: unique)
        #expect(results.map(\.status) == [.failed, .created])
        #expect(results.first?.error?.reasonText == Reason.identifierTaken.rawValue)
    }

    /// A contact that fails for another of its transaction leaves nothing in any index.
    @Test func whatFailsWithinATransactionIsLookedUp() throws {
        let unique = try harness.workspace([.email, .phone])
        let phone = "+4915112345678"
        let stands = try harness.upsert([Contact(email: "stands@example.com")], in: unique)
        _ = try harness.upsert([Contact(email: "x@example.com")], in: unique)
        var options = UpsertOptions()
        options.existence = .createOnly
        let results = try harness.upsert(
            [
                Contact(email: "y@example.com", phone: phone),
                Contact(email: "stands@example.com", phone: phone),
            ], options, in: unique)
        #expect(results.map(\.status) == [.created, .failed])
        #expect(results.last?.error?.reason == .alreadyExists)
        #expect(results.last?.error?.conflictingID == stands[0].id)
    }

    @Test func whatIsRefusedAsNewIsLookedUp() throws {
        _ = try harness.upsert(
            [Contact(email: "stands@example.com", phone: "+4915112345678")], in: workspace)
        try harness.connection.execute(
            "ALTER TABLE contacts ADD CHECK (email <> 'stands@example.com' OR phone IS NOT NULL)")
        _ = try harness.upsert(contacts(0..<1), in: workspace)
        let results = try harness.upsert(
            [Contact(email: "stands@example.com", name: "n")], in: workspace)
        #expect(results.map(\.status) == [.updated])
    }

    @Test func contactsThatStandAsTheyComeAreComparedOnly() throws {
        _ = try harness.upsert(contacts(0..<300), in: workspace)
        let places = "SELECT string_agg(ctid::text || xmin, ',' ORDER BY id) FROM contacts"
        let before = try harness.connection.query(places).text(0, 0)
        let results = try harness.upsert(contacts(0..<300), in: workspace)
        #expect(statuses(results) == [.unchanged])
        #expect(harness.engine.count(of: .compareOnly) == 1)
        #expect(try harness.connection.query(places).text(0, 0) == before)
    }

    /// The transaction finds nothing, and waits for another's row of the same key.
    @Test func aContactThatAnotherWriterMakesIsWrittenByOnConflict() throws {
        let other = try harness.database.connect()
        try other.execute(
            """
            BEGIN; INSERT INTO contacts (workspace_id, id, unique_by, email)
            VALUES (\(workspace.id), gen_random_uuid(), 1, 'p1@example.com')
            """)
        let commit = WorkAfter(milliseconds: 300, other) { try? $0.execute("COMMIT") }
        defer { commit.wait() }
        let results = try harness.upsert(contacts(0..<3), in: workspace)
        #expect(results.map(\.status) == [.created, .updated, .created])
        #expect(harness.engine.count(of: .lostRace) >= 1)
        #expect(harness.engine.count(of: .onConflict) == 1)
        #expect(try rowCount() == 3)
    }

    /// The row that was looked up is another when it is written.
    @Test func anUpdateThatLosesARaceRunsAgain() throws {
        _ = try harness.upsert(contacts(0..<3), in: workspace)
        let other = try harness.database.connect()
        try other.execute(
            "BEGIN; UPDATE contacts SET last_name = 'theirs' WHERE email = 'p1@example.com'")
        let commit = WorkAfter(milliseconds: 300, other) { try? $0.execute("COMMIT") }
        defer { commit.wait() }
        let results = try harness.upsert(contacts(0..<3, name: "ours"), in: workspace)
        #expect(statuses(results) == [.updated])
        #expect(harness.engine.count(of: .lostRace) >= 1)
        #expect(harness.engine.count(of: .onConflict) == 1)
        let row = try harness.connection.query(
            "SELECT name, last_name FROM contacts WHERE email = 'p1@example.com'")
        #expect(row.text(0, 0) == "ours")
        #expect(row.text(0, 1) == "theirs")
    }
}
