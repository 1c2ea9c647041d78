// LISTEN and NOTIFY: nothing is lost, and a wait ends when it should.

import Foundation
import Postgres
import TestSupport
import Testing

@Suite struct NotificationTests {
    private struct Pair {
        let database: TestDatabase
        let listener: Connection
        let other: Connection
        let wakeUp = WakeUp()

        init() throws {
            database = try TestDatabase.create()
            listener = try database.connect()
            other = try database.connect()
            try listener.execute("LISTEN news")
        }

        func wait(_ timeout: Duration = .seconds(10)) throws -> [String] {
            try listener.notifications(waitingAtMost: timeout, wakeUp: wakeUp).map(\.payload)
        }
    }

    @Test func `what is told wakes the listener`() throws {
        let pair = try Pair()
        try pair.other.execute("NOTIFY news, 'one'")
        let told = try pair.listener.notifications(
            waitingAtMost: .seconds(10), wakeUp: pair.wakeUp)
        #expect(told.map(\.channel) == ["news"])
        #expect(told.map(\.payload) == ["one"])
    }

    @Test func `what is told before the wait, or while a statement runs, is not lost`() throws {
        let pair = try Pair()
        try pair.other.execute("NOTIFY news, 'before'")
        try pair.listener.execute("SELECT pg_sleep(0.1)")
        try pair.other.execute("NOTIFY news, 'after'")
        var told: [String] = []
        while told.count < 2 { told += try pair.wait() }
        #expect(told == ["before", "after"])
    }

    @Test func `a wait ends when the time is up`() throws {
        let pair = try Pair()
        let start = ContinuousClock.now
        #expect(try pair.wait(.milliseconds(100)) == [])
        #expect(ContinuousClock.now - start >= .milliseconds(100))
        try pair.listener.execute("SELECT 1")
    }

    @Test func `another thread ends a wait, also one that begins later`() throws {
        let pair = try Pair()
        let start = ContinuousClock.now
        pair.wakeUp.signal()
        pair.wakeUp.signal()
        #expect(try pair.wait() == [])
        let wakeUp = pair.wakeUp
        Thread.detachNewThread {
            Thread.sleep(forTimeInterval: 0.1)
            wakeUp.signal()
        }
        #expect(try pair.wait() == [])
        #expect(ContinuousClock.now - start < .seconds(5))
        #expect(try pair.wait(.milliseconds(50)) == [])
    }

    @Test func `a connection that is ended throws`() throws {
        let pair = try Pair()
        try pair.other.execute("SELECT pg_terminate_backend(\(pair.listener.backendProcessID))")
        let error = #expect(throws: PostgresError.self) {
            while true { _ = try pair.wait() }
        }
        #expect(error?.isConnectionLoss == true)
        #expect(!pair.listener.isHealthy)
    }

    @Test func `arrays of integers are read`() throws {
        let database = try TestDatabase.create()
        let result = try database.connect().query(
            "SELECT '{}'::int8[], '{-1,9223372036854775807}'::int8[], NULL::int8[]")
        #expect(result.int64Array(0, 0) == [])
        #expect(result.int64Array(0, 1) == [-1, .max])
        #expect(result.int64Array(0, 2) == nil)
    }
}
