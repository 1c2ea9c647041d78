// The set of decided contacts against a plain set of numbers.

import Ingest
import Testing
import TestSupport

@Suite struct SequenceSetTests {
    @Test(arguments: UInt64(1)...20)
    func itIsAPlainSet(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var plain: Set<UInt64> = []
        var set = SequenceSet(through: UInt64.random(in: 0...100, using: &random))
        plain.formUnion(1..<(set.base + 1))
        for _ in 0..<60 {
            switch Int.random(in: 0..<10, using: &random) {
            case 0:
                let through = UInt64.random(in: 0...500, using: &random)
                set.fill(through: through)
                plain.formUnion(1..<(through + 1))
            case 1:
                var other = SequenceSet(through: UInt64.random(in: 0...200, using: &random))
                let number = UInt64.random(in: 1...600, using: &random)
                other.insert(number)
                plain.formUnion(1..<(other.base + 1))
                plain.insert(number)
                set.formUnion(other)
            default:
                let number = UInt64.random(in: 1...600, using: &random)
                set.insert(number)
                plain.insert(number)
            }
            set = SequenceSet(through: set.base, bytes: set.bytes)
            for number in UInt64(0)...700 {
                #expect(set.contains(number) == plain.contains(number), "\(seed): \(number)")
            }
            let gap = (UInt64(1)...701).first { !plain.contains($0) } ?? 0
            #expect(set.through == gap - 1)
        }
    }

    @Test func numbersAtTheEdgeOfAWord() {
        for base in [UInt64(0), 1, 63, 64, 65, 1 << 40] {
            var set = SequenceSet(through: base)
            for offset in [UInt64(64), 65, 128, 1] { set.insert(base + offset) }
            #expect(set.through == base + 1)
            set.fill(through: base + 64)
            #expect(set.through == base + 65)
            #expect(!set.contains(base + 66) && set.contains(base + 128))
        }
    }
}
