// How a connection waits: for its opening, for its bytes to leave, for its results. In: a libpq
// handle and a deadline. Out: results, or the error that ended the exchange. The connection's
// thread. Only here is libpq asked for results, so only here must its traps be known: a COPY that
// nobody feeds is reported again and again; a dead server's last words are read after its death.

import CLibpq
import Glibc

extension Connection {
    /// Drives the opening. libpq heeds connect_timeout only when it blocks itself, so the deadline
    /// is ours. The name of the host is looked up by the system's resolver, within its own time.
    func connect(_ connection: OpaquePointer, deadline: Deadline) throws(PostgresError) {
        // Verbose, for the SQLSTATE: libpq has no other way to tell that of a refused connection.
        PQsetErrorVerbosity(connection, PQERRORS_VERBOSE)
        PQsetNoticeReceiver(connection, { _, _ in }, nil)
        var step = PGRES_POLLING_WRITING
        while step != PGRES_POLLING_OK {
            guard step != PGRES_POLLING_FAILED, PQstatus(connection) != CONNECTION_BAD else {
                throw Self.refusal(String(cString: PQerrorMessage(connection)))
            }
            let events = step == PGRES_POLLING_READING ? POLLIN : POLLOUT
            guard deadline.wait(for: CInt(events), on: PQsocket(connection)) != nil else {
                throw PostgresError(.couldNotConnect, "no answer within the time to connect")
            }
            step = PQconnectPoll(connection)
        }
        PQsetErrorVerbosity(connection, PQERRORS_DEFAULT)
        guard PQsetnonblocking(connection, 1) == 0 else {
            throw PostgresError(.couldNotConnect, "libpq refused its non-blocking mode")
        }
    }

    /// `... failed: FATAL:  28P01: password authentication failed ...\nLOCATION:  ...`
    static func refusal(_ text: String) -> PostgresError {
        let lines = text.split(whereSeparator: \.isNewline)
        let message = PostgresError.oneLine(
            lines.filter { !$0.hasPrefix("LOCATION:") }.joined(separator: "\n"))
        let state = message.split(separator: ":  ").dropFirst().last { part in
            let code = part.prefix(6).utf8
            return code.count == 6 && code.last == UInt8(ascii: ":")
                && code.dropLast().allSatisfy { (48...57).contains($0) || (65...90).contains($0) }
        }
        guard let state else { return PostgresError(.couldNotConnect, message) }
        return PostgresError(.couldNotConnect, message, sqlstate: String(state.prefix(5)))
    }

    /// Sends what a PQsend... call queued.
    func send(
        _ connection: OpaquePointer, _ queued: CInt, _ deadline: Deadline
    ) throws(PostgresError) {
        guard queued == 1 else { throw lost(connection) }
        try flush(connection, deadline)
    }

    /// Until all bytes are in the socket. Reads meanwhile, so that a server which waits for us to
    /// read goes on.
    func flush(_ connection: OpaquePointer, _ deadline: Deadline) throws(PostgresError) {
        while true {
            let left = PQflush(connection)
            if left == 0 { return }
            if left < 0 { throw lost(connection) }
            let events = try wait(for: CInt(POLLIN | POLLOUT), connection, deadline)
            if events & ~CInt(POLLOUT) != 0, PQconsumeInput(connection) == 0 {
                throw lost(connection)
            }
        }
    }

    private func wait(
        for events: CInt, _ connection: OpaquePointer, _ deadline: Deadline
    ) throws(PostgresError) -> CInt {
        while true {
            let step = silence.map { deadline.atMost($0.interval) } ?? deadline
            if let events = step.wait(for: events, on: PQsocket(connection)) { return events }
            if deadline.isOver { throw expired() }
            if let silence, silence.isLost() {
                close()
                throw PostgresError(
                    .connectionLost, "the line is silent and its backend idle or gone")
            }
        }
    }

