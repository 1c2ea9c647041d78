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
