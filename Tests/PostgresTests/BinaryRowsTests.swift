// The binary COPY format against PostgreSQL's own: what it writes for a table must be what we write
// for the same rows. The server writes a file of its own, so that this does not test our reading.

import Foundation
import Postgres
import TestSupport
import Testing

@Suite struct BinaryRowsTests {
    private static let id: UInt128 = 0x0191_8c2e_0000_7000_8000_0000_0000_00ff

    /// PostgreSQL's bytes for a query, read back by a function of its own.
    private func foreign(_ query: String, _ connection: Connection) throws -> [UInt8] {
        let setting = try connection.query("SELECT current_setting('data_directory')")
        let directory = try #require(setting.text(0, 0))
        let name = "copy-\(UInt32.random(in: 0 ... .max))"
        try connection.execute("COPY (\(query)) TO '\(directory)/\(name)' (FORMAT binary)")
        let file = try connection.query("SELECT pg_read_binary_file('\(name)')")
        return try #require(file.bytes(0, 0))
    }

    private func row() -> BinaryRows {
        var rows = BinaryRows(reservingBytes: 256)
        rows.beginRow(columns: 9)
        rows.append(int16: -2)
        rows.append(int32: 3)
        rows.append(int64: -4)
        rows.append(bool: true)
        rows.append(uuid: Self.id)
        rows.append(text: "héllo")
        rows.append(Array("".utf8))
        rows.appendNull()
        rows.append([1, 0, 255][...])
        return rows
    }

    private static let query = """
        SELECT (-2)::int2 a, 3::int4 b, (-4)::int8 c, true d,
            '01918c2e-0000-7000-8000-0000000000ff'::uuid e, 'héllo'::text f, ''::text g,
            NULL::text h, '\\x0100ff'::bytea i
        FROM generate_series(1, 3)
        """

    @Test func `our bytes are PostgreSQL's`() throws {
        let database = try TestDatabase.create()
        let connection = try database.connect()
        let rows = row().bytes
        let ours = CopyIn.header + rows + rows + rows + CopyIn.trailer
        #expect(try foreign(Self.query, connection) == ours)
        let none = CopyIn.header + CopyIn.trailer
        #expect(try foreign("SELECT 1 WHERE false", connection) == none)
    }

    @Test func `PostgreSQL reads our bytes back`() throws {
        let database = try TestDatabase.create()
        let connection = try database.connect()
        try connection.execute("CREATE TABLE t AS \(Self.query) LIMIT 0")
        var copy = try connection.copyIn("COPY t FROM STDIN (FORMAT binary)")
        try copy.write(CopyIn.header)
        try copy.write(row())
        try copy.write(CopyIn.trailer)
        #expect(try copy.finish() == 1)
        let same = try connection.query("SELECT count(*) FROM (TABLE t INTERSECT \(Self.query)) s")
        #expect(same.int64(0, 0) == 1)
    }

    @Test func `rows are counted, taken back and cleared`() {
        var rows = row()
        let one = rows.bytes
        rows.beginRow(columns: 1)
        rows.appendNull()
        #expect(rows.rowCount == 2 && rows.byteCount == one.count + 6)
        rows.truncate(byteCount: one.count, rowCount: 1)
        #expect(rows.rowCount == 1 && rows.bytes == one)
        rows.removeAll()
        #expect(rows.rowCount == 0 && rows.byteCount == 0)
    }
}
