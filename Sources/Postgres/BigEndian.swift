// Integers in the byte order of PostgreSQL's binary formats (network order). In: an integer. Out:
// its bytes at the end of a buffer. Pure, any thread; inlined into the callers, which write some
// twenty of these for each row.

@usableFromInline
enum BigEndian {
    @inlinable
    static func append<Value: FixedWidthInteger>(_ value: Value, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
    }

    /// The length of a field or element; PostgreSQL stores none over 1 GB.
    @inlinable
    static func appendLength(_ count: Int, to bytes: inout [UInt8]) {
        append(Int32(count), to: &bytes)
    }

    @inlinable
    static func append(_ field: RawSpan, to bytes: inout [UInt8]) {
        field.withUnsafeBytes { bytes.append(contentsOf: $0) }
    }
}
