// One connection to PostgreSQL. In: SQL, binary parameters. Out: binary results, or a
// PostgresError. It is opened, used and closed on one thread and blocks it; no wait is longer than
// the statement deadline. A connection that was lost or given up stays closed: open a new one.
// libpq runs in its non-blocking mode, so that sending obeys the deadline as receiving does.
// https://www.postgresql.org/docs/15/libpq-async.html

import CLibpq
import Glibc
import Synchronization

package final class Connection {
    private static let opened = Atomic(0)

    /// How many connections of this process are open.
    package static var openCount: Int { opened.load(ordering: .relaxed) }

    package struct Silence {
        let interval: Duration
        let isLost: () -> Bool

        /// - Parameters:
        ///   - interval: How long the server may be silent before `isLost` is asked.
        ///   - isLost: Whether no answer will come. It may block for a while.
        package init(_ interval: Duration, isLost: @escaping () -> Bool) {
            self.interval = interval
            self.isLost = isLost
        }
    }

    /// The longest one statement, or one step of a COPY, may take until the connection is given up.
    package var statementDeadline: Duration = .seconds(60)
    /// Asked again and again while the server keeps silent. A line that swallows everything looks
    /// like a server that is at work; somebody else has to tell.
    package var silence: Silence?

    /// nil once closed.
    private var handle: OpaquePointer?
    private(set) var copyIsOpen = false
    /// The names of statements in the pipeline (Pipeline.swift).
    var queuedStatements: [String] = []
    var unflushedByteCount = 0

    /// Opens a connection. `conninfo` is a URL or a keyword string; what it leaves out comes from
    /// the PG* environment. Of several hosts the first that takes writes is used. The settings hold
    /// for the whole session.
    ///
    /// - Parameter connectTimeout: How long each host may take.
    package init(
        conninfo: String, applicationName: String, settings: [(String, String)] = [],
        connectTimeout: Duration = .seconds(10)
    ) throws(PostgresError) {
        let options = try ConnectionOptions(conninfo: conninfo, applicationName: applicationName)
        var alternatives = options.alternatives[...]
        while let host = alternatives.popFirst() {
            do throws(PostgresError) {
                try connect(to: host, Deadline(after: connectTimeout))
                try apply(settings)
                return
            } catch {
                close()
                if alternatives.isEmpty { throw error }
            }
        }
    }

    /// Whether a connection string can be understood.
    package static func check(conninfo: String) throws(PostgresError) {
        _ = try ConnectionOptions(conninfo: conninfo, applicationName: "")
    }

    private func connect(to host: ConnectionOptions, _ deadline: Deadline) throws(PostgresError) {
        guard let connection = host.startConnecting() else {
            throw PostgresError(.couldNotConnect, "out of memory")
        }
        handle = connection
        Self.opened.wrappingAdd(1, ordering: .relaxed)
        try connect(connection, deadline: deadline)
    }

    deinit {
        close()
    }

    /// Ends the connection; an open transaction is rolled back by the server.
    package func close() {
        copyIsOpen = false
        queuedStatements.removeAll()
        unflushedByteCount = 0
        if let connection = handle {
            PQfinish(connection)
            Self.opened.wrappingSubtract(1, ordering: .relaxed)
        }
        handle = nil
    }

    /// False when it is closed, or when the server has hung up since the last statement.
    package var isHealthy: Bool {
        guard let connection = handle else { return false }
        if !copyIsOpen { takeNews(connection) }
        return PQstatus(connection) == CONNECTION_OK
    }

    /// Inside a transaction block, be it sound or failed.
    package var isInTransaction: Bool {
        guard let connection = handle else { return false }
        let status = PQtransactionStatus(connection)
        return status == PQTRANS_INTRANS || status == PQTRANS_INERROR
    }

    package var backendProcessID: Int32 {
        handle.map { PQbackendPID($0) } ?? 0
    }

    /// For instance 150020 for 15.20.
    package var serverVersion: Int {
        handle.map { Int(PQserverVersion($0)) } ?? 0
    }

    /// Runs one or several statements and drops their rows. Several without a BEGIN are one
    /// transaction.
    package func execute(_ sql: String) throws(PostgresError) {
        let connection = try idle()
        let deadline = Deadline(after: statementDeadline)
        try send(connection, PQsendQuery(connection, sql), deadline)
        _ = try collect(connection, deadline)
    }

    /// Runs one statement.
    package func query(
        _ sql: String, _ parameters: Parameters = Parameters()
    ) throws(PostgresError) -> QueryResult {
        let connection = try idle()
        let deadline = Deadline(after: statementDeadline)
        let sent = parameters.withArrays {
            PQsendQueryParams(
                connection, sql, $0.count, $0.types, $0.values, $0.lengths, $0.formats, 1)
        }
        try send(connection, sent, deadline)
        return try result(connection, deadline)
    }

    /// Parses and analyzes a statement once for the life of the connection.
    package func prepare(_ name: String, _ sql: String) throws(PostgresError) {
        let connection = try idle()
        let deadline = Deadline(after: statementDeadline)
        try send(connection, PQsendPrepare(connection, name, sql, 0, nil), deadline)
        _ = try collect(connection, deadline)
    }

    package func execute(
        prepared name: String, _ parameters: Parameters = Parameters()
    ) throws(PostgresError) -> QueryResult {
        let connection = try idle()
        let deadline = Deadline(after: statementDeadline)
        let sent = parameters.withArrays {
            PQsendQueryPrepared(
                connection, name, $0.count, $0.values, $0.lengths, $0.formats, 1)
        }
        try send(connection, sent, deadline)
        return try result(connection, deadline)
    }

    /// Begins `COPY ... FROM STDIN (FORMAT binary)`. Until the copy is finished or aborted, the
    /// connection takes no other statement. Commands may stand before and behind it, separated by
    /// semicolons; those behind it run when it is finished.
    package func copyIn(_ sql: String) throws(PostgresError) -> CopyIn {
        let connection = try idle()
        let deadline = Deadline(after: statementDeadline)
        try send(connection, PQsendQuery(connection, sql), deadline)
        var next = try nextResult(connection, deadline)
        while let command = next, PQresultStatus(command) == PGRES_COMMAND_OK {
            PQclear(command)
            next = try nextResult(connection, deadline)
        }
        guard let first = next else {
            throw PostgresError(.misuse, "the statement is no COPY ... FROM STDIN")
        }
        if PQresultStatus(first) == PGRES_COPY_IN {
            PQclear(first)
            copyIsOpen = true
            return CopyIn(self)
        }
        _ = try collect(connection, deadline, first: first)
        throw PostgresError(.misuse, "the statement is no COPY ... FROM STDIN")
    }

    /// The handle, when a statement may be sent.
    private func idle() throws(PostgresError) -> OpaquePointer {
        let connection = try open()
        if copyIsOpen { throw PostgresError(.misuse, "a COPY is open on this connection") }
        if hasQueuedStatements { throw PostgresError(.misuse, "queued statements are not settled") }
        return connection
    }

    func open() throws(PostgresError) -> OpaquePointer {
        guard let connection = handle else {
            throw PostgresError(.connectionLost, "the connection is closed")
        }
        return connection
    }

    func copyEnded() {
        copyIsOpen = false
    }

    private func result(
        _ connection: OpaquePointer, _ deadline: Deadline
    ) throws(PostgresError) -> QueryResult {
        guard let result = try collect(connection, deadline) else {
            throw PostgresError(.misuse, "the statement gave no result")
        }
        return result
    }

    private func apply(_ settings: [(String, String)]) throws(PostgresError) {
        guard !settings.isEmpty else { return }
        var parameters = Parameters()
        for (name, value) in settings {
            parameters.append(text: name)
            parameters.append(text: value)
        }
        let calls = settings.indices.map { "set_config($\($0 * 2 + 1), $\($0 * 2 + 2), false)" }
        _ = try query("SELECT " + calls.joined(separator: ", "), parameters)
    }
}
