// The parameters $1, $2, ... of one statement, in binary. In: Swift values. Out: one buffer that
// libpq reads while it sends the statement. Pure, any thread. Reused: `removeAll` keeps the memory.
// `query` tells the server the types named here; a prepared statement fixed them when it was
// prepared, so cast there what the context does not decide ($1::uuid[]).
// https://www.postgresql.org/docs/15/libpq-exec.html#LIBPQ-PQEXECPARAMS

package struct Parameters: Sendable {
    /// One byte stands in front, so that even an empty text has an address: to libpq a null
    /// pointer means NULL.
    private var bytes: [UInt8] = [0]
    private var offsets: [Int] = []
    private var lengths: [Int32] = []
    private var types: [UInt32] = []
    private var formats: [Int32] = []

    package init() {}

    package var count: Int { types.count }

    /// What the values take on the wire.
    var byteCount: Int { bytes.count }

    package mutating func removeAll() {
        bytes.removeLast(bytes.count - 1)
        offsets.removeAll(keepingCapacity: true)
        lengths.removeAll(keepingCapacity: true)
        types.removeAll(keepingCapacity: true)
        formats.removeAll(keepingCapacity: true)
    }

    package mutating func append(int16 value: Int16) {
        appendInteger(value, .int16)
    }

    package mutating func append(int32 value: Int32) {
        appendInteger(value, .int32)
    }

    package mutating func append(int64 value: Int64) {
        appendInteger(value, .int64)
    }

    package mutating func append(bool value: Bool) {
        appendInteger(UInt8(value ? 1 : 0), .bool)
    }

    /// The 16 bytes of a UUID, first byte highest.
    package mutating func append(uuid value: UInt128) {
        appendInteger(value, .uuid)
    }

    /// Microseconds since 2000-01-01 00:00 UTC.
    package mutating func append(timestamptz microseconds: Int64) {
        appendInteger(microseconds, .timestamptz)
    }

    package mutating func append(text value: String) {
        let start = bytes.count
        bytes.append(contentsOf: value.utf8)
        close(from: start, BinaryArray.Element.text.rawValue)
    }

    /// UTF-8 without NUL, which the server checks (22021).
    package mutating func append(text value: RawSpan) {
        append(value, as: .text)
    }

    package mutating func append(text value: [UInt8]) {
        append(value.span.bytes, as: .text)
    }

    /// The binary form of a value whose type is named.
    package mutating func append(_ value: RawSpan, as type: BinaryArray.Element) {
        let start = bytes.count
        BigEndian.append(value, to: &bytes)
        close(from: start, type.rawValue)
    }

    /// The binary form of a value of a type that only the statement names.
    package mutating func append(binary value: [UInt8]) {
        let start = bytes.count
        bytes.append(contentsOf: value)
        close(from: start, 0)
    }

    package mutating func append(_ array: BinaryArray) {
        let start = bytes.count
        array.write(to: &bytes)
        close(from: start, array.element.arrayType)
    }

    /// Its type is inferred by the server.
    package mutating func appendNull() {
        offsets.append(0)
        lengths.append(-1)
        types.append(0)
        formats.append(1)
    }

    private mutating func appendInteger<Value: FixedWidthInteger>(
        _ value: Value, _ type: BinaryArray.Element
    ) {
        let start = bytes.count
        BigEndian.append(value, to: &bytes)
        close(from: start, type.rawValue)
    }

    private mutating func close(from start: Int, _ type: UInt32) {
        offsets.append(start)
        lengths.append(Int32(bytes.count - start))
        types.append(type)
        formats.append(1)
    }

    /// libpq's four parallel arrays, valid inside `body`.
    struct Arrays {
        let count: Int32
        let types: UnsafePointer<UInt32>?
        let values: UnsafePointer<UnsafePointer<CChar>?>?
        let lengths: UnsafePointer<Int32>?
        let formats: UnsafePointer<Int32>?
    }

    func withArrays<Result>(_ body: (Arrays) -> Result) -> Result {
        bytes.withUnsafeBytes { buffer in
            let values = zip(offsets, lengths).map { offset, length in
                length < 0
                    ? nil
                    : buffer.baseAddress.map { ($0 + offset).assumingMemoryBound(to: CChar.self) }
            }
            return values.withUnsafeBufferPointer { values in
                types.withUnsafeBufferPointer { types in
                    lengths.withUnsafeBufferPointer { lengths in
                        formats.withUnsafeBufferPointer { formats in
                            body(
                                Arrays(
                                    count: Int32(types.count), types: types.baseAddress,
                                    values: values.baseAddress, lengths: lengths.baseAddress,
                                    formats: formats.baseAddress))
                        }
                    }
                }
            }
        }
    }
}
