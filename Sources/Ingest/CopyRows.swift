// Rows in the form of a binary COPY (PostgreSQL, COPY, "Binary Format"), of tables other than
// contacts, whose rows RowLayout has.
//
// In: values. Out: bytes, sent whenever enough have gathered. One lane's thread.

internal import Postgres

struct CopyRows {
    var bytes = CopyIn.header

    mutating func begin(columnCount: Int16) { integer(columnCount) }

    /// A column of an integer type, or of a type that has the form of one.
    mutating func field(_ value: some FixedWidthInteger) {
        integer(Int32(value.bitWidth / 8))
        integer(value)
    }

    mutating func text(_ text: String) {
        integer(Int32(text.utf8.count))
        bytes.append(contentsOf: text.utf8)
    }

    mutating func integer(_ value: some FixedWidthInteger) {
        withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
    }

    mutating func copy(_ start: UnsafeRawPointer, _ count: Int) {
        bytes.append(contentsOf: UnsafeRawBufferPointer(start: start, count: count))
    }
}

extension CopyIn {
    /// Sends what has gathered once it is worth a system call.
    mutating func writeIfFull(_ chunk: inout [UInt8]) throws(PostgresError) {
        guard chunk.count >= Self.chunkByteLimit else { return }
        try write(chunk)
        chunk.removeAll(keepingCapacity: true)
    }

    /// Sends the rest and the trailer of the binary format.
    consuming func finish(_ chunk: inout [UInt8]) throws(PostgresError) {
        chunk.append(contentsOf: Self.trailer)
        try write(chunk)
        _ = try finish()
    }
}
