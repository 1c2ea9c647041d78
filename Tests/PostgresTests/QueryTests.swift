// Parameters and results, there and back.

import Postgres
import TestSupport
import Testing

@Suite struct QueryTests {
    @Test func `every parameter type comes back as it went`() throws {
        let database = try TestDatabase.create()
        let connection = try database.connect()
        var parameters = Parameters()
        parameters.append(int16: -12345)
        parameters.append(int32: .min)
        parameters.append(int64: .max)
        parameters.append(text: "héllo")
        parameters.append(text: Array("bytes".utf8))
        parameters.append(uuid: 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff)
        parameters.append(bool: true)
        parameters.append(timestamptz: 1)
        parameters.appendNull()
        parameters.append(text: "")
        let result = try connection.query(
            "SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9::text, $10, $6::text, $8::text", parameters)
        #expect(result.rowCount == 1 && result.columnCount == 12)
        #expect(result.int16(0, 0) == -12345)
        #expect(result.int32(0, 1) == .min)
        #expect(result.int64(0, 2) == .max)
        #expect(result.text(0, 3) == "héllo")
        #expect(result.text(0, 4) == "bytes")
        #expect(result.uuid(0, 5) == 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff)
        #expect(result.bool(0, 6) == true)
        #expect(result.int64(0, 7) == 1)
        #expect(result.isNull(0, 8) && result.text(0, 8) == nil && result.byteCount(0, 8) == 0)
        #expect(!result.isNull(0, 9) && result.text(0, 9) == "")
        #expect(result.text(0, 10) == "00112233-4455-6677-8899-aabbccddeeff")
        #expect(result.text(0, 11)?.hasPrefix("2000-01-01 00:00:00.000001") == true)
    }

    @Test func `bytes are appended and lent without a copy`() throws {
        let database = try TestDatabase.create()
        let connection = try database.connect()
        let result = try connection.query("SELECT '\\x0102'::bytea, NULL::bytea, ''::bytea")
        var bytes: [UInt8] = [9]
        for column in 0..<3 { result.append(row: 0, column: column, to: &bytes) }
        #expect(bytes == [9, 1, 2])
        #expect(result.withBytes(0, 0) { Array($0) } == [1, 2])
        #expect(result.withBytes(0, 1) { $0.count } == 0)
        #expect(result.bytes(0, 1) == nil && result.bytes(0, 2) == [])
        #expect(result.byteCount(0, 0) == 2)
        #expect(result.columnName(0) == "bytea")
    }

    @Test func `all columns of a row are found at once`() throws {
        let database = try TestDatabase.create()
        let connection = try database.connect()
        let result = try connection.query(
            "SELECT n, NULL::text, '', repeat('x', n) FROM generate_series(0, 2) n ORDER BY n DESC")
        var fields = InlineArray<6, QueryResult.Field>(repeating: .null)
        for row in 0..<3 {
            var span = fields.mutableSpan
            result.locate(row, &span)
            #expect(fields[0].start?.loadUnaligned(as: Int32.self).bigEndian == Int32(2 - row))
            #expect(fields[1].start == nil && fields[1].count == 0)
            #expect(fields[2].start != nil && fields[2].count == 0)
            #expect(fields[3].start != nil && fields[3].count == 2 - row)
            #expect(fields[4].start == nil)
        }
    }

    @Test func `ten thousand rows of ten columns are read`() throws {
        let database = try TestDatabase.create()
        let connection = try database.connect()
        let columns = (0..<10).map { "n + \($0) AS c\($0)" }.joined(separator: ", ")
        let result = try connection.query("SELECT \(columns) FROM generate_series(0, 9999) n")
        #expect(result.rowCount == 10_000 && result.columnCount == 10)
        var wrong = 0
        for row in 0..<10_000 {
            for column in 0..<10 where result.int32(row, column) != Int32(row + column) {
                wrong += 1
            }
        }
        #expect(wrong == 0)
    }

    @Test func `a result outlives its connection`() throws {
        let database = try TestDatabase.create()
        let connection = try database.connect()
        let result = try connection.query("SELECT 'still here'")
        connection.close()
        #expect(result.text(0, 0) == "still here")
    }

    @Test func `a parameter larger than a socket's buffer goes and comes`() throws {
        let database = try TestDatabase.create()
        let connection = try database.connect()
        var parameters = Parameters()
        let large = [UInt8](repeating: UInt8(ascii: "x"), count: 20 << 20)
        parameters.append(text: large)
        #expect(try connection.query("SELECT $1", parameters).bytes(0, 0) == large)
    }

    @Test func `parameters are used again after removeAll`() throws {
        let database = try TestDatabase.create()
        let connection = try database.connect()
        var parameters = Parameters()
        for text in ["first", "", "third"] {
            parameters.removeAll()
            parameters.append(text: text)
            #expect(parameters.count == 1)
            #expect(try connection.query("SELECT $1", parameters).text(0, 0) == text)
        }
    }
}
