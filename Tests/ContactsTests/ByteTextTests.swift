// The looks at eight bytes at a time against looks at each byte.
// In: each byte at each place of texts of all short lengths. Out: expectations, no side effects.
// Any thread; the suites run in parallel.

import Testing

@testable import Contacts

@Suite struct ByteTextTests {
    /// Up to two whole words and all rests.
    private let counts = 1...23

    @Test func theEmptyTextIsPlain() {
        let none: [UInt8] = []
        #expect(ByteText.isPlain(none.span) && ByteText.isPlainJSON(none.span))
    }

    @Test func aByteIsSeenAtEachPlace() {
        for count in counts {
            for place in 0..<count {
                for byte in UInt8.min...UInt8.max {
                    // Between the lowest and the highest of the plain bytes, which carry and borrow.
                    for filler: UInt8 in [0x20, 0x61, 0x7F] {
                        var text = [UInt8](repeating: filler, count: count)
                        text[place] = byte
                        let isPlain = byte != 0 && byte < 0x80
                        let isJSON = byte >= 0x20 && byte < 0x80 && byte != 0x22 && byte != 0x5C
                        #expect(ByteText.isPlain(text.span) == isPlain, "\(text)")
                        #expect(ByteText.isPlainJSON(text.span) == isJSON, "\(text)")
                    }
                }
            }
        }
    }

    @Test func whatIsWrittenFollowsWhatIsThere() {
        var bytes: [UInt8] = []
        var expected: [UInt8] = []
        for count in 0...300 {
            let text = (0..<count).map { UInt8(truncatingIfNeeded: $0) }
            bytes.append(text.span)
            // Fewer than there is room for.
            bytes.write(upTo: 10) { start in
                var end = ByteCursor(start)
                end.put("ab")
                end.put(0x63)
                return end.count(from: start)
            }
            expected += text + [0x61, 0x62, 0x63]
        }
        #expect(bytes == expected)
    }

    @Test func aVarintHasAsManyBytesAsItsLengthSays() {
        let powers = (0..<64).map { UInt64(1) << UInt64($0) }
        for value in powers + powers.map({ $0 - 1 }) + [UInt64.max] {
            var bytes: [UInt8] = []
            bytes.write(upTo: Varint.maxByteCount) { start in
                var end = ByteCursor(start)
                end.put(varint: value)
                return end.count(from: start)
            }
            #expect(bytes.count == Varint.byteCount(value))
            let read = bytes.reversed().reduce(UInt64(0)) { $0 << 7 | UInt64($1 & 0x7F) }
            #expect(read == value)
        }
    }
}
