// Array parameters, as PostgreSQL reads them.

import Postgres
import TestSupport
import Testing

@Suite struct BinaryArrayTests {
    private func texts(_ array: BinaryArray, _ connection: Connection) throws -> [String?] {
        var parameters = Parameters()
        parameters.append(array)
        let result = try connection.query(
            "SELECT v::text FROM unnest($1) WITH ORDINALITY AS u(v, n) ORDER BY n", parameters)
        return (0..<result.rowCount).map { result.text($0, 0) }
    }

    @Test func `ten thousand texts arrive in order, and the array is used again`() throws {
        let database = try TestDatabase.create()
        let connection = try database.connect()
        var array = BinaryArray(of: .text)
        for round in 0..<3 {
            array.removeAll()
            let model = (0..<10_000).map { "key \(round) \($0)" }
            for key in model { array.append(Array(key.utf8)) }
            #expect(array.count == 10_000)
            #expect(try texts(array, connection) == model)
        }
    }

    @Test func `empty arrays, empty texts and NULLs are told apart`() throws {
        let database = try TestDatabase.create()
        let connection = try database.connect()
        var array = BinaryArray(of: .text)
        #expect(try texts(array, connection) == [])
        array.append(text: "")
        array.appendNull()
        array.append(Array("{\"x\\".utf8)[1...])
        #expect(try texts(array, connection) == ["", nil, "\"x\\"])
        array.removeAll()
        array.append(text: "no NULL any more")
        #expect(try texts(array, connection) == ["no NULL any more"])
    }

    @Test func `arrays of other types arrive`() throws {
        let database = try TestDatabase.create()
        let connection = try database.connect()
        var ids = BinaryArray(of: .uuid)
        ids.append(uuid: 1)
        ids.append([UInt8](repeating: 0xab, count: 16))
        #expect(
            try texts(ids, connection) == [
                "00000000-0000-0000-0000-000000000001", "abababab-abab-abab-abab-abababababab",
            ])
        var small = BinaryArray(of: .int16)
        small.append(int16: -1)
        #expect(try texts(small, connection) == ["-1"])
        var medium = BinaryArray(of: .int32)
        medium.append(int32: .min)
        #expect(try texts(medium, connection) == ["-2147483648"])
        var large = BinaryArray(of: .int64)
        large.append(int64: .max)
        #expect(try texts(large, connection) == ["9223372036854775807"])
    }

    @Test func `an array fits a prepared statement that casts`() throws {
        let database = try TestDatabase.create()
        let connection = try database.connect()
        try connection.prepare("n", "SELECT cardinality($1::uuid[]), cardinality($2::text[])")
        var ids = BinaryArray(of: .uuid)
        for id in UInt128(0)..<5 { ids.append(uuid: id) }
        var parameters = Parameters()
        parameters.append(ids)
        parameters.append(BinaryArray(of: .text))
        let result = try connection.execute(prepared: "n", parameters)
        #expect(result.int32(0, 0) == 5 && result.int32(0, 1) == 0)
    }
}
