// Opening, losing and giving up connections.

import Foundation
import Postgres
import TestSupport
import Testing

@Suite struct ConnectionTests {
    @Test func `the session has the settings, the name and UTF-8`() throws {
        let database = try TestDatabase.create()
        let connection = try Connection(
            conninfo: database.conninfo, applicationName: "lane 'one'",
            settings: [("search_path", "a, \"b c\""), ("jit", "off")])
        let result = try connection.query(
            """
            SELECT current_setting('application_name'), current_setting('search_path'),
                current_setting('jit'), current_setting('client_encoding'), pg_backend_pid()
            """)
        let values = (0..<4).map { result.text(0, $0) }
        #expect(values == ["lane 'one'", "a, \"b c\"", "off", "UTF8"])
        #expect(result.int32(0, 4) == connection.backendProcessID)
        #expect(connection.serverVersion >= 150_000)
    }

    @Test func `a setting that does not exist fails the opening`() throws {
        let database = try TestDatabase.create()
        let error = #expect(throws: PostgresError.self) {
            try database.connect(settings: [("no_such_setting", "1")])
        }
        #expect(error?.sqlstate == "42704")
    }

    @Test func `prepared statements run again and again`() throws {
        let database = try TestDatabase.create()
        let connection = try database.connect()
        try connection.prepare("sum", "SELECT $1::int4 + $2::int4")
        var parameters = Parameters()
        for number in Int32(0)..<100 {
            parameters.removeAll()
            parameters.append(int32: number)
            parameters.append(int32: 1)
            let result = try connection.execute(prepared: "sum", parameters)
            #expect(result.int32(0, 0) == number + 1)
        }
    }

    @Test func `affected rows are counted`() throws {
        let database = try TestDatabase.create()
        let connection = try database.connect()
        try connection.execute("CREATE TABLE t (a int4)")
        let insert = "INSERT INTO t SELECT generate_series(1, 5)"
        #expect(try connection.query(insert).affectedRowCount == 5)
        #expect(try connection.query("UPDATE t SET a = 0 WHERE a > 3").affectedRowCount == 2)
        #expect(try connection.query("BEGIN").affectedRowCount == 0)
    }

    @Test func `a stopped backend is given up at the deadline`() throws {
        let database = try TestDatabase.create()
        let connection = try database.connect()
        connection.statementDeadline = .milliseconds(300)
        let backend = connection.backendProcessID
        #expect(kill(backend, SIGSTOP) == 0)
        defer { kill(backend, SIGCONT) }
        let clock = ContinuousClock()
        let start = clock.now
        let error = #expect(throws: PostgresError.self) { try connection.query("SELECT 1") }
        #expect(error?.kind == .deadlineExceeded && error?.isConnectionLoss == true)
        #expect(clock.now - start >= .milliseconds(300))
        #expect(clock.now - start < .seconds(5))
        #expect(!connection.isHealthy)
    }

    @Test func `a stopped backend is given up while rows are sent`() throws {
        let database = try TestDatabase.create()
        let connection = try database.connect()
        try connection.execute("CREATE TABLE t (a bytea)")
        connection.statementDeadline = .milliseconds(300)
        var copy = try connection.copyIn("COPY t FROM STDIN (FORMAT binary)")
        let backend = connection.backendProcessID
        #expect(kill(backend, SIGSTOP) == 0)
        defer { kill(backend, SIGCONT) }
        do {
            for _ in 0..<1000 { try copy.write([UInt8](repeating: 0, count: 1 << 20)) }
            Issue.record("a stopped backend took a gigabyte")
        } catch {
            #expect(error.kind == .deadlineExceeded)
        }
        #expect(!connection.isHealthy)
    }

    @Test func `a backend that is gone is noticed between statements`() throws {
        let database = try TestDatabase.create()
        let connection = try database.connect()
        let other = try database.connect()
        var backend = Parameters()
        backend.append(int32: connection.backendProcessID)
        #expect(connection.isHealthy)
        _ = try other.query("SELECT pg_terminate_backend($1, 5000)", backend)
        #expect(!connection.isHealthy)
        let error = #expect(throws: PostgresError.self) { try connection.execute("SELECT 1") }
        #expect(error?.isConnectionLoss == true, "\(String(describing: error))")
    }

    @Test func `a backend that is terminated in a statement is 57P01`() throws {
        let database = try TestDatabase.create()
        let connection = try database.connect()
        let error = #expect(throws: PostgresError.self) {
            try connection.query("SELECT pg_terminate_backend(pg_backend_pid()), pg_sleep(5)")
        }
        #expect(error?.sqlstate == "57P01" && error?.isConnectionLoss == true)
        #expect(!connection.isHealthy)
    }

    @Test(arguments: [
        "host=127.0.0.1 port=1 user=u dbname=d password=hunter2",
        "postgres://u:hunter2@127.0.0.1:1/d", "host=/nonexistent password=hunter2",
        "postgres://u:hunter2@nowhere.invalid/d",
    ])
    func `nobody there is a refusal without the password`(conninfo: String) throws {
        let error = #expect(throws: PostgresError.self) {
            _ = try Connection(conninfo: conninfo, applicationName: "test")
        }
        #expect(error?.kind == .couldNotConnect && error?.isConnectionLoss == true)
        #expect(!String(describing: error).contains("hunter2"))
    }

    @Test(arguments: [
        "hunter2", "password='hunter2", "host=h hunter2", "postgres://u:hunter2@h:port/d?x=y",
        "postgres://u:p@hunter2@localhost/d", "postgres://u:%zzhunter2@localhost/d",
    ])
    func `a malformed connection string is not quoted`(conninfo: String) throws {
        let error = #expect(throws: PostgresError.self) {
            _ = try Connection(conninfo: conninfo, applicationName: "test")
        }
        #expect(error?.kind == .couldNotConnect)
        #expect(!String(reflecting: error).contains("hunter2"))
    }

    @Test func `a database that does not exist is 3D000 and no reason to try again`() throws {
        let database = try TestDatabase.create()
        let error = #expect(throws: PostgresError.self) {
            _ = try Connection(
                conninfo: database.conninfo + " dbname=nowhere password=hunter2",
                applicationName: "test")
        }
        #expect(error?.kind == .couldNotConnect && error?.sqlstate == "3D000")
        #expect(error?.isConnectionLoss == false)
        #expect(!String(reflecting: error).contains("hunter2"))
    }

    @Test func `a server that never answers is given up`() throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(listener) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                #expect(bind(listener, $0, length) == 0)
                #expect(listen(listener, 1) == 0)
                #expect(getsockname(listener, $0, &length) == 0)
            }
        }
        let port = UInt16(bigEndian: address.sin_port)
        let error = #expect(throws: PostgresError.self) {
            _ = try Connection(
                conninfo: "host=127.0.0.1 port=\(port) user=u", applicationName: "test",
                connectTimeout: .seconds(1))
        }
        #expect(error?.kind == .couldNotConnect && error?.isConnectionLoss == true)
    }

    @Test func `a closed connection answers nothing and can be closed again`() throws {
        let database = try TestDatabase.create()
        let connection = try database.connect()
        connection.close()
        connection.close()
        #expect(!connection.isHealthy && !connection.isInTransaction)
        let error = #expect(throws: PostgresError.self) { try connection.execute("SELECT 1") }
        #expect(error?.kind == .connectionLost)
    }

    @Test func `a transaction is seen from BEGIN to its end, sound or failed`() throws {
        let database = try TestDatabase.create()
        let connection = try database.connect()
        #expect(!connection.isInTransaction)
        try connection.execute("BEGIN")
        #expect(connection.isInTransaction)
        #expect(throws: PostgresError.self) { try connection.execute("SELECT 1/0") }
        #expect(connection.isInTransaction)
        try connection.execute("ROLLBACK")
        #expect(!connection.isInTransaction)
    }
}
