// The second line between workspaces: should a statement forget to ask for its workspace, PostgreSQL
// shows it no row of another, and lets it write none.
// https://www.postgresql.org/docs/15/ddl-rowsecurity.html
//
// In: a connection of the database's user, and the workspaces that are worked for. Out: the same
// connection in a role that owns nothing, to which policies show those workspaces alone. The
// connection's thread.
//
// COPY into a table with row security is not supported, so it runs as the user; it can neither see a
// row nor change one. What looks after the database as a whole, such as migrations and the sweeper,
// has connections of its own and stays the user.

internal import Postgres

/// Row security of one connection.
final class RowSecurity {
    /// Shared by all databases of a cluster; it cannot log in.
    static let role = "contacts_service"
    private static let setting = "contacts.workspaces"

    /// All tables with a `workspace_id` that callers' statements touch. Keys are not among them.
    private static let tables = [
        "contacts", "lists", "list_members", "event_offsets", "events", "imports",
        "import_progress", "import_failures",
    ]

    private let connection: Connection
    /// Whether the database has the role, and the user may take it on.
    let isInForce: Bool
    private var workspaces: Set<Int32>?

    /// Takes the role on, if there is one.
    init(_ connection: Connection) throws(PostgresError) {
        self.connection = connection
        isInForce = try Self.isReady(connection)
        if isInForce { try connection.execute("SET ROLE \(Self.role)") }
    }

    /// Lets the next statements see some workspaces and no other. Outside of a transaction, whose
    /// end could take it back.
    func enter(_ workspaces: Set<Int32>) throws(PostgresError) {
        guard isInForce, workspaces != self.workspaces else { return }
        self.workspaces = nil
        var parameters = Parameters()
        parameters.append(
            text: "{" + workspaces.sorted().map(String.init).joined(separator: ",") + "}")
        _ = try connection.query(
            "SELECT set_config('\(Self.setting)', $1, false)", parameters)
        self.workspaces = workspaces
    }

    /// A COPY that runs as the user.
    func copy(_ sql: String) -> String {
        isInForce ? "RESET ROLE; \(sql); SET ROLE \(Self.role)" : sql
    }

    /// Runs statements as the user, outside of a transaction.
    func asUser<Value>(_ body: () throws(PostgresError) -> Value) throws(PostgresError) -> Value {
        guard isInForce else { return try body() }
        try connection.execute("RESET ROLE")
        let value = try body()
        try connection.execute("SET ROLE \(Self.role)")
        return value
    }

    // MARK: Setting it up

    /// The privilege to take a role on. From PostgreSQL 16 on it is apart from membership, which the user
    /// who made a role has without it (https://www.postgresql.org/docs/16/functions-info.html).
    private static let privilege =
        "CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER' ELSE 'SET' END"

    /// Whether the role is the user's to take on, and a table has its policy: of callers' tables the last
    /// one, since a database that was prepared before `policyOfWorkspaces` keeps what it has.
    static func isReady(
        _ connection: Connection, policyOf table: String = tables[tables.count - 1]
    ) throws(PostgresError) -> Bool {
        let found = try connection.query(
            """
            SELECT EXISTS (
                SELECT FROM pg_roles r JOIN pg_policy p ON r.oid = ANY (p.polroles)
                WHERE r.rolname = '\(role)' AND pg_has_role(r.oid, \(privilege))
                    AND p.polrelid = to_regclass('\(table)'))
            """)
        return found.bool(0, 0) ?? false
    }

    /// Makes the role and what it may do, if the user may make roles or finds it made. Others than
    /// the role see the tables as before.
    ///
    /// - Returns: Whether row security is in force.
    static func setUp(_ connection: Connection) throws(PostgresError) -> Bool {
        if try isReady(connection, policyOf: "workspaces") { return true }
        do throws(PostgresError) {
            try connection.execute(createRole)
            try connection.execute(
                "BEGIN; \(grants); \(tables.map(policies).joined(separator: "; ")); \(policyOfWorkspaces); COMMIT"
            )
        } catch {
            try? connection.execute("ROLLBACK")
            // 42501: the user may not make roles. 42704: nor has anybody else made this one.
            guard error.sqlstate == "42501" || error.sqlstate == "42704" else { throw error }
        }
        return try isReady(connection)
    }

    /// Another database of the cluster may make it at the same moment.
    private static let createRole = """
        DO $$ BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '\(role)') THEN
                CREATE ROLE \(role) NOLOGIN;
            END IF;
            IF NOT pg_has_role('\(role)', \(privilege)) THEN
                EXECUTE format('GRANT \(role) TO %I', current_user);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END $$
        """

    /// Triggers that somebody adds to the tables run in the role, so what the user makes later is
    /// the role's to use.
    private static let grants = """
        DO $$ BEGIN
            EXECUTE format('GRANT USAGE ON SCHEMA %I TO \(role)', current_schema());
            EXECUTE format(
                'GRANT CONNECT, TEMPORARY ON DATABASE %I TO \(role)', current_database());
            EXECUTE format(
                'ALTER DEFAULT PRIVILEGES IN SCHEMA %I '
                'GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO \(role)', current_schema());
            EXECUTE format(
                'ALTER DEFAULT PRIVILEGES IN SCHEMA %I '
                'GRANT USAGE, SELECT ON SEQUENCES TO \(role)', current_schema());
        END $$;
        REVOKE UPDATE ON workspaces FROM \(role);
        GRANT SELECT, UPDATE (last_list_id) ON workspaces TO \(role);
        GRANT SELECT, INSERT, UPDATE, DELETE ON \(tables.joined(separator: ", ")) TO \(role)
        """

    /// All are seen, since they are found by their names, and only one's own is changed. The last of
    /// the policies that are made: where it is, the others are.
    private static let policyOfWorkspaces = """
        ALTER TABLE workspaces ENABLE ROW LEVEL SECURITY;
        DROP POLICY IF EXISTS everyone ON workspaces;
        DROP POLICY IF EXISTS own_workspace ON workspaces;
        CREATE POLICY everyone ON workspaces USING (true);
        CREATE POLICY own_workspace ON workspaces AS RESTRICTIVE FOR UPDATE TO \(role) USING (
            id = ANY ((SELECT nullif(current_setting('\(setting)', true), '')::int4[])::int4[]))
        """

    /// The sum keeps the planner from taking the condition for one of the index's, which would cost
    /// each look-up more than all else that is done here.
    private static func policies(of table: String) -> String {
        """
        ALTER TABLE \(table) ENABLE ROW LEVEL SECURITY;
        DROP POLICY IF EXISTS everyone ON \(table);
        DROP POLICY IF EXISTS own_workspace ON \(table);
        CREATE POLICY everyone ON \(table) USING (true);
        CREATE POLICY own_workspace ON \(table) AS RESTRICTIVE TO \(role) USING (
            workspace_id + 0 = ANY (
                (SELECT nullif(current_setting('\(setting)', true), '')::int4[])::int4[]))
        """
    }
}
