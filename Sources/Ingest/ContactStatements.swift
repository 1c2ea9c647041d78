// What lanes ask of the table `contacts`. In: nothing. Out: SQL. Any thread.
//
// Statements are prepared once, often on an empty table, and their plans are kept while it grows,
// so each must leave the planner one way only (PlanTests).

internal import Contacts

enum ContactStatements {
    /// One probe of the identifier's index for each key, in the order of the keys.
    ///
    /// The planner must have no other choice. On a table that it believes to be empty or full of
    /// small workspaces, the primary key would do as well: it then reads all of a workspace for each
    /// key. So the key is a range of one value and the order is asked for, which only the
    /// identifier's index has without a sort (and sorts are switched off); LIMIT keeps the join from
    /// being turned round.
    static func lookUp(_ identifier: Identifier, isWhole: Bool) -> String {
        let limit = RowLookUp.fieldsByteLimit
        return """
            SELECT k.ord::int4, c.*\(isWhole ? ", \(lists(of: "c.id"))" : "")
            FROM unnest($2::\(identifier.type)[]) WITH ORDINALITY AS k (key, ord)
            CROSS JOIN LATERAL (
                SELECT id, xmin, ctid, email, phone, external_id, name, first_name, last_name,
                    CASE WHEN pg_column_size(fields) <= \(limit) THEN fields END,
                    CASE WHEN pg_column_size(fields) <= \(limit) THEN field_kinds END
                    \(isWhole ? ", created_at" : "")
                FROM contacts WHERE \(probe(identifier))
                ORDER BY \(identifier.name) LIMIT 1
            ) c
            """
    }

    /// Locks what `lookUp` would find. A statement of its own: one that waits for a lock goes on
    /// with the newest version of the row, but sees everything else as it stood when it began.
    static func lock(_ identifier: Identifier) -> String { count(identifier, "FOR UPDATE") }

    /// How many contacts have one of the identifiers.
    static func taken(_ identifier: Identifier) -> String { count(identifier, "") }

    private static func count(_ identifier: Identifier, _ lock: String) -> String {
        """
        SELECT count(*)
        FROM unnest($2::\(identifier.type)[]) AS k (key)
        CROSS JOIN LATERAL (
            SELECT id FROM contacts WHERE \(probe(identifier))
            ORDER BY \(identifier.name) LIMIT 1 \(lock)
        ) c
        """
    }

    /// The condition that one index entry meets.
    static func probe(_ identifier: Identifier) -> String {
        let column = identifier.name
        let unique = identifier == .id ? "" : "AND unique_by & \(1 << identifier.rawValue) <> 0"
        return "workspace_id = $1 AND \(column) >= k.key AND \(column) <= k.key \(unique)"
    }

    /// The lists of a contact as a row has them, by one probe of the primary key.
    static func lists(of id: String) -> String {
        """
        (SELECT string_agg(int8send(m.list_id), ''::bytea) FROM (
            SELECT list_id FROM list_members
            WHERE workspace_id = $1 AND contact_id >= \(id) AND contact_id <= \(id)
            ORDER BY contact_id, list_id
        ) m WHERE EXISTS (SELECT FROM lists l WHERE l.workspace_id = $1 AND l.id = m.list_id))
        """
    }

    /// Contacts that give an identifier up lose it first, since a unique index is checked row by
    /// row and another contact of the transaction may take it.
    static func vacate(_ identifier: Identifier) -> String {
        """
        UPDATE contacts c SET \(identifier.name) = NULL
        FROM \(rows) \(located)
        WHERE c.ctid = l.place AND c.xmin IN (s.version, pg_current_xact_id()::xid)
            AND c.\(identifier.name) IS DISTINCT FROM s.\(identifier.name)
        """
    }

    /// Rows that stand where and as they were looked up: fewer than $2 is an error. A place and a
    /// version name one row; asked for the key as well, the planner would go by that.
    static let update = """
        WITH written AS (
            UPDATE contacts c \(values) FROM \(rows)
            WHERE c.ctid = s.place AND c.xmin = s.version
            RETURNING 1
        ) \(all(of: "written"))
        """

    /// The same for rows that `vacate` may have moved.
    static let updateMoved = """
        WITH written AS (
            UPDATE contacts c \(values) FROM \(rows) \(located)
            WHERE c.ctid = l.place AND c.xmin IN (s.version, pg_current_xact_id()::xid)
            RETURNING 1
        ) \(all(of: "written"))
        """

    /// New contacts. A unique index refuses one that stands.
    static let insert = "INSERT INTO contacts (\(columns)) SELECT \(columns) FROM \(rows)"

    /// The same where other writers are known to be about: waits for them without failing, and
    /// raises its error at the end.
    static let insertContended = """
        WITH written AS (
            \(insert) ON CONFLICT DO NOTHING RETURNING 1
        ) \(all(of: "written"))
        """

    static let columns = """
        workspace_id, id, unique_by, email, phone, external_id,
        name, first_name, last_name, fields, field_kinds
        """

    /// A statement that is sent together with the COMMIT must fail when it does not find what it
    /// must: this divides by zero unless there are $2 rows.
    static func all(of name: String) -> String {
        "SELECT 1 / (count(*) = $2::int8)::int4 FROM \(name)"
    }

    private static let rows = "unnest($1::pg_temp.contact_row[]) s"

    /// Where a row stands now, by one probe of the primary key.
    private static let located = """
        CROSS JOIN LATERAL (
            SELECT ctid AS place FROM contacts
            WHERE workspace_id = s.workspace_id AND id >= s.id AND id <= s.id
            ORDER BY workspace_id, id LIMIT 1
        ) l
        """

    private static let values = """
        SET email = s.email, phone = s.phone, external_id = s.external_id,
            name = s.name, first_name = s.first_name, last_name = s.last_name,
            fields = s.fields, field_kinds = s.field_kinds, updated_at = now()
        """
}
