// What the server refuses comes out with its SQLSTATE, and the connection works on.

import Postgres
import TestSupport
import Testing

@Suite struct ErrorTests {
    /// Runs `body`, which must fail, and proves that the connection still answers.
    private func failure(
        on connection: Connection, _ body: () throws -> Void
    ) throws -> PostgresError {
        let error = try #require(throws: PostgresError.self, performing: body)
        if connection.isInTransaction { try connection.execute("ROLLBACK") }
        #expect(try connection.query("SELECT 7::int4").int32(0, 0) == 7)
        #expect(connection.isHealthy)
        return error
    }

    @Test func `bad UTF-8 and NUL are 22021`() throws {
        let database = try TestDatabase.create()
        let connection = try database.connect()
        for bytes: [UInt8] in [[0xff], [0x61, 0x00], [0xed, 0xa0, 0x80]] {
            var parameters = Parameters()
            parameters.append(text: bytes)
            let error = try failure(on: connection) {
                _ = try connection.query("SELECT $1", parameters)
            }
            #expect(error.sqlstate == "22021" && error.isDataError && !error.isTransient)
        }
    }

    @Test func `a duplicate key is 23505, names its constraint and quotes no row`() throws {
        let database = try TestDatabase.create()
        let connection = try database.connect()
        try connection.execute("CREATE TABLE t (email text CONSTRAINT t_email UNIQUE)")
        try connection.execute("INSERT INTO t VALUES ('secret@example.com')")
        let error = try failure(on: connection) {
            try connection.execute("BEGIN; INSERT INTO t VALUES ('secret@example.com')")
        }
        #expect(error.sqlstate == "23505" && error.isUniqueViolation && error.isDataError)
        #expect(error.constraint == "t_email")
        #expect(error.detail?.contains("secret@example.com") == true)
        #expect(!error.description.contains("secret"))
    }

    @Test func `a value that the message quotes stays out of the description`() throws {
        let database = try TestDatabase.create()
        let connection = try database.connect()
        let error = try failure(on: connection) {
            try connection.execute("SELECT 'secret'::int4")
        }
        #expect(error.sqlstate == "22P02" && error.message.contains("secret"))
        #expect(!"\(error)".contains("secret"))
    }

    @Test(arguments: ["P0001", "23514", "53100"])
    func `what a function raises stays out of the description, whatever it calls itself`(
        sqlstate: String
    ) throws {
        let database = try TestDatabase.create()
        let connection = try database.connect()
        let error = try failure(on: connection) {
            try connection.execute(
                """
                DO $$ BEGIN
                    RAISE EXCEPTION E'secret\\nforged line' USING ERRCODE = '\(sqlstate)';
                END $$
                """)
        }
        #expect(error.sqlstate == sqlstate && error.message == "secret forged line")
        #expect(!"\(error)".contains("secret") && "\(error)".contains(sqlstate))
    }

    @Test func `a syntax error is 42601, in each kind of call`() throws {
        let database = try TestDatabase.create()
        let connection = try database.connect()
        let calls: [() throws -> Void] = [
            { try connection.execute("SELEKT 1") },
            { _ = try connection.query("SELEKT 1") },
            { try connection.prepare("s", "SELEKT 1") },
            { _ = try connection.copyIn("COPI t FROM STDIN") },
        ]
        for call in calls {
            let error = try failure(on: connection, call)
            #expect(error.kind == .server && error.sqlstate == "42601")
        }
    }

    @Test func `statement_timeout is 57014 and no lost connection`() throws {
        let database = try TestDatabase.create()
        let connection = try database.connect(settings: [("statement_timeout", "50ms")])
        let error = try failure(on: connection) {
            _ = try connection.query("SELECT pg_sleep(10)")
        }
        #expect(error.sqlstate == "57014" && !error.isConnectionLoss && !error.isTransient)
    }

    @Test func `a lock timeout is transient, as deadlocks and serialization failures are`() throws {
        let database = try TestDatabase.create()
        let first = try database.connect()
        let second = try database.connect(settings: [("lock_timeout", "50ms")])
        try first.execute("CREATE TABLE t (a int)")
        try first.execute("BEGIN; LOCK t")
        let error = try failure(on: second) { try second.execute("SELECT * FROM t") }
        #expect(error.sqlstate == "55P03" && error.isTransient)
        #expect(PostgresError(.server, "", sqlstate: "40P01").isTransient)
        #expect(PostgresError(.server, "", sqlstate: "40001").isTransient)
    }

    @Test func `the first error of several statements is told, and the rest does not run`() throws {
        let database = try TestDatabase.create()
        let connection = try database.connect()
        let error = try failure(on: connection) {
            try connection.execute("CREATE TABLE a (); SELECT 1/0; CREATE TABLE b ()")
        }
        #expect(error.sqlstate == "22012")
        #expect(try connection.query("SELECT to_regclass('a') IS NULL").bool(0, 0) == true)
    }

    @Test func `COPY in the wrong call is refused without hanging`() throws {
        let database = try TestDatabase.create()
        let connection = try database.connect()
        try connection.execute("CREATE TABLE t (a int4)")
        let copy = "COPY t FROM STDIN (FORMAT binary)"
        let calls: [() throws -> Void] = [
            { try connection.execute(copy) },
            { _ = try connection.query(copy) },
            { _ = try connection.copyIn("SELECT 1") },
        ]
        for call in calls {
            #expect(try failure(on: connection, call).kind == .misuse)
        }
        let out = #expect(throws: PostgresError.self) {
            try connection.execute("COPY t TO STDOUT")
        }
        #expect(out?.kind == .misuse && !connection.isHealthy)
    }

    @Test(arguments: [
        ("57P01", true), ("57P02", true), ("57P03", true), ("08006", true), ("53300", true),
        ("25P03", true), ("57014", false), ("40001", false), ("23505", false), ("53100", false),
    ])
    func `connection losses are told from other errors`(sqlstate: String, isLoss: Bool) {
        #expect(PostgresError(.server, "", sqlstate: sqlstate).isConnectionLoss == isLoss)
        #expect(PostgresError(.couldNotConnect, "").isConnectionLoss)
        #expect(!PostgresError(.couldNotConnect, "", sqlstate: "28P01").isConnectionLoss)
        #expect(PostgresError(.deadlineExceeded, "").isConnectionLoss)
        #expect(!PostgresError(.misuse, "").isConnectionLoss)
    }
}
