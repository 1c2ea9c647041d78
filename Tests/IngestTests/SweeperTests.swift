// What the sweeper removes, and what it leaves.

import Contacts
import Postgres
import Testing
import TestSupport

@testable import Ingest

@Suite struct SweeperTests {
    @Test func expiredEventsGoAsAPrefixAndTheFirstThatIsKeptStopsIt() throws {
        let harness = try EngineHarness(sweepInterval: .milliseconds(50))
        try harness.addEvents(3, occurred: "now() - interval '8 days'")
        try harness.addEvents(1)
        try harness.addEvents(2, occurred: "now() - interval '8 days'")
        #expect(try harness.eventually { try harness.count("events") == 3 })
        WorkerThread.sleep(.milliseconds(300))
        let left = try harness.connection.query(
            "SELECT min(event_offset), count(*), max(removed_through) FROM events, event_offsets")
        #expect(left.int64(0, 0) == 4)
        #expect(left.int64(0, 1) == 3)
        #expect(left.int64(0, 2) == 3)
        #expect(try harness.events(after: .after(2)) == .removed(oldest: 4))
        guard case .events(let events, let then) = try harness.events(after: .oldest) else {
            Issue.record("no events")
            return
        }
        #expect(events.map(\.offset) == [4, 5, 6])
        #expect(events.allSatisfy { $0.record.contact.listIDs == [2, 5] })
        #expect(then == .after(6))
        #expect(try harness.events(after: .after(3)) == .events(events, then: .after(6)))
    }

    @Test func manyExpiredEventsGoInChunks() throws {
        let harness = try EngineHarness(sweepInterval: .milliseconds(50))
        try harness.addEvents(Sweeper.chunk * 2 + 1, occurred: "now() - interval '8 days'")
        #expect(try harness.eventually { try harness.count("events") == 0 })
        let end = Int64(Sweeper.chunk * 2 + 1)
        #expect(try harness.eventually { try harness.removedThrough() == end })
        #expect(try harness.events(after: .after(end)) == .events([], then: .after(end)))
        #expect(try harness.events(after: .after(end - 1)) == .removed(oldest: nil))
        #expect(try harness.events(after: .after(end + 1)) == .beyond(last: end))
        #expect(try harness.events(after: .oldest) == .events([], then: .after(end)))
    }

    @Test func theWorkspacesRetentionIsHeeded() throws {
        let harness = try EngineHarness(sweepInterval: .milliseconds(50))
        try harness.addEvents(2, occurred: "now() - interval '8 days'")
        try WorkspaceSettings.change(
            "default", uniqueBy: nil, eventRetention: .seconds(9 * 86_400), harness.connection)
        try harness.addEvents(2, occurred: "now() - interval '10 days'")
        WorkerThread.sleep(.milliseconds(300))
        let removed = try harness.removedThrough()
        try WorkspaceSettings.change(
            "default", uniqueBy: nil, eventRetention: .seconds(1), harness.connection)
        #expect(try harness.eventually { try harness.count("events") == 0 })
        #expect(removed == 0 || removed == 2, "the first two may have gone before the change")
    }

