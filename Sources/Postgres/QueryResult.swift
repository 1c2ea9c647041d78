// The rows that a statement returned, in binary. In: a PGresult, owned from here on. Out: values by
// row and column, nil for NULL. Belongs to the thread of its connection but outlives the statement.
// The accessors neither allocate nor throw (except `text`): a column read as a type of another
// width is a mistake in our SQL and stops the process.

import CLibpq

package final class QueryResult {
    private let result: OpaquePointer
    package let rowCount: Int
    package let columnCount: Int

    init(owning result: OpaquePointer) {
        self.result = result
        rowCount = Int(PQntuples(result))
        columnCount = Int(PQnfields(result))
    }

    deinit {
        PQclear(result)
    }

    /// Rows that INSERT, UPDATE, DELETE, COPY or SELECT touched; 0 for other statements.
    package var affectedRowCount: Int {
        Int(String(cString: PQcmdTuples(result))) ?? 0
    }

    package func columnName(_ column: Int) -> String {
        PQfname(result, CInt(column)).map { String(cString: $0) } ?? ""
    }

    package func isNull(_ row: Int, _ column: Int) -> Bool {
        check(row, column)
        return PQgetisnull(result, CInt(row), CInt(column)) != 0
    }

    /// 0 for NULL.
    package func byteCount(_ row: Int, _ column: Int) -> Int {
        check(row, column)
        return Int(PQgetlength(result, CInt(row), CInt(column)))
    }

    package func bool(_ row: Int, _ column: Int) -> Bool? {
        integer(row, column, UInt8.self).map { $0 != 0 }
    }

    package func int16(_ row: Int, _ column: Int) -> Int16? {
        integer(row, column, Int16.self)
    }

    package func int32(_ row: Int, _ column: Int) -> Int32? {
        integer(row, column, Int32.self)
    }

    /// Also `timestamptz`: microseconds since 2000-01-01 00:00 UTC.
    package func int64(_ row: Int, _ column: Int) -> Int64? {
        integer(row, column, Int64.self)
    }

    /// The 16 bytes of a UUID, first byte highest.
    package func uuid(_ row: Int, _ column: Int) -> UInt128? {
        integer(row, column, UInt128.self)
    }

    /// A `bigint[]` of one dimension without NULLs.
    package func int64Array(_ row: Int, _ column: Int) -> [Int64]? {
        field(row, column).map(BinaryArray.int64s)
    }

    package func text(_ row: Int, _ column: Int) -> String? {
        field(row, column).map { String(decoding: $0, as: UTF8.self) }
    }

    package func bytes(_ row: Int, _ column: Int) -> [UInt8]? {
        field(row, column).map { [UInt8]($0) }
    }

    /// Appends the column's bytes, nothing for NULL.
    package func append(row: Int, column: Int, to bytes: inout [UInt8]) {
        if let field = field(row, column) { bytes.append(contentsOf: field) }
    }

    /// Where a value lies in the result, and as long as the result; a NULL has no start.
    package struct Field {
        package let start: UnsafeRawPointer?
        package let count: Int

        package init(start: UnsafeRawPointer?, count: Int) {
            self.start = start
            self.count = count
        }

        package static var null: Field { Field(start: nil, count: 0) }
    }

    /// Finds all columns of a row in one call, for those who read all of them.
    ///
    /// - Parameter fields: Gets a place for each column; what it has beyond them stays.
    package func locate(_ row: Int, _ fields: inout MutableSpan<Field>) {
        precondition(
            row >= 0 && row < rowCount && columnCount <= fields.count,
            "no such row in the result, or no room for its columns")
        let result = result
        let row = CInt(truncatingIfNeeded: row)
        for index in 0..<columnCount {
            let column = CInt(truncatingIfNeeded: index)
            let count = PQgetlength(result, row, column)
            // A NULL has no length either; all others need not be asked.
            if count == 0, PQgetisnull(result, row, column) != 0 {
                fields[index] = .null
            } else {
                let start = PQgetvalue(result, row, column)
                fields[index] = Field(start: UnsafeRawPointer(start), count: Int(count))
            }
        }
    }

    /// The column's bytes, empty for NULL, valid inside `body` only.
    @inlinable
    package func withBytes<Value, Failure: Error>(
        _ row: Int, _ column: Int, _ body: (UnsafeRawBufferPointer) throws(Failure) -> Value
    ) throws(Failure) -> Value {
        try body(field(row, column) ?? UnsafeRawBufferPointer(start: nil, count: 0))
    }

    @usableFromInline
    func field(_ row: Int, _ column: Int) -> UnsafeRawBufferPointer? {
        check(row, column)
        if PQgetisnull(result, CInt(row), CInt(column)) != 0 { return nil }
        return UnsafeRawBufferPointer(
            start: PQgetvalue(result, CInt(row), CInt(column)),
            count: Int(PQgetlength(result, CInt(row), CInt(column))))
    }

    private func integer<Value: FixedWidthInteger>(
        _ row: Int, _ column: Int, _ type: Value.Type
    ) -> Value? {
        guard let field = field(row, column) else { return nil }
        precondition(
            field.count == MemoryLayout<Value>.size, "the column's type has another width")
        return Value(bigEndian: field.loadUnaligned(as: Value.self))
    }

    /// libpq prints a warning to standard error and answers NULL.
    private func check(_ row: Int, _ column: Int) {
        precondition(
            row >= 0 && row < rowCount && column >= 0 && column < columnCount,
            "no such row or column in the result")
    }
}
