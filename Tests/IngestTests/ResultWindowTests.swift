// The window of answers: what it gives back, and what it keeps of errors.

import Contacts
import TestSupport
import Testing

@testable import Ingest

@Suite
struct ResultWindowTests {
    private static func error(_ number: Int) -> ContactError {
        ContactError(reasonText: "REASON_\(number)", field: "email", message: "it is bad")
    }

    @Test
    func `Errors of one kind in a row are kept once`() {
        var errors = SharedErrors()
        let places = (0..<10_000).map { _ in errors.add(Self.error(1)) }
        #expect(errors.distinctCount == 1)
        let other = errors.add(Self.error(2))
        #expect(errors.distinctCount == 2)
        for place in places {
            let error = errors.remove(place)
            #expect(error == Self.error(1))
        }
        #expect(errors.distinctCount == 1)
        let last = errors.remove(other)
        #expect(last == Self.error(2))
        #expect(errors.distinctCount == 0)
    }

    @Test(arguments: 0..<20 as Range<UInt64>)
    func `Every contact gets its own error back`(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var window = ResultWindow()
        var expected: [UInt64: Int] = [:]
        var undecided: [UInt64] = []
        for _ in 0..<3_000 {
            switch Int.random(in: 0..<3, using: &random) {
            case 0: undecided.append(window.open())
            case 1 where !undecided.isEmpty:
                let place = Int.random(in: undecided.indices, using: &random)
                let sequence = undecided.remove(at: place)
                let number = Int.random(in: 0..<4, using: &random)
                expected[sequence] = number
                if number == 0 {
                    window.settle(sequence, .created, ContactID(high: .max, low: sequence))
                } else {
                    window.fail(sequence, Self.error(number))
                }
            default:
                guard let (sequence, answer) = window.popFirst() else { continue }
                let number = expected.removeValue(forKey: sequence)
                switch answer {
                case .stored(_, let id):
                    #expect(number == 0 && id.low == sequence)
                case .failed(let error):
                    #expect(error == Self.error(number ?? -1))
                }
            }
        }
    }
}
