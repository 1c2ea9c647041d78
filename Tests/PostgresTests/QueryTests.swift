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
}
