// A contact's id: a UUID of version 7, made by the server. Pure values, any thread.

/// A UUID as two words, the most significant first.
package struct ContactID: Sendable, Hashable {
    package var high: UInt64
    package var low: UInt64

    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// Reads the text form of RFC 9562 section 4, in upper or lower case; `nil` if it is not one.
    package init?(_ text: String) {
        var text = text
        guard let id = text.withUTF8({ ContactID(utf8: $0) }) else { return nil }
        self = id
    }

    init?(utf8: UnsafeBufferPointer<UInt8>) {
        guard utf8.count == Self.textByteCount else { return nil }
        guard let id = ContactID(lowerCase: UnsafeRawBufferPointer(utf8)) ?? ContactID(digits: utf8)
        else { return nil }
        self = id
    }

    /// Reads the text form as `write` has it, eight digits at a time; `nil` for any other text.
    ///
    /// - Parameter text: 36 bytes.
    @inline(__always)
    init?(lowerCase text: UnsafeRawBufferPointer) {
        let hyphen = UInt8(ascii: "-")
        guard text[8] == hyphen, text[13] == hyphen, text[18] == hyphen, text[23] == hyphen
        else { return nil }
        let digits = (
            Self.word(text, 0), Self.word(text, 9, 14), Self.word(text, 19, 24),
            Self.word(text, 28)
        )
        let high = Self.bits(digits.0) << 32 | Self.bits(digits.1)
        let low = Self.bits(digits.2) << 32 | Self.bits(digits.3)
        // What is no digit gives other bits, whose digits are not what was read.
        guard Self.hexadecimal(high >> 32) == digits.0,
            Self.hexadecimal(high & 0xFFFF_FFFF) == digits.1,
            Self.hexadecimal(low >> 32) == digits.2,
            Self.hexadecimal(low & 0xFFFF_FFFF) == digits.3
        else { return nil }
        self.init(high: high, low: low)
    }

    @inline(__always)
    private static func word(_ text: UnsafeRawBufferPointer, _ offset: Int) -> UInt64 {
        UInt64(bigEndian: text.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    /// Four characters from one place and four from another.
    @inline(__always)
    private static func word(
        _ text: UnsafeRawBufferPointer, _ first: Int, _ second: Int
    ) -> UInt64 {
        let first = UInt32(bigEndian: text.loadUnaligned(fromByteOffset: first, as: UInt32.self))
        let second = UInt32(bigEndian: text.loadUnaligned(fromByteOffset: second, as: UInt32.self))
        return UInt64(first) << 32 | UInt64(second)
    }

    /// The 32 bits of eight digits; the inverse of `hexadecimal`. Always below 2^32.
    @inline(__always)
    private static func bits(_ digits: UInt64) -> UInt64 {
        let letters = digits >> 6 & 0x0101_0101_0101_0101
        var nibbles = (digits & 0x0F0F_0F0F_0F0F_0F0F) + letters * 9
        nibbles = (nibbles | nibbles >> 4) & 0x00FF_00FF_00FF_00FF
        nibbles = (nibbles | nibbles >> 8) & 0x0000_FFFF_0000_FFFF
        return (nibbles | nibbles >> 16) & 0xFFFF_FFFF
    }

    /// Digits of either case, one at a time.
    private init?(digits utf8: UnsafeBufferPointer<UInt8>) {
        var words: (UInt64, UInt64) = (0, 0)
        var digitCount = 0
        for (index, byte) in utf8.enumerated() {
            if index == 8 || index == 13 || index == 18 || index == 23 {
                guard byte == UInt8(ascii: "-") else { return nil }
                continue
            }
            guard let digit = Self.digit(byte) else { return nil }
            if digitCount < 16 {
                words.0 = words.0 << 4 | UInt64(digit)
            } else {
                words.1 = words.1 << 4 | UInt64(digit)
            }
            digitCount += 1
        }
        self.init(high: words.0, low: words.1)
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    /// The length of the text form.
    package static let textByteCount = 36

    /// Writes the text form, in lower case, to 36 bytes.
    func write(to output: UnsafeMutablePointer<UInt8>) {
        let output = UnsafeMutableRawPointer(output)
        let hyphen = UInt8(ascii: "-")
        let parts = (
            Self.hexadecimal(high >> 32), Self.hexadecimal(high & 0xFFFF_FFFF),
            Self.hexadecimal(low >> 32), Self.hexadecimal(low & 0xFFFF_FFFF)
        )
        output.storeBytes(of: parts.0.bigEndian, as: UInt64.self)
        output.storeBytes(of: hyphen, toByteOffset: 8, as: UInt8.self)
        Self.store(parts.1, around: hyphen, output + 9)
        output.storeBytes(of: hyphen, toByteOffset: 18, as: UInt8.self)
        Self.store(parts.2, around: hyphen, output + 19)
        output.storeBytes(of: parts.3.bigEndian, toByteOffset: 28, as: UInt64.self)
    }

    /// Writes four digits, a mark and four digits.
    private static func store(
        _ digits: UInt64, around mark: UInt8, _ output: UnsafeMutableRawPointer
    ) {
        output.storeBytes(of: UInt32(digits >> 32).bigEndian, as: UInt32.self)
        output.storeBytes(of: mark, toByteOffset: 4, as: UInt8.self)
        output.storeBytes(
            of: UInt32(truncatingIfNeeded: digits).bigEndian, toByteOffset: 5, as: UInt32.self)
    }

    /// The eight digits of 32 bits, the first one in the highest byte.
    @inline(__always)
    private static func hexadecimal(_ bits: UInt64) -> UInt64 {
        // A byte for each nibble; the digits over 9 are 39 characters further than the others.
        var nibbles = (bits << 16 | bits) & 0x0000_FFFF_0000_FFFF
        nibbles = (nibbles << 8 | nibbles) & 0x00FF_00FF_00FF_00FF
        nibbles = (nibbles << 4 | nibbles) & 0x0F0F_0F0F_0F0F_0F0F
        let letters = (nibbles + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101
        return nibbles + 0x3030_3030_3030_3030 + letters * 39
    }
}

extension ContactID: CustomStringConvertible {
    package var description: String {
        String(unsafeUninitializedCapacity: Self.textByteCount) { buffer in
            guard let start = buffer.baseAddress else { return 0 }
            write(to: start)
            return Self.textByteCount
        }
    }
}

/// Makes ids that grow: RFC 9562 section 6.2, method 2 (monotonic random). Within a millisecond the
/// random part grows by a random step, so that ids of one maker keep the order of their making and
/// neighbours in time are neighbours in the index.
package struct ContactIDGenerator {
    private var milliseconds: UInt64 = 0
    private var randomHigh: UInt64 = 0  // 12 bits
    private var randomLow: UInt64 = 0  // 62 bits
    private var state: UInt64

    package init(seed: UInt64 = .random(in: .min ... .max)) {
        state = seed
    }

    /// Moves the clock; going back is ignored.
    ///
    /// - Parameter milliseconds: The time since 1970.
    package mutating func advance(to milliseconds: UInt64) {
        guard milliseconds > self.milliseconds else { return }
        self.milliseconds = milliseconds
        // The top bit starts at 0, which leaves room to grow within the millisecond.
        randomHigh = random() & 0x7FF
        randomLow = random() & Self.lowMask
    }

    /// The next id, greater than all before it.
    package mutating func next() -> ContactID {
        randomLow += random() & 0xFFFF_FFFF | 1
        if randomLow > Self.lowMask {
            randomLow &= Self.lowMask
            randomHigh += 1
            if randomHigh > 0xFFF {
                randomHigh = 0
                milliseconds += 1
            }
        }
        return ContactID(
            high: milliseconds << 16 | 0x7000 | randomHigh, low: 0x8000_0000_0000_0000 | randomLow)
    }

    private static let lowMask: UInt64 = (1 << 62) - 1

    /// SplitMix64: ids must not collide, they need not be secret.
    private mutating func random() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
        return word ^ (word >> 31)
    }
}
