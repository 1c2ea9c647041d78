// Builds a one-dimensional array parameter in binary. In: elements, as raw bytes. Out: the value
// of one parameter, by `Parameters.append(_:)`. Pure, any thread. Reused: `removeAll` keeps the
// memory, and an element costs a copy of its bytes, no allocation. Also reads integers back.
// Layout (array_recv in src/backend/utils/adt/arrayfuncs.c):
//   int32 dimensions, int32 has-NULL flag, int32 element type, [int32 count, int32 lower bound],
//   then per element: int32 byte count (-1: NULL), bytes

package struct BinaryArray: Sendable {
    /// Object ids from src/include/catalog/pg_type.dat; they never change.
    package enum Element: UInt32, Sendable {
        case bool = 16
        case bytea = 17
        case int64 = 20
        case int16 = 21
        case int32 = 23
        case text = 25
        case timestamptz = 1184
        case uuid = 2950

        var arrayType: UInt32 {
            switch self {
            case .bool: 1000
            case .bytea: 1001
            case .int64: 1016
            case .int16: 1005
            case .int32: 1007
            case .text: 1009
            case .timestamptz: 1185
            case .uuid: 2951
            }
        }
    }

    package let element: Element
    @usableFromInline var elements: [UInt8] = []
    @usableFromInline var elementCount = 0
    @usableFromInline var hasNull = false

    package init(of element: Element) {
        self.element = element
    }

    @inlinable package var count: Int { elementCount }

    @inlinable
    package mutating func removeAll() {
        elements.removeAll(keepingCapacity: true)
        elementCount = 0
        hasNull = false
    }

    @inlinable
    package mutating func append(_ bytes: RawSpan) {
        BigEndian.appendLength(bytes.byteCount, to: &elements)
        BigEndian.append(bytes, to: &elements)
        elementCount += 1
    }

    @inlinable
    package mutating func append(_ bytes: [UInt8]) {
        append(bytes.span.bytes)
    }

    @inlinable
    package mutating func append(_ bytes: ArraySlice<UInt8>) {
        append(bytes.span.bytes)
    }

    @inlinable
    package mutating func append(text: String) {
        BigEndian.appendLength(text.utf8.count, to: &elements)
        elements.append(contentsOf: text.utf8)
        elementCount += 1
    }

    @inlinable
    package mutating func append(uuid value: UInt128) {
        appendInteger(value)
    }

    @inlinable
    package mutating func append(bool value: Bool) {
        appendInteger(UInt8(value ? 1 : 0))
    }

    @inlinable
    package mutating func append(int16 value: Int16) {
        appendInteger(value)
    }

    @inlinable
    package mutating func append(int32 value: Int32) {
        appendInteger(value)
    }

    @inlinable
    package mutating func append(int64 value: Int64) {
        appendInteger(value)
    }

    @inlinable
    package mutating func appendNull() {
        BigEndian.append(Int32(-1), to: &elements)
        elementCount += 1
        hasNull = true
    }

    @inlinable
    mutating func appendInteger<Value: FixedWidthInteger>(_ value: Value) {
        BigEndian.appendLength(MemoryLayout<Value>.size, to: &elements)
        BigEndian.append(value, to: &elements)
        elementCount += 1
    }

    /// An empty array has no dimension at all.
    func write(to bytes: inout [UInt8]) {
        BigEndian.append(Int32(elementCount == 0 ? 0 : 1), to: &bytes)
        BigEndian.append(Int32(hasNull ? 1 : 0), to: &bytes)
        BigEndian.append(element.rawValue, to: &bytes)
        guard elementCount > 0 else { return }
        BigEndian.append(Int32(elementCount), to: &bytes)
        BigEndian.append(Int32(1), to: &bytes)
        bytes.append(contentsOf: elements)
    }

    /// The elements of a `bigint[]` that a query gave.
    static func int64s(_ bytes: UnsafeRawBufferPointer) -> [Int64] {
        let elementStart = 20
        let elementByteCount = 12
        guard bytes.count >= elementStart else { return [] }
        let kind = UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt32.self))
        precondition(kind == Element.int64.rawValue, "the array is of another type")
        let count = (bytes.count - elementStart) / elementByteCount
        return (0..<count).map { index in
            let start = elementStart + index * elementByteCount + 4
            return Int64(bigEndian: bytes.loadUnaligned(fromByteOffset: start, as: Int64.self))
        }
    }
}
