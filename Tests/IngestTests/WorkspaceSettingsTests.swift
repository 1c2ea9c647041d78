// Changing a workspace: all of it or nothing.

import Postgres
import Testing
import TestSupport

@testable import Ingest

@Suite struct WorkspaceSettingsTests {
    private func prepared() throws -> (TestDatabase, Connection) {
        let database = try TestDatabase.create()
        let connection = try database.connect()
        try Schema.migrate(connection)
        try connection.execute(
            """
            INSERT INTO contacts (workspace_id, id, unique_by, email, phone, external_id)
            SELECT 1, gen_random_uuid(), 1, 'e' || n, 'p' || n / 2, 'x' || n
            FROM generate_series(1, 100) n
            """)
        return (database, connection)
    }

    private func uniqueBy(_ connection: Connection) throws -> [Int16] {
        let found = try connection.query(
            "SELECT unique_by FROM workspaces UNION ALL (SELECT DISTINCT unique_by FROM contacts)")
        return (0..<found.rowCount).compactMap { found.int16($0, 0) }
    }

    @Test func rowsFollowTheWorkspace() throws {
        let (database, connection) = try prepared()
        defer { withExtendedLifetime(database) {} }
        for identifiers: UniqueIdentifiers in [[.email, .externalID], [.externalID], [.email]] {
            try WorkspaceSettings.change(
                "default", uniqueBy: identifiers, eventRetention: nil, connection)
            #expect(try uniqueBy(connection) == [identifiers.rawValue, identifiers.rawValue])
        }
    }

    @Test func duplicatesRollAllOfItBack() throws {
        let (database, connection) = try prepared()
        defer { withExtendedLifetime(database) {} }
        #expect(throws: SettingsError.notUnique(identifier: "phone", values: 49, contacts: 2)) {
            try WorkspaceSettings.change(
                "default", uniqueBy: [.externalID, .phone], eventRetention: .seconds(60),
                connection)
        }
        #expect(try uniqueBy(connection) == [1, 1])
        #expect(try WorkspaceSettings.all(connection).map(\.eventRetention) == [.seconds(604_800)])
        #expect(!connection.isInTransaction)
    }

    @Test func whatIsMissingIsSaid() throws {
        let (database, connection) = try prepared()
        defer { withExtendedLifetime(database) {} }
        #expect(throws: SettingsError.unknownWorkspace) {
            try WorkspaceSettings.change(
                "nobody", uniqueBy: .email, eventRetention: nil, connection)
        }
        #expect(throws: SettingsError.nothingUnique) {
            try WorkspaceSettings.change("default", uniqueBy: [], eventRetention: nil, connection)
        }
    }

    @Test func listsOfIdentifiersAreReadAndWritten() {
        for list in [
            "email", "phone", "external_id", "email,phone,external_id", "phone,external_id",
        ] {
            #expect(UniqueIdentifiers(list: list)?.list == list)
        }
        #expect(UniqueIdentifiers(list: "external_id,email")?.list == "email,external_id")
    }
}
