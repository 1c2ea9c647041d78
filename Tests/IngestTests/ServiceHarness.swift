// What the tests of lists, the export and events share: calls of the engine that wait for their
// answer, and rows as the writers make them.

import Contacts
import NIOConcurrencyHelpers
import Postgres
import Testing
import TestSupport

@testable import Ingest

extension EngineHarness {
    /// Calls the engine and blocks until it answers.
    func answer<Value: Sendable>(
        _ call: (@escaping @Sendable (Result<Value, ReaderError>) -> Void) -> Void
    ) throws -> Value {
        let box = NIOLockedValueBox<Result<Value, ReaderError>?>(nil)
        let done = ConditionLock(value: false)
        call { result in
            done.lock()
            box.withLockedValue { $0 = result }
            done.unlock(withValue: true)
        }
        done.lock(whenValue: true)
        done.unlock()
        return try #require(box.withLockedValue { $0 }).get()
    }

    func createList(_ name: String) throws -> ListCreation {
        let workspace = try workspace(.email)
        return try answer { engine.createList(name, in: workspace, completion: $0) }
    }

    func events(after position: EventPosition) throws -> EventPage {
        let workspace = try workspace(.email)
        return try answer { engine.events(after: position, in: workspace, completion: $0) }
    }

    /// Events of the default workspace as a lane writes them.
    ///
    /// - Parameter occurred: When, as SQL.
    func addEvents(_ count: Int, occurred: String = "now()") throws {
        try connection.execute(
            """
            BEGIN;
            INSERT INTO event_offsets (workspace_id, last_offset) VALUES (1, \(count))
            ON CONFLICT (workspace_id)
            DO UPDATE SET last_offset = event_offsets.last_offset + EXCLUDED.last_offset;
            INSERT INTO events (workspace_id, event_offset, type, import_id, contact_id, fields,
                list_ids, created_at, occurred_at)
            SELECT 1, o.last_offset - \(count) + n, 1, 'i', gen_random_uuid(), '{}', '{2,5}', now(),
                \(occurred)
            FROM event_offsets o, generate_series(1, \(count)) n WHERE o.workspace_id = 1;
            SELECT pg_notify('contacts_events', '1');
            COMMIT
            """)
    }

    func count(_ table: String) throws -> Int64 {
        try connection.query("SELECT count(*) FROM \(table)").int64(0, 0) ?? -1
    }

    /// Polls until the condition holds, at most a minute.
    func eventually(_ condition: () throws -> Bool) throws -> Bool {
        let end = ContinuousClock.now + .seconds(60)
        while ContinuousClock.now < end {
            if try condition() { return true }
            WorkerThread.sleep(.milliseconds(20))
        }
        return false
    }
}
