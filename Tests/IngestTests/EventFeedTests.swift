// Who is woken, and when.

import NIOConcurrencyHelpers
import Postgres
import Testing
import TestSupport

@testable import Ingest

@Suite struct EventFeedTests {
    private final class Count: Sendable {
        private let number = NIOLockedValueBox(0)
        var value: Int { number.withLockedValue { $0 } }
        func add() { number.withLockedValue { $0 += 1 } }
    }

    @Test func aWatcherIsWokenWhenTheFeedListensAndByEachCommit() throws {
        let harness = try EngineHarness()
        let workspace = try harness.workspace(.email)
        let woken = Count()
        let watch = harness.engine.watchEvents(in: workspace) { woken.add() }
        #expect(try harness.eventually { woken.value == 1 })
        for number in 2...10 {
            try harness.addEvents(1)
            #expect(try harness.eventually { woken.value == number })
        }
        watch.cancel()
        try harness.addEvents(1)
        WorkerThread.sleep(.milliseconds(200))
        #expect(woken.value == 10)
    }

    @Test func onlyTheWatchersOfTheWorkspaceAreWoken() throws {
        let harness = try EngineHarness()
        let (mine, theirs) = (Count(), Count())
        let first = harness.engine.watchEvents(in: try harness.workspace(.email)) { mine.add() }
        // Whoever begins to watch once the feed listens is woken by commits alone.
        #expect(try harness.eventually { mine.value > 0 })
        let second = harness.engine.watchEvents(in: try harness.workspace(.phone)) { theirs.add() }
        defer { withExtendedLifetime((first, second)) {} }
        let start = mine.value
        try harness.addEvents(1)
        #expect(try harness.eventually { mine.value > start })
        #expect(theirs.value == 0)
        try harness.connection.execute("NOTIFY contacts_events, 'nonsense'")
        try harness.connection.execute("NOTIFY contacts_events, '99999999999999'")
        try harness.addEvents(1)
        #expect(try harness.eventually { mine.value > start + 1 })
        #expect(theirs.value == 0)
    }

    @Test func aWatchThatIsLetGoEnds() throws {
        let harness = try EngineHarness()
        let woken = Count()
        var watch: EventWatch? = harness.engine.watchEvents(in: try harness.workspace(.email)) {
            woken.add()
        }
        #expect(watch != nil)
        #expect(try harness.eventually { woken.value == 1 })
        watch = nil
        try harness.addEvents(1)
        WorkerThread.sleep(.milliseconds(200))
        #expect(woken.value == 1)
    }

    @Test func everyoneIsWokenWhenTheConnectionWasLost() throws {
        let harness = try EngineHarness()
        let woken = Count()
        let watch = harness.engine.watchEvents(in: try harness.workspace(.email)) { woken.add() }
        defer { withExtendedLifetime(watch) {} }
        #expect(try harness.eventually { woken.value == 1 })
        for number in 2...4 {
            try harness.connection.execute(
                """
                SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE application_name = 'contactsd event feed' AND datname = current_database()
                """)
            #expect(try harness.eventually { woken.value == number })
        }
        try harness.addEvents(1)
        #expect(try harness.eventually { woken.value == 5 })
    }

    @Test func anEngineWithoutWatchersDoesNotListen() throws {
        let harness = try EngineHarness()
        try harness.addEvents(1)
        WorkerThread.sleep(.milliseconds(200))
        let found = try harness.connection.query(
            """
            SELECT 1 FROM pg_stat_activity
            WHERE application_name = 'contactsd event feed' AND datname = current_database()
            """)
        #expect(found.rowCount == 0)
    }

    @Test func anEngineWithAWatcherStopsAtOnce() throws {
        let harness = try EngineHarness()
        let watch = harness.engine.watchEvents(in: try harness.workspace(.email)) {}
        let start = ContinuousClock.now
        harness.engine.stop()
        #expect(ContinuousClock.now - start < .seconds(5))
        withExtendedLifetime(watch) {}
    }
}
