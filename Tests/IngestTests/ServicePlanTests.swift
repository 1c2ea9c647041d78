// The plans of look-ups, pages and sweeps: by an index on all columns that bound them, whatever the
// planner has last seen of the tables. A page must never read a whole workspace.

import Contacts
import Postgres
import Testing
import TestSupport

@testable import Ingest

@Suite struct ServicePlanTests {
    /// What the planner may have seen of the tables.
    enum Past: String, CaseIterable {
        case nothing = ""
        case emptyTables = "VACUUM ANALYZE"
        case tablesThatWereEmptied = """
            INSERT INTO list_members SELECT 1, gen_random_uuid(), 1 FROM generate_series(1, 3000);
            INSERT INTO lists (workspace_id, id, name) SELECT 1, n, n::text
            FROM generate_series(1, 3000) n;
            INSERT INTO contacts (workspace_id, id, unique_by) SELECT 1, gen_random_uuid(), 1
            FROM generate_series(1, 3000);
            ANALYZE; TRUNCATE list_members, lists, contacts
            """
        case manySmallWorkspaces = """
            INSERT INTO list_members SELECT n, gen_random_uuid(), 1 FROM generate_series(1, 3000) n;
            INSERT INTO lists (workspace_id, id, name) SELECT n, 1, 'a'
            FROM generate_series(1, 3000) n;
            INSERT INTO contacts (workspace_id, id, unique_by, email)
            SELECT n, gen_random_uuid(), 1, 'a' FROM generate_series(1, 3000) n;
            INSERT INTO events (workspace_id, event_offset, type, import_id, contact_id, fields,
                list_ids, created_at)
            SELECT n, 1, 1, '', gen_random_uuid(), '{}', '{}', now()
            FROM generate_series(1, 3000) n; ANALYZE
            """
        case oneWorkspaceOfManyLists = """
            INSERT INTO list_members SELECT 1, gen_random_uuid(), n
            FROM generate_series(1, 3000) n;
            INSERT INTO lists (workspace_id, id, name) SELECT 1, n, n::text
            FROM generate_series(1, 3000) n;
            INSERT INTO contacts (workspace_id, id, unique_by, email)
            SELECT 1, gen_random_uuid(), 1, n::text FROM generate_series(1, 3000) n; ANALYZE
            """
    }

    /// After the past, unseen by the planner: one workspace that must not be read as a whole.
    private static let present = """
        INSERT INTO list_members SELECT 99999, gen_random_uuid(), l
        FROM generate_series(1, 10) l, generate_series(1, 1500);
        INSERT INTO lists (workspace_id, id, name) SELECT 99999, n, n::text
        FROM generate_series(1, 5000) n;
        INSERT INTO contacts (workspace_id, id, unique_by, email)
        SELECT 99999, contact_id, 1, contact_id::text FROM list_members WHERE workspace_id = 99999;
        INSERT INTO events (workspace_id, event_offset, type, import_id, contact_id, fields,
            list_ids, created_at)
        SELECT 99999, n, 1, '', gen_random_uuid(), '{}', '{}', now() FROM generate_series(1, 5000) n;
        INSERT INTO workspaces (id, name, unique_by) OVERRIDING SYSTEM VALUE VALUES (99999, 'p', 1);
        INSERT INTO imports (workspace_id, id, options, call, server, created_at, updated_at)
        SELECT 99999, n::text, '', 1, 1, now() - n * interval '1 minute', now()
        FROM generate_series(1, 5000) n;
        UPDATE imports SET created_at = created_at - interval '8 days',
            updated_at = updated_at - interval '8 days' WHERE workspace_id = 99999 AND call = 1
            AND id::int <= 900
        """

    private static let workspace = Workspace(id: 99999, uniqueBy: .email)
    private static let zero = "'00000000-0000-0000-0000-000000000000'::uuid"
    private static let most = "'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid"
    private static let some = "(SELECT array_agg(id) FROM (SELECT id FROM contacts LIMIT 10) c)"

