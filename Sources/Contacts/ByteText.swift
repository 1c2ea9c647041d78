// Bytes written to the end of an array, and looked at eight at a time.
// In: spans and numbers. Out: bytes, or what kinds of bytes a text has.
// Pure functions, any thread. A contact has some twenty texts of a few bytes each: what counts is the
// work around each of them, so an array is grown once for all that is written together.

extension [UInt8] {
    /// Appends what `body` writes; it gets room for as many bytes and tells how many it wrote.
    @inline(__always)
    mutating func write(upTo byteCount: Int, _ body: (UnsafeMutablePointer<UInt8>) -> Int) {
        // The one array without elements is everybody's, and would be written to.
        guard byteCount > 0 else { return }
        append(addingCapacity: byteCount) { output in
            output.withUnsafeMutableBufferPointer { buffer, count in
                precondition(buffer.count >= byteCount, "there is room for what is written")
                if let start = buffer.baseAddress { count = body(start) }
            }
        }
    }

    mutating func append(_ span: Span<UInt8>) {
        write(upTo: span.count) { start in
            var end = ByteCursor(start)
            end.put(span)
            return end.count(from: start)
        }
    }
}

/// Where the next byte is written. Whoever makes one has made room.
struct ByteCursor {
    private(set) var next: UnsafeMutablePointer<UInt8>

    @inline(__always)
    init(_ start: UnsafeMutablePointer<UInt8>) { next = start }

    @inline(__always)
    func count(from start: UnsafeMutablePointer<UInt8>) -> Int { next - start }

    @inline(__always)
    mutating func put(_ byte: UInt8) {
        next.pointee = byte
        next += 1
    }

    @inline(__always)
    mutating func put(_ span: Span<UInt8>) {
        span.withUnsafeBufferPointer { bytes in
            guard let start = bytes.baseAddress else { return }
            next.update(from: start, count: bytes.count)
            next += bytes.count
        }
    }

    /// As many bytes were written by somebody else.
    @inline(__always)
    mutating func skip(_ byteCount: Int) { next += byteCount }

    @inline(__always)
    mutating func put(_ text: StaticString) {
        next.update(from: text.utf8Start, count: text.utf8CodeUnitCount)
        next += text.utf8CodeUnitCount
    }
}

/// Tells the texts that need no work from the others.
enum ByteText {
    private static let ones: UInt64 = 0x0101_0101_0101_0101
    private static let high: UInt64 = 0x8080_8080_8080_8080

    /// ASCII without NUL.
    @inline(__always)
    static func isPlain(_ input: Span<UInt8>) -> Bool {
        allWords(input) { word in
            // As long as no byte has its high bit, taking 1 from each sets one only below NUL.
            (word | (word &- ones)) & high == 0
        }
    }

    /// ASCII that JSON writes as it is: no control characters, quotes and backslashes.
    @inline(__always)
    static func isPlainJSON(_ input: Span<UInt8>) -> Bool {
        allWords(input) { word in
            let control = word &- ones &* 0x20
            let quote = (word ^ (ones &* 0x22)) &- ones
            let backslash = (word ^ (ones &* 0x5C)) &- ones
            return (word | control | quote | backslash) & high == 0
        }
    }

    /// Whether a test of eight bytes at once holds everywhere. The last ones are looked at together
    /// with some that have been before, or repeated until they are eight.
    @inline(__always)
    private static func allWords(_ input: Span<UInt8>, _ test: (UInt64) -> Bool) -> Bool {
        input.withUnsafeBytes { bytes in
            let count = bytes.count
            if count < 8 { return count == 0 || test(shortWord(bytes)) }
            var index = 0
            while index + 8 <= count {
                if !test(bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)) {
                    return false
                }
                index += 8
            }
            return test(bytes.loadUnaligned(fromByteOffset: count - 8, as: UInt64.self))
        }
    }

    /// One to seven bytes, some of them twice.
    @inline(__always)
    private static func shortWord(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        let count = bytes.count
        if count >= 4 {
            let first = bytes.loadUnaligned(as: UInt32.self)
            let last = bytes.loadUnaligned(fromByteOffset: count - 4, as: UInt32.self)
            return UInt64(first) << 32 | UInt64(last)
        }
        return UInt64(bytes[0]) &* ones & ~0xFFFF
            | UInt64(bytes[count / 2]) << 8 | UInt64(bytes[count - 1])
    }
}
