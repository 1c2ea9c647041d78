// Random numbers that can be had again. In: a seed. Out: SplitMix64's sequence for it. A value;
// any thread. TEST_SEED in the environment repeats a failed run.
// Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.

import Foundation

package struct SeededRandom: RandomNumberGenerator, CustomStringConvertible, Sendable {
    package let seed: UInt64
    private var state: UInt64

    package init(seed: UInt64) {
        self.seed = seed
        state = seed
    }

    /// The seed of TEST_SEED, or a new one.
    package init() {
        let wanted = ProcessInfo.processInfo.environment["TEST_SEED"].flatMap { UInt64($0) }
        self.init(seed: wanted ?? UInt64.random(in: 0...UInt64.max))
    }

    /// For the comment of an expectation: `#expect(found == model, "\(random)")`.
    package var description: String { "repeat with TEST_SEED=\(seed)" }

    package mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }

    /// Runs `body` and prints the seed if it throws.
    package static func run<Value>(
        _ body: (inout SeededRandom) throws -> Value
    ) rethrows -> Value {
        var random = SeededRandom()
        do {
            return try body(&random)
        } catch {
            print("failed, \(random)")
            throw error
        }
    }
}
