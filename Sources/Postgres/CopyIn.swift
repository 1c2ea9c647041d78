// An open COPY ... FROM STDIN. In: bytes of the format that the COPY names, cut anywhere. Out: the
// number of rows. The connection's thread. It ends exactly once, by `finish` or `abort`; one that
// is dropped aborts itself. Writing blocks while the server is behind, so at most one chunk and
// libpq's own buffer wait in memory.
// https://www.postgresql.org/docs/15/libpq-copy.html

import CLibpq

package struct CopyIn: ~Copyable {
    private let connection: Connection
    private var unflushedByteCount = 0

    /// Large enough to cost few system calls, small enough to stay in the cache and for the
    /// deadline to mean something.
    /// What comes before the rows: signature, flags and no extension (PostgreSQL, COPY, "Binary
    /// Format").
    package static let header: [UInt8] =
        Array("PGCOPY\n".utf8) + [0xff, 0x0d, 0x0a, 0x00] + [UInt8](repeating: 0, count: 8)
    /// What comes after them: a row of -1 columns.
    package static let trailer: [UInt8] = [0xff, 0xff]

    package static let chunkByteLimit = 64 * 1024

    init(_ connection: Connection) {
        self.connection = connection
    }

    deinit {
        if connection.copyIsOpen { Self.abort(connection, "abandoned") }
    }

    package mutating func write(_ bytes: RawSpan) throws(PostgresError) {
        guard connection.copyIsOpen else {
            throw PostgresError(.connectionLost, "the connection is closed")
        }
        var start = 0
        while start < bytes.byteCount {
            let end = min(start + Self.chunkByteLimit, bytes.byteCount)
            try put(bytes.extracting(start..<end))
            start = end
        }
    }

    package mutating func write(_ bytes: [UInt8]) throws(PostgresError) {
        try write(bytes.span.bytes)
    }

    package mutating func write(_ bytes: ArraySlice<UInt8>) throws(PostgresError) {
        try write(bytes.span.bytes)
    }

    /// Ends the COPY and answers the number of rows. What the server had to say against any row
    /// is thrown here; the transaction has failed then, and the connection works after ROLLBACK.
    package consuming func finish() throws(PostgresError) -> Int {
        guard connection.copyIsOpen else {
            throw PostgresError(.connectionLost, "the connection is closed")
        }
        return try Self.end(connection, nil)
    }

    /// Makes the server drop the rows; the transaction has failed then.
    package consuming func abort(_ reason: String) {
        if connection.copyIsOpen { Self.abort(connection, reason) }
    }

    private mutating func put(_ chunk: RawSpan) throws(PostgresError) {
        let handle = try connection.open()
        let deadline = Deadline(after: connection.statementDeadline)
        while true {
            let queued = chunk.withUnsafeBytes {
                PQputCopyData(
                    handle, $0.bindMemory(to: CChar.self).baseAddress, CInt($0.count))
            }
            if queued > 0 { break }
            if queued < 0 { throw connection.lost(handle) }
            try connection.flush(handle, deadline)
        }
        unflushedByteCount += chunk.byteCount
        if unflushedByteCount >= Self.chunkByteLimit {
            try connection.flush(handle, deadline)
            unflushedByteCount = 0
        }
    }

    /// The server answers 57014 to an abort, or with the error it had found before; neither is
    /// news. If the connection is lost on the way, it says so itself.
    private static func abort(_ connection: Connection, _ reason: String) {
        _ = try? end(connection, reason)
    }

    private static func end(
        _ connection: Connection, _ reason: String?
    ) throws(PostgresError) -> Int {
        let handle = try connection.open()
        let deadline = Deadline(after: connection.statementDeadline)
        while true {
            let queued = PQputCopyEnd(handle, reason)
            if queued > 0 { break }
            if queued < 0 { throw connection.lost(handle) }
            try connection.flush(handle, deadline)
        }
        connection.copyEnded()
        try connection.flush(handle, deadline)
        return try connection.collect(handle, deadline)?.affectedRowCount ?? 0
    }
}
