// What a program would do without the service: one contact a transaction, by a statement that was
// prepared once. In: a connection of its own, contacts. Out: rows. The thread that made it; blocks.

import Postgres

struct SingleInsert {
    private let connection: Connection
    private let contacts: BenchContacts
    private var ids = BenchIDs()

    init(_ connection: Connection, _ contacts: BenchContacts) throws {
        self.connection = connection
        self.contacts = contacts
        let count = contacts.columns.split(separator: ", ").count
        // The custom fields come last, as text.
        let values = (1...count).map { $0 < count ? "$\($0)" : "$\($0)::text::jsonb" }
        try connection.prepare(
            "upsert",
            """
            INSERT INTO contacts (workspace_id, unique_by, \(contacts.columns))
            VALUES (1, 1, \(values.joined(separator: ", ")))
            \(PsqlScript.conflict(contacts))
            """)
    }

    /// Upserts a contact and waits for its commit.
    mutating func run(_ number: Int) throws {
        let parameters = contacts.parameters(number, id: ids.next())
        let result = try connection.execute(prepared: "upsert", parameters)
        guard result.affectedRowCount == 1 else {
            throw BenchError("an insert wrote \(result.affectedRowCount) rows")
        }
    }

    func close() { connection.close() }
}
