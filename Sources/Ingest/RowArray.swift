// Rows of contacts as one parameter: an array of `contact_row`, a composite type that every lane's
// connection makes for itself.
//
// In: rows in the layout of RowLayout, with the place and version that were looked up. Out: the
// binary form of the array (array_recv in src/backend/utils/adt/arrayfuncs.c, record_recv in
// rowtypes.c). One lane's thread; the memory is kept.

internal import Contacts
internal import Postgres

struct RowArray {
    /// The columns of `contacts` that a row has, then where a row that stands was seen: its place
    /// (ctid) and version (xmin). Both together name one version of one row.
    static let createType = """
        CREATE TYPE pg_temp.contact_row AS (
            workspace_id integer, id uuid, unique_by smallint,
            email text COLLATE "C", phone text COLLATE "C", external_id text COLLATE "C",
            name text, first_name text, last_name text, fields jsonb, field_kinds jsonb,
            place tid, version xid
        )
        """

    /// Rows of one statement: libpq's buffers stay as large as the largest.
    static let rowLimit = 1000
    private static let byteLimit = 256 * 1024

    /// From src/include/catalog/pg_type.dat; they never change.
    private enum TypeID {
        static let int2: UInt32 = 21
        static let int4: UInt32 = 23
        static let text: UInt32 = 25
        static let tid: UInt32 = 27
        static let xid: UInt32 = 28
        static let uuid: UInt32 = 2950
        static let jsonb: UInt32 = 3802
    }

    private static let countOffset = 12

    private(set) var bytes: [UInt8] = []
    private(set) var count = 0
    private let type: UInt32

    /// Makes the type on a connection that was just opened.
    init(_ connection: Connection) throws(PostgresError) {
        try connection.execute(Self.createType)
        let found = try connection.query("SELECT 'pg_temp.contact_row'::regtype::oid::int8")
        type = UInt32(truncatingIfNeeded: found.int64(0, 0) ?? 0)
        removeAll()
    }

    var isFull: Bool { count >= Self.rowLimit || bytes.count >= Self.byteLimit }

    mutating func removeAll() {
        // A large contact must not leave its memory here.
        bytes.removeAll(keepingCapacity: bytes.capacity <= 2 * Self.byteLimit)
        count = 0
        append(Int32(1))
        append(Int32(0))
        append(type)
        append(Int32(0))
        append(Int32(1))
    }

    mutating func append(_ slot: UpsertBatch.Slot, _ memory: WorkMemory) {
        let row = UnsafeRawPointer(memory.base + slot.row)
        let byteCount = Self.elementByteCount(row, isNew: slot.isNew)
        bytes.grow(by: byteCount) { Self.write(slot, row, byteCount, to: $0) }
        count += 1
        let total = Int32(count).bigEndian
        bytes.withUnsafeMutableBytes {
            $0.storeBytes(of: total, toByteOffset: Self.countOffset, as: Int32.self)
        }
    }

    /// What stands before the texts: the element's length, its number of columns, and the three
    /// columns of fixed length.
    private static let fixedByteCount = 54

    /// A column has its type in front of what it is in the row.
    private static func elementByteCount(_ row: UnsafeRawPointer, isNew: Bool) -> Int {
        fixedByteCount + 4 * RowLayout.listsColumn
            + RowLayout.tableByteCount(row) - RowLayout.columnsOffset
            + (isNew ? 16 : 26)
    }

    /// Writes an element, all of its bytes: some thirty values, for which an array would be asked
    /// for room each time.
    private static func write(
        _ slot: UpsertBatch.Slot, _ row: UnsafeRawPointer, _ byteCount: Int,
        to start: UnsafeMutableRawPointer
    ) {
        RowLayout.store(Int32(truncatingIfNeeded: byteCount - 4), start, 0)
        RowLayout.store(Int32(13), start, 4)
        RowLayout.store(TypeID.int4, start, 8)
        RowLayout.store(Int32(4), start, 12)
        RowLayout.store(slot.workspace.id, start, 16)
        RowLayout.store(TypeID.uuid, start, 20)
        RowLayout.store(Int32(16), start, 24)
        (start + 28).copyMemory(from: row + RowLayout.idOffset, byteCount: 16)
        RowLayout.store(TypeID.int2, start, 44)
        RowLayout.store(Int32(2), start, 48)
        RowLayout.store(slot.workspace.uniqueBy.rawValue, start, 52)
        var next = start + fixedByteCount
        var source = row + RowLayout.columnsOffset
        for column in 0..<RowLayout.listsColumn {
            let isText = column < RowLayout.textColumnCount
            RowLayout.store(isText ? TypeID.text : TypeID.jsonb, next, 0)
            let length = 4 + max(0, Int(RowLayout.load(source, 0, as: Int32.self)))
            (next + 4).copyMemory(from: source, byteCount: length)
            next += 4 + length
            source += length
        }
        writeVersion(slot, to: next)
    }

    private static func writeVersion(
        _ slot: UpsertBatch.Slot, to start: UnsafeMutableRawPointer
    ) {
        RowLayout.store(TypeID.tid, start, 0)
        if slot.isNew {
            RowLayout.store(Int32(-1), start, 4)
            RowLayout.store(TypeID.xid, start, 8)
            RowLayout.store(Int32(-1), start, 12)
            return
        }
        RowLayout.store(Int32(6), start, 4)
        RowLayout.store(slot.place.block, start, 8)
        RowLayout.store(slot.place.item, start, 12)
        RowLayout.store(TypeID.xid, start, 14)
        RowLayout.store(Int32(4), start, 18)
        RowLayout.store(slot.version, start, 22)
    }

    private mutating func append(_ value: some FixedWidthInteger) {
        withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
    }
}

/// Where a row stands in its table: PostgreSQL's ctid.
struct RowPlace: Equatable {
    var block: UInt32 = 0
    var item: UInt16 = 0

    init() {}

    /// Six bytes (tidsend in src/backend/utils/adt/tid.c).
    init(tid: ColumnBytes) {
        guard let start = tid.start, tid.count == 6 else { return }
        block = RowLayout.load(start, 0, as: UInt32.self)
        item = RowLayout.load(start, 4, as: UInt16.self)
    }
}
