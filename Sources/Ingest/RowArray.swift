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
        let view = RowView(memory.base + slot.row)
        let element = bytes.count
        append(Int32(0))
        append(Int32(13))
        append(TypeID.int4)
        append(Int32(4))
        append(slot.workspace.id)
        append(TypeID.uuid)
        append(Int32(16))
        append(view.row + RowLayout.idOffset, 16)
        append(TypeID.int2)
        append(Int32(2))
        append(slot.workspace.uniqueBy.rawValue)
        for column in 0..<RowLayout.listsColumn {
            append(column < RowLayout.textColumnCount ? TypeID.text : TypeID.jsonb)
            append(view.columns[column])
        }
        appendVersion(slot)
        let length = Int32(bytes.count - element - 4).bigEndian
        bytes.withUnsafeMutableBytes {
            $0.storeBytes(of: length, toByteOffset: element, as: Int32.self)
        }
        count += 1
        let total = Int32(count).bigEndian
        bytes.withUnsafeMutableBytes {
            $0.storeBytes(of: total, toByteOffset: Self.countOffset, as: Int32.self)
        }
    }

    private mutating func appendVersion(_ slot: UpsertBatch.Slot) {
        append(TypeID.tid)
        append(slot.isNew ? Int32(-1) : 6)
        if !slot.isNew {
            append(slot.place.block)
            append(slot.place.item)
        }
        append(TypeID.xid)
        append(slot.isNew ? Int32(-1) : 4)
        if !slot.isNew { append(slot.version) }
    }

    private mutating func append(_ column: ColumnBytes) {
        guard let start = column.start else { return append(Int32(-1)) }
        append(Int32(column.count))
        append(start, column.count)
    }

    private mutating func append(_ value: some FixedWidthInteger) {
        withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
    }

    private mutating func append(_ start: UnsafeRawPointer, _ count: Int) {
        bytes.append(contentsOf: UnsafeRawBufferPointer(start: start, count: count))
    }
}

/// Where a row stands in its table: PostgreSQL's ctid.
struct RowPlace: Equatable {
    var block: UInt32 = 0
    var item: UInt16 = 0

    init() {}

    /// Six bytes (tidsend in src/backend/utils/adt/tid.c).
    init(tid: UnsafeRawBufferPointer) {
        guard let start = tid.baseAddress, tid.count == 6 else { return }
        block = RowLayout.load(start, 0, as: UInt32.self)
        item = RowLayout.load(start, 4, as: UInt16.self)
    }
}
