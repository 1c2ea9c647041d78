// Writes rows in PostgreSQL's binary COPY format. In: the fields of a row in column order. Out:
// bytes for CopyIn, without the file's header and trailer, so that blocks of rows from several
// writers can follow one another in one COPY. Pure, any thread, no allocation once it has grown.
// https://www.postgresql.org/docs/15/sql-copy.html, section "Binary Format"
//
//   header  "PGCOPY\n\xff\r\n\0"  int32 flags  int32 length of the extension
//   row     int16 field count, then per field: int32 byte count (-1: NULL), bytes
//   trailer int16 -1

@testable import Postgres

struct BinaryRows: Sendable {
    private var storage: [UInt8] = []
    private var rows = 0

    init() {}

    init(reservingBytes byteCount: Int) {
        storage.reserveCapacity(byteCount)
    }

    var bytes: [UInt8] { storage }
    var byteCount: Int { storage.count }
    var rowCount: Int { rows }

    mutating func removeAll() {
        storage.removeAll(keepingCapacity: true)
        rows = 0
    }

    /// Takes back the rows written since `byteCount` and `rowCount` were these.
    mutating func truncate(byteCount: Int, rowCount: Int) {
        precondition(byteCount <= storage.count && rowCount <= rows, "rows cannot be invented")
        storage.removeLast(storage.count - byteCount)
        rows = rowCount
    }

    /// Exactly `columns` fields must follow.
    mutating func beginRow(columns: Int) {
        BigEndian.append(Int16(columns), to: &storage)
        rows += 1
    }

    mutating func appendNull() {
        BigEndian.append(Int32(-1), to: &storage)
    }

    /// The bytes of any type, of `text` and `bytea` as they are.
    mutating func append(_ field: RawSpan) {
        BigEndian.appendLength(field.byteCount, to: &storage)
        BigEndian.append(field, to: &storage)
    }

    mutating func append(_ field: [UInt8]) {
        append(field.span.bytes)
    }

    mutating func append(_ field: ArraySlice<UInt8>) {
        append(field.span.bytes)
    }

    mutating func append(text: String) {
        BigEndian.appendLength(text.utf8.count, to: &storage)
        storage.append(contentsOf: text.utf8)
    }

    mutating func append(int16 value: Int16) {
        appendInteger(value)
    }

    mutating func append(int32 value: Int32) {
        appendInteger(value)
    }

    /// Also `timestamptz`: microseconds since 2000-01-01 00:00 UTC.
    mutating func append(int64 value: Int64) {
        appendInteger(value)
    }

    /// The 16 bytes of a UUID, first byte highest.
    mutating func append(uuid value: UInt128) {
        appendInteger(value)
    }

    mutating func append(bool value: Bool) {
        appendInteger(UInt8(value ? 1 : 0))
    }

    mutating func appendInteger<Value: FixedWidthInteger>(_ value: Value) {
        BigEndian.appendLength(MemoryLayout<Value>.size, to: &storage)
        BigEndian.append(value, to: &storage)
    }
}

extension CopyIn {
    mutating func write(_ rows: BinaryRows) throws(PostgresError) {
        try write(rows.bytes)
    }
}
