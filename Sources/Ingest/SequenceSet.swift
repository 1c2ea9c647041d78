// Which contacts of an import are decided: all up to one, and some beyond it.
//
// In: sequence numbers. Out: whether one is in, how far the unbroken part goes, and the form in
// which the database keeps it. A value; any thread. A bit for each number beyond, of which a call
// has at most as many as it may leave without an answer.

package struct SequenceSet: Sendable, Equatable {
    /// All numbers up to this one are in.
    package private(set) var base: UInt64
    /// Bit i, the lowest of a word first, is number base + 1 + i.
    private var words: [UInt64] = []

    package init(through base: UInt64 = 0) {
        self.base = base
    }

    /// Reads the form that `bytes` gives.
    package init(through base: UInt64, bytes: [UInt8]) {
        self.base = base
        words = Array(repeating: 0, count: (bytes.count + 7) / 8)
        for (index, byte) in bytes.enumerated() {
            words[index / 8] |= UInt64(byte) << UInt64(index % 8 * 8)
        }
    }

    package func contains(_ sequence: UInt64) -> Bool {
        guard sequence > base else { return sequence > 0 }
        let place = sequence - base - 1
        guard place / 64 < UInt64(words.count) else { return false }
        return words[Int(place / 64)] & 1 << (place % 64) != 0
    }

    package mutating func insert(_ sequence: UInt64) {
        guard sequence > base else { return }
        let place = sequence - base - 1
        let word = Int(place / 64)
        if word >= words.count {
            words.append(contentsOf: repeatElement(0, count: word + 1 - words.count))
        }
        words[word] |= 1 << (place % 64)
    }

    /// Puts all numbers up to one in.
    package mutating func fill(through sequence: UInt64) {
        guard sequence > base else { return }
        // Whole words are dropped; what is left of the way is set bit by bit.
        let whole = (sequence - base) / 64
        words.removeFirst(Int(min(whole, UInt64(words.count))))
        base += whole * 64
        for number in base..<sequence { insert(number + 1) }
    }

    /// Puts all numbers of another set in.
    package mutating func formUnion(_ other: SequenceSet) {
        fill(through: other.base)
        for (index, word) in other.words.enumerated() where word != 0 {
            for bit in 0..<64 where word & 1 << UInt64(bit) != 0 {
                insert(other.base + 1 + UInt64(index * 64 + bit))
            }
        }
    }

    /// The last number of the unbroken part.
    package var through: UInt64 {
        var through = base
        for word in words {
            let count = UInt64((~word).trailingZeroBitCount)
            through += count
            if count < 64 { break }
        }
        return through
    }

    /// The part beyond `base`: bit i, the lowest of a byte first, is number base + 1 + i.
    package var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(words.count * 8)
        for word in words {
            withUnsafeBytes(of: word.littleEndian) { bytes.append(contentsOf: $0) }
        }
        while bytes.last == 0 { bytes.removeLast() }
        return bytes
    }
}
