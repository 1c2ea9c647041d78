// One contact as a binary COPY row of the table `contacts`.
//
// This is the form in which a contact is queued, compared and stored. Integers are big-endian
// (PostgreSQL, COPY, "Binary Format"):
//
//     0   int16  number of columns, 11
//     2   int32  4        6   int32  workspace_id
//     10  int32  16       14  uuid   id
//     30  int32  2        34  int16  unique_by
//     36  email, phone, external_id, name, first_name, last_name: int32 length or -1, bytes
//         fields, field_kinds: int32 length or -1, a version byte 1, JSON text
//         the lists: int32 length or -1, int64 each, ascending; not a part of COPY's row
//
// Pure functions over bytes, any thread.

internal import Contacts

enum RowLayout {
    static let columnCount: Int16 = 11
    static let idOffset = 14
    static let columnsOffset = 36
    /// Columns after `unique_by`: six texts, then `fields` and `field_kinds`.
    static let textColumnCount = 6
    static let variableColumnCount = 9
    /// The last of them: the lists, which the table does not have.
    static let listsColumn = 8
    /// The first byte of a jsonb value on the wire.
    static let jsonbVersion: UInt8 = 1
    static let noFields: StaticString = "{}"

    /// Writes the fixed part of a row.
    static func writePrefix(
        _ row: UnsafeMutableRawPointer, workspace: Workspace, id: ContactID
    ) {
        store(columnCount, row, 0)
        store(Int32(4), row, 2)
        store(workspace.id, row, 6)
        store(Int32(16), row, 10)
        store(id.high, row, idOffset)
        store(id.low, row, idOffset + 8)
        store(Int32(2), row, 30)
        store(workspace.uniqueBy.rawValue, row, 34)
    }

    static func store(
        _ value: some FixedWidthInteger, _ base: UnsafeMutableRawPointer, _ offset: Int
    ) {
        base.storeBytes(of: value.bigEndian, toByteOffset: offset, as: type(of: value))
    }

    static func load<Value: FixedWidthInteger>(
        _ base: UnsafeRawPointer, _ offset: Int, as type: Value.Type
    ) -> Value {
        Value(bigEndian: base.loadUnaligned(fromByteOffset: offset, as: type))
    }

    /// One column, without a walk over those behind it.
    static func column(_ index: Int, of row: UnsafeRawPointer) -> ColumnBytes {
        let offset = Self.offset(of: index, row)
        let length = Int(load(row, offset, as: Int32.self))
        return length < 0 ? .null : ColumnBytes(start: row + offset + 4, count: length)
    }

    /// The length of what is COPY's row.
    static func tableByteCount(_ row: UnsafeRawPointer) -> Int { offset(of: listsColumn, row) }

    private static func offset(of index: Int, _ row: UnsafeRawPointer) -> Int {
        var offset = columnsOffset
        for _ in 0..<index { offset += 4 + max(0, Int(load(row, offset, as: Int32.self))) }
        return offset
    }

    static func id(of row: UnsafeRawPointer) -> ContactID {
        ContactID(
            high: load(row, idOffset, as: UInt64.self),
            low: load(row, idOffset + 8, as: UInt64.self))
    }
}

/// A column's bytes; `nil` start is SQL's NULL.
struct ColumnBytes {
    let start: UnsafeRawPointer?
    let count: Int

    static var null: ColumnBytes { ColumnBytes(start: nil, count: 0) }

    static func == (left: ColumnBytes, right: ColumnBytes) -> Bool {
        guard let leftStart = left.start, let rightStart = right.start else {
            return left.start == nil && right.start == nil
        }
        return left.count == right.count
            && leftStart.compare(with: rightStart, byteCount: left.count)
    }

    /// Without the version byte of jsonb.
    var json: UnsafeBufferPointer<UInt8> {
        guard let start, count > 0 else { return UnsafeBufferPointer(start: nil, count: 0) }
        return UnsafeBufferPointer(
            start: (start + 1).assumingMemoryBound(to: UInt8.self), count: count - 1)
    }

    var buffer: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: start, count: count) }
}

typealias RowColumns = InlineArray<9, ColumnBytes>

/// Lists as a row has them.
struct ListBytes {
    let bytes: ColumnBytes

    init(_ bytes: ColumnBytes) { self.bytes = bytes }

    var count: Int { bytes.count / 8 }

    subscript(index: Int) -> Int64 {
        guard let start = bytes.start else { return 0 }
        return RowLayout.load(start, index * 8, as: Int64.self)
    }

    func contains(_ list: Int64) -> Bool {
        for index in 0..<count where self[index] == list { return true }
        return false
    }

    static func append(_ list: Int64, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: list.bigEndian) { bytes.append(contentsOf: $0) }
    }
}

/// A column as it stands in a row, with its length in front.
struct RowPiece {
    let start: UnsafeRawPointer
    let count: Int
}

/// Where the columns of one row begin: found in one walk.
struct RowView {
    let row: UnsafeRawPointer
    /// Where each column's length stands, and the row's end.
    private var places: InlineArray<10, Int>

    init(_ row: UnsafeRawPointer) {
        self.row = row
        places = .init(repeating: 0)
        var offset = RowLayout.columnsOffset
        for index in 0..<RowLayout.variableColumnCount {
            places[index] = offset
            offset += 4 + max(0, Int(RowLayout.load(row, offset, as: Int32.self)))
        }
        places[RowLayout.variableColumnCount] = offset
    }

    /// The length of what is COPY's row.
    var tableByteCount: Int { places[RowLayout.listsColumn] }
    /// The row's length.
    var byteCount: Int { places[RowLayout.variableColumnCount] }

    subscript(column: Int) -> ColumnBytes {
        let start = places[column] + 4
        let count = places[column + 1] - start
        // A NULL is a length without bytes, and so is an empty text.
        if count == 0, RowLayout.load(row, places[column], as: Int32.self) < 0 { return .null }
        return ColumnBytes(start: row + start, count: count)
    }

    /// Whether a column is the same in both rows; its length is a part of it and tells NULL.
    func hasSame(_ column: Int, as other: RowView) -> Bool {
        let byteCount = places[column + 1] - places[column]
        return byteCount == other.places[column + 1] - other.places[column]
            && (row + places[column]).compare(
                with: other.row + other.places[column], byteCount: byteCount)
    }

    /// A column with its length in front.
    @inline(__always)
    func piece(_ column: Int) -> RowPiece {
        RowPiece(start: row + places[column], count: places[column + 1] - places[column])
    }

    var columns: RowColumns { RowColumns { self[$0] } }
    var lists: ColumnBytes { self[RowLayout.listsColumn] }
    var fields: ColumnBytes { self[RowLayout.textColumnCount] }
    var fieldKinds: ColumnBytes { self[RowLayout.textColumnCount + 1] }
    var id: ContactID { RowLayout.id(of: row) }
}

extension UnsafeRawPointer {
    /// Whether as many bytes are the same at both places.
    @inline(__always)
    func compare(with other: UnsafeRawPointer, byteCount: Int) -> Bool {
        memcmp(self, other, byteCount) == 0
    }
}

#if canImport(Glibc)
    internal import Glibc
#endif
