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
    /// Row security is set up as well, where the user may.
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
        guard current < version else {
            _ = try RowSecurity.setUp(connection)
            return nil
        }
        for next in (current + 1)...version {
            try connection.execute(
                """
                BEGIN;
                \(migrations[next - 1]);
                INSERT INTO contacts_schema (version) VALUES (\(next));
                COMMIT
                """)
        }
        _ = try RowSecurity.setUp(connection)
        return (current + 1)...version
    }

    /// Whether row security keeps workspaces apart; `false` when the user may not make the role that
    /// it takes.
    package static func isSecured(_ connection: Connection) throws(PostgresError) -> Bool {
        try RowSecurity.setUp(connection)
    }

    /// The same, of a database that somebody else prepares.
    package static func wasSecured(_ connection: Connection) throws(PostgresError) -> Bool {
        try RowSecurity.isReady(connection)
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
        """,
        // 2: lists, events, imports.
        //
        // A list's id comes from a counter in its workspace and is never given again, so that a
        // member of a list that is gone can never show up in another. Members are not bound by a
        // foreign key: the lanes lock the list's row instead, once a transaction.
        //
        // Offsets of events come from a counter whose row stays locked until the COMMIT: an event
        // is seen only together with all before it. An event holds the contact as it stood then.
        //
        // An import's progress has a row for each call and lane, so that lanes never wait for each
        // other. All contacts up to decided_through are decided, and those whose bit is set in
        // decided: bit i (the lowest of a byte first) is contact decided_through + 1 + i.
        // import_failures has the contacts that failed for what stood in the database then; whoever
        // sends one again gets the same answer. What breaks a rule of its own is not kept.
        // call tells the calls of an import apart; one that is not the last writes no more.
        """
        ALTER TABLE workspaces
            ADD COLUMN event_retention interval NOT NULL DEFAULT '7 days'
                CHECK (event_retention > interval '0'),
            ADD COLUMN last_list_id bigint NOT NULL DEFAULT 0;
        CREATE TABLE lists (
            workspace_id integer NOT NULL,
            id bigint NOT NULL,
            name text COLLATE "C" NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (workspace_id, id),
            UNIQUE (workspace_id, name)
        );
        CREATE TABLE list_members (
            workspace_id integer NOT NULL,
            contact_id uuid NOT NULL,
            list_id bigint NOT NULL,
            PRIMARY KEY (workspace_id, contact_id, list_id)
        );
        CREATE INDEX list_members_by_list ON list_members (workspace_id, list_id, contact_id);
        CREATE TABLE event_offsets (
            workspace_id integer PRIMARY KEY,
            last_offset bigint NOT NULL,
            removed_through bigint NOT NULL DEFAULT 0
        );
        CREATE TABLE events (
            workspace_id integer NOT NULL,
            event_offset bigint NOT NULL,
            type smallint NOT NULL,
            import_id text COLLATE "C" NOT NULL,
            contact_id uuid NOT NULL,
            email text COLLATE "C",
            phone text COLLATE "C",
            external_id text COLLATE "C",
            name text,
            first_name text,
            last_name text,
            fields jsonb NOT NULL,
            field_kinds jsonb,
            list_ids bigint[] NOT NULL,
            created_at timestamptz NOT NULL,
            occurred_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (workspace_id, event_offset)
        );
        ALTER TABLE events ALTER COLUMN fields SET STORAGE EXTERNAL;
        COMMENT ON COLUMN events.type IS '1 created, 2 updated';
        CREATE TABLE imports (
            workspace_id integer NOT NULL,
            id text COLLATE "C" NOT NULL,
            options bytea NOT NULL,
            call bigint NOT NULL,
            server bigint NOT NULL,
            state smallint NOT NULL DEFAULT 1,
            created_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (workspace_id, id)
        );
        CREATE INDEX imports_by_time ON imports (workspace_id, created_at, id);
        COMMENT ON COLUMN imports.options IS 'a contacts.v1.UpsertOptions message';
        COMMENT ON COLUMN imports.server IS
            'the advisory lock that the server of the last call holds while it lives';
        COMMENT ON COLUMN imports.state IS '1 running, 2 interrupted, 3 finished';
        CREATE TABLE import_progress (
            workspace_id integer NOT NULL,
            import_id text COLLATE "C" NOT NULL,
            call bigint NOT NULL,
            lane integer NOT NULL,
            decided_through bigint NOT NULL,
            decided bytea NOT NULL,
            counts bigint[] NOT NULL,
            updated_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (workspace_id, import_id, call, lane)
        );
        ALTER TABLE import_progress ALTER COLUMN decided SET STORAGE EXTERNAL;
        CREATE TABLE import_failures (
            workspace_id integer NOT NULL,
            import_id text COLLATE "C" NOT NULL,
            sequence bigint NOT NULL,
            reason text NOT NULL,
            field text NOT NULL,
            message text NOT NULL,
            retryable boolean NOT NULL,
            conflicting_id text NOT NULL,
            PRIMARY KEY (workspace_id, import_id, sequence)
        )
        """,
        // 3: imports are forgotten.
        """
        ALTER TABLE workspaces
            ADD COLUMN import_retention interval NOT NULL DEFAULT '7 days'
                CHECK (import_retention > interval '0')
        """,
        // 4: keys. Of a key's text only the hash of its secret half is stored.
        """
        CREATE TABLE access_keys (
            workspace_id integer NOT NULL,
            id text COLLATE "C" NOT NULL,
            name text COLLATE "C" NOT NULL CHECK (octet_length(name) BETWEEN 1 AND 128),
            hash bytea,
            certificate_name text COLLATE "C",
            rights smallint NOT NULL CHECK (rights BETWEEN 1 AND 7),
            contacts_per_second integer CHECK (contacts_per_second > 0),
            streams integer CHECK (streams > 0),
            created_at timestamptz NOT NULL DEFAULT now(),
            expires_at timestamptz,
            revoked_at timestamptz,
            change bigint NOT NULL,
            PRIMARY KEY (workspace_id, id),
            CHECK ((hash IS NULL) <> (certificate_name IS NULL))
        );
        CREATE UNIQUE INDEX access_keys_name_key ON access_keys (workspace_id, name)
            WHERE revoked_at IS NULL;
        CREATE UNIQUE INDEX access_keys_certificate_key
            ON access_keys (workspace_id, certificate_name)
            WHERE revoked_at IS NULL;
        COMMENT ON COLUMN access_keys.hash IS 'SHA-256 of the secret half';
        COMMENT ON COLUMN access_keys.change IS
            'its last change, counted over all keys; servers tell in their application_name which '
            'they have read';
        COMMENT ON COLUMN access_keys.rights IS '1 write, 2 read, 4 admin, added up';
        CREATE FUNCTION access_keys_changed() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            NOTIFY contacts_keys;
            RETURN NULL;
        END
        $$;
        CREATE TRIGGER access_keys_changed AFTER INSERT OR UPDATE OR DELETE ON access_keys
            FOR EACH STATEMENT EXECUTE FUNCTION access_keys_changed()
        """,
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