    /// nil when the statement is over. The caller owns the result.
    func nextResult(
        _ connection: OpaquePointer, _ deadline: Deadline
    ) throws(PostgresError) -> OpaquePointer? {
        while PQisBusy(connection) == 1 {
            _ = try wait(for: CInt(POLLIN), connection, deadline)
            if PQconsumeInput(connection) == 0 {
                // Of a dead connection PQgetResult does not block and tells the server's last
                // words, if there are any; of another it might.
                guard PQstatus(connection) == CONNECTION_BAD else { throw lost(connection) }
                break
            }
        }
        return PQgetResult(connection)
    }

    /// Takes all results of a statement and answers the last. The first error is thrown after the
    /// last result was taken, so the connection is ready for the next statement.
    func collect(
        _ connection: OpaquePointer, _ deadline: Deadline, first: OpaquePointer? = nil
    ) throws(PostgresError) -> QueryResult? {
        var kept: QueryResult?
        var failure: PostgresError?
        var refusedCopy = false
        var next = first
        if next == nil { next = try nextResult(connection, deadline) }
        while let result = next {
            let status = PQresultStatus(result)
            switch status {
            case PGRES_TUPLES_OK, PGRES_COMMAND_OK, PGRES_EMPTY_QUERY:
                kept = QueryResult(owning: result)
            case PGRES_COPY_IN where !refusedCopy:
                PQclear(result)
                refusedCopy = true
                failure = failure ?? PostgresError(.misuse, "COPY needs copyIn")
                PQputCopyEnd(connection, "not expected here")
                try flush(connection, deadline)
            case PGRES_COPY_IN, PGRES_COPY_OUT, PGRES_COPY_BOTH:
                PQclear(result)
                close()
                throw PostgresError(.misuse, "a COPY that nobody serves; connection closed")
            default:
                let isLost = PQstatus(connection) == CONNECTION_BAD
                failure = failure ?? PostgresError(result: result, connectionIsLost: isLost)
                PQclear(result)
            }
            next = try nextResult(connection, deadline)
        }
        if PQstatus(connection) == CONNECTION_BAD { close() }
        if let failure { throw failure }
        return kept
    }

    /// Reads what came unasked, without waiting: a parameter's change, a notice, or a farewell and
    /// then the end of the stream, each of which takes a read of its own.
    func takeNews(_ connection: OpaquePointer) {
        let now = Deadline(after: .zero)
        for _ in 0..<Self.lastWordsLimit {
            guard PQstatus(connection) == CONNECTION_OK,
                now.wait(for: CInt(POLLIN), on: PQsocket(connection)) != nil,
                PQconsumeInput(connection) == 1
            else { return }
        }
    }

    /// Gives the connection up. No PQcancel: it opens a second, blocking connection to a server
    /// that does not answer.
    private func expired() -> PostgresError {
        close()
        return PostgresError(
            .deadlineExceeded, "no answer within \(statementDeadline); connection closed")
    }

    /// Closes a connection that broke while sending, and tells the server's last words, for
    /// instance 57P01, if they were received.
    func lost(_ connection: OpaquePointer) -> PostgresError {
        var error = PostgresError(
            .connectionLost, PostgresError.oneLine(String(cString: PQerrorMessage(connection))))
        if PQstatus(connection) == CONNECTION_BAD {
            // While a COPY is open, libpq does not look at what was received.
            if copyIsOpen { PQputCopyEnd(connection, "connection lost") }
            var left = Self.lastWordsLimit
            while left > 0, error.sqlstate == nil, let result = PQgetResult(connection) {
                if PQresultStatus(result) == PGRES_FATAL_ERROR {
                    error = PostgresError(result: result, connectionIsLost: true)
                }
                PQclear(result)
                left -= 1
            }
        }
        close()
        return error
    }

    /// A dead connection has one or two results left; a bound keeps a libpq that repeats itself
    /// from holding the thread.
    private static let lastWordsLimit = 8
}
