// COPY: all rows or none, whatever ends it, and an error that names its cause.

import Postgres
import TestSupport
import Testing

@Suite struct CopyInTests {
    private static let copy = "COPY t FROM STDIN (FORMAT binary)"

    private func table(_ database: TestDatabase) throws -> Connection {
        let connection = try database.connect()
        try connection.execute("CREATE TABLE t (id int8 PRIMARY KEY, name text)")
        return connection
    }

    private func rows(_ ids: some Sequence<Int64>) -> BinaryRows {
        var rows = BinaryRows()
        for id in ids {
            rows.beginRow(columns: 2)
            rows.append(int64: id)
            rows.append(text: "name \(id)")
        }
        return rows
    }

    private func count(_ connection: Connection) throws -> Int64? {
        try connection.query("SELECT count(*) FROM t").int64(0, 0)
    }

    private func send(_ rows: BinaryRows, on connection: Connection) throws -> Int {
        var copy = try connection.copyIn(Self.copy)
        try copy.write(CopyIn.header)
        try copy.write(rows)
        try copy.write(CopyIn.trailer)
        return try copy.finish()
    }

    @Test func `rows arrive and are counted`() throws {
        let database = try TestDatabase.create()
        let connection = try table(database)
        #expect(try send(rows(1...100_000), on: connection) == 100_000)
        #expect(try count(connection) == 100_000)
        #expect(try send(BinaryRows(), on: connection) == 0)
    }

    @Test func `the bytes may be cut anywhere`() throws {
        let database = try TestDatabase.create()
        let connection = try table(database)
        let bytes = CopyIn.header + rows(1...2).bytes + CopyIn.trailer
        try everyCut(bytes) { parts in
            try connection.execute("BEGIN")
            var copy = try connection.copyIn(Self.copy)
            for part in parts { try copy.write(part[...]) }
            #expect(try copy.finish() == 2)
            try connection.execute("ROLLBACK")
        }
    }

    @Test func `an abort keeps no row`() throws {
        let database = try TestDatabase.create()
        let connection = try table(database)
        var copy = try connection.copyIn(Self.copy)
        try copy.write(CopyIn.header)
        try copy.write(rows(1...10))
        copy.abort("a test")
        #expect(try count(connection) == 0)
    }

    @Test func `a copy that is dropped aborts itself, also inside a transaction`() throws {
        let database = try TestDatabase.create()
        let connection = try table(database)
        try connection.execute("BEGIN")
        do {
            var copy = try connection.copyIn(Self.copy)
            try copy.write(CopyIn.header)
            try copy.write(rows(1...100_000))
        }
        #expect(connection.isInTransaction)
        try connection.execute("ROLLBACK")
        #expect(try count(connection) == 0)
    }

    @Test func `a statement during a copy is refused and the copy goes on`() throws {
        let database = try TestDatabase.create()
        let connection = try table(database)
        var copy = try connection.copyIn(Self.copy)
        try copy.write(CopyIn.header)
        let error = #expect(throws: PostgresError.self) { try connection.execute("SELECT 1") }
        #expect(error?.kind == .misuse)
        try copy.write(rows(1...3))
        #expect(try copy.finish() == 3)
    }

    @Test(arguments: [1, 200_000])
    func `a duplicate key is 23505 at the end`(rowsAfterIt: Int64) throws {
        let database = try TestDatabase.create()
        let connection = try table(database)
        try connection.execute("BEGIN")
        let ids = [5, 5] + Array(10..<(10 + rowsAfterIt))
        let error = #expect(throws: PostgresError.self) { try send(rows(ids), on: connection) }
        #expect(error?.sqlstate == "23505" && error?.constraint == "t_pkey")
        #expect(connection.isHealthy && connection.isInTransaction)
        try connection.execute("ROLLBACK")
        #expect(try send(rows(1...3), on: connection) == 3)
    }

    @Test func `a wrong number of columns, no header and a cut row are 22P04`() throws {
        let database = try TestDatabase.create()
        let connection = try table(database)
        var narrow = BinaryRows()
        narrow.beginRow(columns: 1)
        narrow.append(int64: 1)
        let whole = CopyIn.header + rows(1...1).bytes
        for bytes in [
            CopyIn.header + narrow.bytes, rows(1...100).bytes, Array(whole.dropLast()),
        ] {
            var copy = try connection.copyIn(Self.copy)
            try copy.write(bytes)
            do {
                _ = try copy.finish()
                Issue.record("a malformed copy was taken")
            } catch {
                #expect(error.sqlstate == "22P04" && error.isDataError)
            }
            #expect(try count(connection) == 0)
        }
    }

    @Test(arguments: [false, true])
    func `a backend that is terminated mid-copy is a lost connection`(writesOn: Bool) throws {
        let database = try TestDatabase.create()
        let connection = try table(database)
        let other = try database.connect()
        var copy = try connection.copyIn(Self.copy)
        try copy.write(CopyIn.header)
        try copy.write(rows(1...1000))
        var backend = Parameters()
        backend.append(int32: connection.backendProcessID)
        _ = try other.query("SELECT pg_terminate_backend($1, 5000)", backend)
        do {
            if writesOn {
                for _ in 0..<100 { try copy.write(rows(1...10_000)) }
            }
            _ = try copy.finish()
            Issue.record("the copy of a dead backend succeeded")
        } catch {
            #expect(error.isConnectionLoss, "\(error)")
            #expect(error.sqlstate == "57P01", "\(error)")
        }
        #expect(!connection.isHealthy)
        let error = #expect(throws: PostgresError.self) { try connection.execute("SELECT 1") }
        #expect(error?.kind == .connectionLost)
        #expect(try count(other) == 0)
    }
}
