// The plans that lanes run with. They are made once, often on an empty table, and kept while the
// table grows; each statement must go by an index on all columns of its key.

import Postgres
import Testing
import TestSupport

@testable import Ingest

@Suite struct PlanTests {
    @Test(arguments: ["look_up", "lock"], ["email", "phone", "external_id"])
    func aLookUpProbesTheIndexOfItsIdentifierOnAnEmptyTable(kind: String, column: String) throws {
        let plan = try plan("\(kind)_\(column)(1, '{a,b}')")
        #expect(plan.contains("Index Scan using contacts_\(column)_key"))
        #expect(plan.contains("Index Cond: ((workspace_id = $1) AND (\(column) = k.key))"))
    }

    @Test func anUpdateProbesThePrimaryKeyOnAnEmptyTable() throws {
        let plan = try plan("update")
        #expect(plan.contains("Index Scan using contacts_pkey"))
        #expect(plan.contains("Index Cond: ((workspace_id = s.workspace_id) AND (id = s.id))"))
    }

    private func plan(_ statement: String) throws -> String {
        let database = try TestDatabase.create()
        try Schema.migrate(try database.connect())
        let connection = try database.connect(settings: ContactUpsert.settings)
        let statements = try ContactUpsert(connection)
        let result = try withExtendedLifetime(statements) {
            try connection.query("EXPLAIN EXECUTE \(statement)")
        }
        return (0..<result.rowCount).compactMap { result.text($0, 0) }.joined(separator: "\n")
    }
}
