// The budget of the arena that messages are decoded into, at its edge.
// In: sizes. Out: expectations, no side effects. Any thread; the suites run in parallel.

import Testing

@testable import Contacts

@Suite struct ArenaTests {
    /// Sixteen bytes each, over several blocks, the last one larger than what is left.
    @Test(arguments: [1, 64, 100, 4096]) func aBudgetIsTakenToTheLastByte(blockByteCount: Int) {
        let arena = Arena(budget: 160, blockByteCount: blockByteCount)
        for _ in 0..<3 {
            #expect(arena.allocate(byteCount: 100) != nil)
            for _ in 0..<3 { #expect(arena.allocate(byteCount: 1) != nil) }
            #expect(!arena.isExhausted)
            #expect(arena.allocate(byteCount: 1) == nil)
            #expect(arena.isExhausted)
            #expect(arena.allocate(byteCount: 1) == nil)
            arena.reset()
            #expect(!arena.isExhausted)
        }
    }

    @Test func whatIsGivenOutDoesNotOverlap() {
        let arena = Arena(budget: .max, blockByteCount: 64)
        var places: [(start: UInt, end: UInt)] = []
        for byteCount in 1...200 {
            guard let memory = arena.allocate(byteCount: byteCount) else { continue }
            memory.initializeMemory(as: UInt8.self, repeating: 0xFF, count: byteCount)
            let start = UInt(bitPattern: memory)
            #expect(start % 16 == 0)
            #expect(places.allSatisfy { $0.end <= start || $0.start >= start + UInt(byteCount) })
            places.append((start, start + UInt(byteCount)))
        }
        #expect(places.count == 200)
    }
}
