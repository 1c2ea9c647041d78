// The tables, as migrations in the order of their versions.
//
// In: a connection. Out: the schema at the newest version. Any thread. Every unique key begins with
// workspace_id, so that the tables can be distributed by it. A migration that was released is never
// edited; a change is a new one.

package import Postgres

package enum Schema {
    /// The version that this build works with.
    package static var version: Int { migrations.count }

    /// Applies what is missing. Several servers may do so at once: an advisory lock makes them
    /// queue (PostgreSQL, 13.3.5).
    ///
    /// - Throws: `SchemaError.tooNew` when the database was migrated by a later build.
    /// - Returns: The versions applied now.
    @discardableResult
    package static func migrate(_ connection: Connection) throws -> ClosedRange<Int>? {
        try connection.execute("SELECT pg_advisory_lock(\(advisoryLock))")
        defer { try? connection.execute("SELECT pg_advisory_unlock(\(advisoryLock))") }
        try connection.execute(
            """
            CREATE TABLE IF NOT EXISTS contacts_schema (
                version integer PRIMARY KEY,
                applied_at timestamptz NOT NULL DEFAULT now()
            )
            """)
        let result = try connection.query(
            "SELECT coalesce(max(version), 0)::int4 FROM contacts_schema")
        let current = Int(result.int32(0, 0) ?? 0)
        guard current <= version else {
            throw SchemaError.tooNew(database: current, build: version)
        }
        guard current < version else { return nil }
        for next in (current + 1)...version {
            try connection.execute(
                """
                BEGIN;
                \(migrations[next - 1]);
                INSERT INTO contacts_schema (version) VALUES (\(next));
                COMMIT
                """)
        }
        return (current + 1)...version
    }

    /// "contacts" in ASCII; any number will do that no other program locks.
    private static let advisoryLock: Int64 = 0x636F_6E74_6163_7473

    private static let migrations = [
        // 1: workspaces and contacts.
        //
        // unique_by repeats the workspace's setting in each row, so that a partial index enforces
        // it and costs nothing where it is not set. fillfactor leaves room for HOT updates.
        // Custom fields are not compressed: their size on disk tells their size in memory.
        """
        CREATE TABLE workspaces (
            id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            name text COLLATE "C" NOT NULL UNIQUE
                CHECK (octet_length(name) BETWEEN 1 AND 128),
            unique_by smallint NOT NULL CHECK (unique_by BETWEEN 1 AND 7),
            created_at timestamptz NOT NULL DEFAULT now()
        );
        COMMENT ON COLUMN workspaces.unique_by IS
            'which identifiers are unique: 1 email, 2 phone, 4 external_id, added up';
        CREATE TABLE contacts (
            workspace_id integer NOT NULL,
            id uuid NOT NULL,
            unique_by smallint NOT NULL,
            email text COLLATE "C",
            phone text COLLATE "C",
            external_id text COLLATE "C",
            name text,
            first_name text,
            last_name text,
            fields jsonb NOT NULL DEFAULT '{}',
            field_kinds jsonb,
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (workspace_id, id)
        ) WITH (fillfactor = 90);
        ALTER TABLE contacts ALTER COLUMN fields SET STORAGE EXTERNAL;
        CREATE UNIQUE INDEX contacts_email_key ON contacts (workspace_id, email)
            WHERE unique_by & 1 <> 0 AND email IS NOT NULL;
        CREATE UNIQUE INDEX contacts_phone_key ON contacts (workspace_id, phone)
            WHERE unique_by & 2 <> 0 AND phone IS NOT NULL;
        CREATE UNIQUE INDEX contacts_external_id_key ON contacts (workspace_id, external_id)
            WHERE unique_by & 4 <> 0 AND external_id IS NOT NULL;
        COMMENT ON COLUMN contacts.field_kinds IS
            'which custom fields are timestamps; the others show their kind in fields';
        INSERT INTO workspaces (name, unique_by) VALUES ('default', 1)
        """
    ]
}

/// Why a schema cannot be used.
package enum SchemaError: Error, CustomStringConvertible {
    /// A later build migrated the database.
    case tooNew(database: Int, build: Int)

    package var description: String {
        switch self {
        case .tooNew(let database, let build):
            """
            the database has schema version \(database) and this build knows versions up to \
            \(build); run the build that migrated it, or a later one
            """
        }
    }
}
