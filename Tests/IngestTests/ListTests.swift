// Lists, and what tells of them: look-ups and the export.

import Contacts
import NIOConcurrencyHelpers
import Postgres
import Testing
import TestSupport

@testable import Ingest

@Suite struct ListTests {
    @Test func idsGrowAndANameIsTakenOnce() throws {
        let harness = try EngineHarness()
        guard case .created(let first) = try harness.createList("a"),
            case .created(let second) = try harness.createList("b")
        else {
            Issue.record("no list")
            return
        }
        #expect(first.id == 1)
        #expect(try harness.createList("a") == .nameTaken)
        #expect(second.id == 2, "a refused list takes no id")
        let workspace = try harness.workspace(.email)
        let all = try harness.answer { harness.engine.lists(in: workspace, completion: $0) }
        #expect(all == [first, second])
    }

    @Test func theLimitHolds() throws {
        let harness = try EngineHarness()
        try harness.connection.execute(
            """
            INSERT INTO lists (workspace_id, id, name)
            SELECT 1, n, n::text FROM generate_series(1, \(Lists.limit - 1)) n;
            UPDATE workspaces SET last_list_id = \(Lists.limit - 1)
            """)
        guard case .created = try harness.createList("last") else {
            Issue.record("the last list is refused")
            return
        }
        #expect(try harness.createList("one more") == .tooMany(limit: Lists.limit))
        #expect(try harness.createList("last") == .nameTaken)
    }

    @Test func deletingAListTakesItsMembersAndAnswersWhetherItWasThere() throws {
        let harness = try EngineHarness()
        let workspace = try harness.workspace(.email)
        _ = try harness.createList("a")
        _ = try harness.createList("b")
        try harness.connection.execute(
            """
            INSERT INTO list_members (workspace_id, contact_id, list_id)
            SELECT 1, gen_random_uuid(), 1 + n % 2 FROM generate_series(1, 50000) n
            """)
        #expect(try harness.answer { harness.engine.deleteList(1, in: workspace, completion: $0) })
        #expect(try harness.count("list_members WHERE list_id = 1") == 0)
        #expect(try harness.count("list_members") == 25_000)
        for id in [1, 0, -1, Int64.max, Int64.min] {
            let wasThere = try harness.answer {
                harness.engine.deleteList(id, in: workspace, completion: $0)
            }
            #expect(!wasThere)
        }
    }

    @Test func anotherDeletionIsServedBetweenTheChunksOfALongOne() throws {
        let harness = try EngineHarness()
        let workspace = try harness.workspace(.email)
        _ = try harness.createList("long")
        _ = try harness.createList("short")
        try harness.connection.execute(
            """
            INSERT INTO list_members (workspace_id, contact_id, list_id)
            SELECT 1, gen_random_uuid(), 1 FROM generate_series(1, 100000) n
            """)
        let order = NIOLockedValueBox<[String]>([])
        let done = ConditionLock(value: 0)
        for (id, name) in [(Int64(1), "long"), (2, "short")] {
            harness.engine.deleteList(id, in: workspace) { _ in
                done.lock()
                let count = order.withLockedValue { order in
                    order.append(name)
                    return order.count
                }
                done.unlock(withValue: count)
            }
        }
        done.lock(whenValue: 2)
        done.unlock()
        #expect(order.withLockedValue { $0 } == ["short", "long"])
    }

    @Test func aCommitThatMayHaveHappenedIsNotTriedAgain() throws {
        let database = try TestDatabase.create()
        let connection = try database.connect()
        let killer = try database.connect()
        try connection.execute("CREATE TABLE t (a int4)")
        // The trigger runs at COMMIT, and ends the connection there.
        try connection.execute(
            """
            CREATE FUNCTION fall() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(1);
                RETURN NULL;
            END $$;
            CREATE CONSTRAINT TRIGGER t AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW EXECUTE FUNCTION fall()
            """)
        #expect(throws: CommitBroken.self) {
            try connection.commit { try $0.query("INSERT INTO t VALUES (1)") }
        }
        #expect(!connection.isHealthy)
        #expect(try killer.query("SELECT 1 FROM t").rowCount == 0)
    }

    @Test func aRefusedTransactionLeavesTheConnectionFree() throws {
        let database = try TestDatabase.create()
        let connection = try database.connect()
        let value = try connection.commit { _ throws -> Int? in nil }
        #expect(value == nil)
        #expect(!connection.isInTransaction)
        #expect(throws: PostgresError.self) {
            try connection.commit { try $0.query("SELECT 1 / 0") }
        }
        #expect(!connection.isInTransaction)
    }
}