    @Test func importsThatNobodyGoesOnWithAreForgotten() throws {
        let harness = try EngineHarness(sweepInterval: .milliseconds(50))
        let eight = "now() - interval '8 days'"
        let never = Int64.min + 12345
        try harness.connection.execute(
            """
            INSERT INTO workspaces (name, unique_by, import_retention) VALUES ('long', 1, '9 days');
            INSERT INTO imports (workspace_id, id, options, call, server, state, created_at,
                updated_at)
            SELECT w, id, '', 1, server, state, created, updated FROM (VALUES
                (1, 'old', \(never), 3, \(eight), \(eight)),
                (1, 'old, its server gone', \(never), 1, \(eight), \(eight)),
                (1, 'young', \(never), 3, now(), now()),
                (1, 'gone on with', \(never), 3, \(eight), now()),
                (1, 'progressing', \(never), 1, \(eight), \(eight)),
                (1, 'live', 4711, 1, \(eight), \(eight)),
                (2, 'old', \(never), 3, \(eight), \(eight))
            ) v (w, id, server, state, created, updated);
            INSERT INTO import_progress (workspace_id, import_id, call, lane, decided_through,
                decided, counts, updated_at)
            SELECT workspace_id, id, 1, lane, 0, '', '{}',
                CASE WHEN id = 'progressing' AND lane = 2 THEN now() ELSE created_at END
            FROM imports, generate_series(1, 2) lane;
            INSERT INTO import_failures
            SELECT workspace_id, id, n, 'R', '', '', false, ''
            FROM imports, generate_series(1, 3) n;
            SELECT pg_advisory_lock(4711)
            """)
        let names = """
            SELECT string_agg(workspace_id || ' ' || name, '; ' ORDER BY workspace_id, name)
            FROM (SELECT workspace_id, id AS name FROM imports
                INTERSECT SELECT workspace_id, import_id FROM import_progress
                INTERSECT SELECT workspace_id, import_id FROM import_failures) i
            """
        let left = "1 gone on with; 1 live; 1 progressing; 1 young; 2 old"
        #expect(
            try harness.eventually { try harness.connection.query(names).text(0, 0) == left })
        WorkerThread.sleep(.milliseconds(300))
        #expect(try harness.connection.query(names).text(0, 0) == left)
        #expect(try harness.count("import_progress") == 10)
        #expect(try harness.count("import_failures") == 15)
        try harness.connection.execute("SELECT pg_advisory_unlock(4711)")
        try WorkspaceSettings.change("long", importRetention: .seconds(1), harness.connection)
        #expect(try harness.eventually { try harness.count("imports") == 3 })
    }

    @Test func manyForgottenImportsGoInChunks() throws {
        let harness = try EngineHarness(sweepInterval: .milliseconds(50))
        try harness.connection.execute(
            """
            INSERT INTO imports (workspace_id, id, options, call, server, created_at, updated_at)
            SELECT 1, n::text, '', 1, \(Int64.min + 1), now() - interval '8 days',
                now() - interval '8 days'
            FROM generate_series(0, \(Sweeper.importChunk * 2)) n
            """)
        #expect(try harness.eventually { try harness.count("imports") == 0 })
    }

    @Test func membersOfListsThatAreGoneGoAndOthersStay() throws {
        let harness = try EngineHarness(sweepInterval: .milliseconds(50))
        guard case .created(let kept) = try harness.createList("kept") else {
            Issue.record("no list")
            return
        }
        try harness.connection.execute(
            """
            INSERT INTO list_members (workspace_id, contact_id, list_id)
            SELECT w, gen_random_uuid(), l
            FROM (VALUES (1, 0), (1, \(kept.id)), (1, 7), (1, 99), (2, \(kept.id)), (3, 7)) v (w, l),
                generate_series(1, 100);
            INSERT INTO list_members (workspace_id, contact_id, list_id)
            SELECT 1, gen_random_uuid(), 99 FROM generate_series(1, \(Lists.chunk))
            """)
        #expect(try harness.eventually { try harness.count("list_members") == 100 })
        WorkerThread.sleep(.milliseconds(200))
        let left = try harness.connection.query(
            "SELECT DISTINCT workspace_id, list_id FROM list_members")
        #expect(left.rowCount == 1)
        #expect(left.int32(0, 0) == 1)
        #expect(left.int64(0, 1) == kept.id)
    }

    @Test func aSecondServerStandsBack() throws {
        let harness = try EngineHarness(sweepInterval: .milliseconds(50))
        let other = try harness.database.connect()
        try other.execute("SELECT pg_advisory_lock(x'7377656570696E67'::bigint)")
        WorkerThread.sleep(.milliseconds(100))
        try harness.addEvents(1, occurred: "now() - interval '8 days'")
        WorkerThread.sleep(.milliseconds(300))
        #expect(try harness.count("events") == 1)
        other.close()
        #expect(try harness.eventually { try harness.count("events") == 0 })
    }
}

extension EngineHarness {
    fileprivate func removedThrough() throws -> Int64 {
        try connection.query("SELECT removed_through FROM event_offsets").int64(0, 0) ?? -1
    }
}
