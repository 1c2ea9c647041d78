// The plans that lanes run with. They are made once, often on an empty table, and kept while the
// table grows; each statement must go by an index on all columns of its key, whatever the planner
// believes of the table.

import Contacts
import Postgres
import Testing
import TestSupport

@testable import Ingest

@Suite struct PlanTests {
    /// What the planner may have seen of the table.
    enum Past: String, CaseIterable {
        case nothing = ""
        case anEmptyTable = "VACUUM ANALYZE contacts"
        case aTableThatWasEmptied = """
            INSERT INTO contacts (workspace_id, id, unique_by, email)
            SELECT 1, gen_random_uuid(), 7, 'e' || n FROM generate_series(1, 2000) n;
            ANALYZE contacts; TRUNCATE contacts
            """
        case oneWorkspace = """
            INSERT INTO contacts (workspace_id, id, unique_by, email, phone, external_id)
            SELECT 1, gen_random_uuid(), 7, 'e' || n, 'p' || n, 'x' || n
            FROM generate_series(1, 2000) n; ANALYZE contacts
            """
        case manySmallWorkspaces = """
            INSERT INTO contacts (workspace_id, id, unique_by, email, phone, external_id)
            SELECT n, gen_random_uuid(), 7, 'e' || n, 'p' || n, 'x' || n
            FROM generate_series(1, 2000) n; ANALYZE contacts
            """
    }

    @Test(arguments: Past.allCases)
    func aLookUpProbesTheIndexOfItsIdentifier(past: Past) throws {
        for identifier in Identifier.allCases {
            for isWhole in [false, true] {
                let plan = try prepared(
                    past, ContactStatements.lookUp(identifier, isWhole: isWhole), "1, '{}'")
                expectProbe(plan, identifier)
                guard isWhole else { continue }
                #expect(plan.contains("Scan using list_members_pkey"), "\(plan)")
                #expect(plan.contains("Scan using lists_pkey"), "\(plan)")
            }
            for statement in [ContactStatements.lock, ContactStatements.taken] {
                expectProbe(try prepared(past, statement(identifier), "1, '{}'"), identifier)
            }
        }
    }

    @Test(arguments: Past.allCases)
    func aDryRunProbesTheSameIndexes(past: Past) throws {
        for identifier in Identifier.allCases {
            let plan = try prepared(past, DryRunUpsert.lookUp(identifier), "1, '{}'")
            expectProbe(plan, identifier)
            #expect(plan.contains("Scan using imagined_\(identifier.name)_idx"), "\(plan)")
            #expect(plan.contains("Scan using imagined_id_idx on imagined i"), "\(plan)")
        }
    }

    @Test(arguments: Past.allCases)
    func aLedgerProbesItsImport(past: Past) throws {
        for (statement, values) in [
            (LedgerWriter.fenced, "'{1}', 1, '{a}', '{1}'"), (LedgerWriter.end, "1, 'a', 1, 1"),
        ] {
            let plan = try prepared(past, statement, values)
            #expect(plan.contains("Index Scan using imports_pkey"), "\(plan)")
        }
    }

    private func expectProbe(_ plan: String, _ identifier: Identifier) {
        let column = identifier.name
        let index = identifier == .id ? "contacts_pkey" : "contacts_\(column)_key"
        #expect(plan.contains("Scan using \(index) on contacts"), "\(plan)")
        #expect(
            plan.contains(
                "((workspace_id = $1) AND (\(column) >= k.key) AND (\(column) <= k.key))"),
            "\(plan)")
    }

    @Test(arguments: Past.allCases)
    func anUpdateGoesToThePlaceThatWasSeen(past: Past) throws {
        let plan = try prepared(past, ContactStatements.update, "'{}', 0")
        #expect(plan.contains("Tid Scan on contacts c"), "\(plan)")
        #expect(plan.contains("TID Cond: (ctid = s.place)"), "\(plan)")
    }

    @Test(arguments: Past.allCases)
    func anUpdateOfRowsThatMovedProbesThePrimaryKey(past: Past) throws {
        let vacates = Identifier.settable.map { (ContactStatements.vacate($0), "'{}'") }
        for (statement, values) in [(ContactStatements.updateMoved, "'{}', 0")] + vacates {
            let plan = try prepared(past, statement, values)
            #expect(plan.contains("Tid Scan on contacts c"), "\(plan)")
            #expect(plan.contains("Index Scan using contacts_pkey on contacts"), "\(plan)")
            #expect(
                plan.contains(
                    "((workspace_id = s.workspace_id) AND (id >= s.id) AND (id <= s.id))"),
                "\(plan)")
        }
    }

    private func prepared(_ past: Past, _ statement: String, _ values: String) throws -> String {
        try plan(past) { connection in
            try connection.execute("PREPARE tried AS \(statement)")
            return try connection.query("EXPLAIN EXECUTE tried(\(values))")
        }
    }

    private func plan(
        _ past: Past, _ explain: (Connection) throws -> QueryResult
    ) throws -> String {
        let database = try TestDatabase.create()
        let owner = try database.connect()
        try Schema.migrate(owner)
        for step in past.rawValue.split(separator: ";") { try owner.execute(String(step)) }
        let connection = try database.connect(settings: ContactUpsert.settings)
        try connection.execute(RowArray.createType)
        try connection.execute(DryRunUpsert.imagined)
        let result = try explain(connection)
        return (0..<result.rowCount).compactMap { result.text($0, 0) }.joined(separator: "\n")
    }
}