    /// Statements, their parameters as SQL, the indexes they go by, and the rows at most that any
    /// node of theirs may see.
    private static let statements: [(String, [String], [String], Int)] = [
        (ContactExport.pageQuery, ["99999", zero, most], ["contacts_pkey"], 1000),
        (ContactExport.lastQuery, ["99999"], ["contacts_pkey"], 1),
        (
            ContactExport.memberPageQuery, ["99999", zero, most, "3::bigint"],
            ["list_members_by_list", "contacts_pkey"], 1000
        ),
        (ContactExport.lastMemberQuery, ["99999", "3::bigint"], ["list_members_by_list"], 1),
        (ContactLists.query, ["99999", some, "100"], ["list_members_pkey", "lists_pkey"], 10),
        (ContactLookup.fetchQuery, ["99999", some], ["contacts_pkey"], 10),
        (ContactLookup.identifyQuery("id", workspace), ["99999", some], ["contacts_pkey"], 10),
        (
            ContactLookup.identifyQuery("email", workspace), ["99999", "\(some)::text[]"],
            ["contacts_email_key"], 10
        ),
        (EventPages.pageQuery, ["99999", "100::bigint"], ["events_pkey"], 500),
        (Sweeper.oldestQuery, ["99999"], ["events_pkey"], 1),
        (Sweeper.removeQuery, ["99999", "7::bigint"], ["events_pkey"], 7),
        (Lists.removeMembersQuery, ["99999", "3::bigint", "20"], ["list_members_by_list"], 20),
        (Sweeper.forgetQuery, ["99999"], ["imports_by_time", "imports_pkey"], 1000),
        // One probe for each list that has members: at most 3,000 of the past, ten now.
        (Sweeper.goneQuery, [], ["list_members_by_list", "lists_pkey"], 3010),
    ]

    @Test(arguments: Past.allCases)
    func everyPageGoesByItsIndex(past: Past) throws {
        let database = try TestDatabase.create()
        let owner = try database.connect()
        try Schema.migrate(owner)
        for step in past.rawValue.split(separator: ";") { try owner.execute(String(step)) }
        try owner.execute(Self.present)
        let connection = try database.connect(settings: Reader.settings)
        for (statement, values, indexes, most) in Self.statements {
            try connection.execute("BEGIN")
            let plan = try explain(statement, values, connection)
            try connection.execute("ROLLBACK")
            for index in indexes {
                #expect(plan.contains(index), "\(past): \(statement)\n\(plan)")
            }
            #expect(!plan.contains("Seq Scan on"), "\(past): \(plan)")
            #expect(Self.mostRemoved(plan) <= most, "\(past): \(plan)")
            #expect(Self.mostRows(plan) <= most, "\(past): \(plan)")
        }
    }

    private func explain(
        _ statement: String, _ values: [String], _ connection: Connection
    ) throws -> String {
        var text = statement
        for (number, value) in values.enumerated().reversed() {
            text = text.replacing("$\(number + 1)", with: value)
        }
        let result = try connection.query(
            "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) \(text)")
        return (0..<result.rowCount).compactMap { result.text($0, 0) }.joined(separator: "\n")
    }

    /// What was read for nothing.
    private static func mostRemoved(_ plan: String) -> Int {
        plan.matches(of: /Rows Removed by \w+: (\d+)/).compactMap { Int($0.1) }.max() ?? 0
    }

    /// The rows times the loops of the index scan that saw the most.
    private static func mostRows(_ plan: String) -> Int {
        plan.split(separator: "\n").compactMap { line -> Int? in
            guard line.contains("Index"), let match = line.firstMatch(of: /rows=(\d+) loops=(\d+)/),
                let rows = Int(match.1), let loops = Int(match.2)
            else { return nil }
            return rows * loops
        }.max() ?? 0
    }
}
