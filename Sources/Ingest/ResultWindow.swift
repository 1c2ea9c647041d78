// The contacts of one call that have no answer yet, in sequence order.
//
// In: sequence numbers as contacts are taken, outcomes in any order. Out: outcomes in sequence
// order, each once. Pure; event loop thread. A ring that grows to what the call has in flight.

package import Contacts

package struct ResultWindow {
    /// What became of one contact.
    package enum Answer {
        case stored(UpsertStatus, ContactID)
        case failed(ContactError)
    }

    private struct Slot {
        var status: UpsertStatus?
        var id: ContactID
    }

    private var slots: [Slot]
    private var decidedCount = 0
    private var errors: [UInt64: ContactError] = [:]
    /// The number of the oldest contact without an answer; all before it are answered.
    package private(set) var first: UInt64
    /// The number that the next contact gets.
    package private(set) var next: UInt64

    private static let empty = Slot(status: nil, id: ContactID(high: 0, low: 0))

    /// - Parameter first: The number of the first contact.
    package init(first: UInt64 = 1) {
        self.first = first
        next = first
        slots = Array(repeating: Self.empty, count: 16)
    }

    /// Contacts taken and not answered.
    package var count: Int { Int(next - first) }

    package var isEmpty: Bool { next == first }

    /// Whether the oldest contact is decided.
    package var hasAnswer: Bool { !isEmpty && slots[place(first)].status != nil }

    /// Whether every contact is decided.
    package var isDecided: Bool { decidedCount == count }

    /// Takes a contact in.
    ///
    /// - Returns: Its number.
    package mutating func open() -> UInt64 { open(count: 1) }

    /// Takes contacts in.
    ///
    /// - Returns: The number of the first; those of the others follow it.
    package mutating func open(count opened: Int) -> UInt64 {
        while count + opened > slots.count { grow() }
        let sequence = next
        next += UInt64(opened)
        for sequence in sequence..<next { slots[place(sequence)].status = nil }
        return sequence
    }

    /// Decides a contact that did not fail.
    package mutating func settle(_ sequence: UInt64, _ status: UpsertStatus, _ id: ContactID) {
        precondition(sequence >= first && sequence < next, "contact \(sequence) is not open")
        let place = place(sequence)
        precondition(slots[place].status == nil, "contact \(sequence) is decided")
        slots[place] = Slot(status: status, id: id)
        decidedCount += 1
    }

    /// Decides the contacts of a block that have an outcome.
    package mutating func settle(_ outcome: BlockOutcome) {
        var errors = outcome.errors[...]
        for index in outcome.entries.indices {
            let entry = outcome.entries[index]
            if let (place, error) = errors.first, place == index {
                fail(entry.sequence, error)
                errors.removeFirst()
            } else {
                settle(entry.sequence, entry.status, entry.id)
            }
        }
    }

    /// Decides a contact that failed.
    package mutating func fail(_ sequence: UInt64, _ error: ContactError) {
        settle(sequence, .failed, ContactID(high: 0, low: 0))
        errors[sequence] = error
    }

    /// The answer of the oldest contact, once it is decided.
    package mutating func popFirst() -> (sequence: UInt64, answer: Answer)? {
        guard !isEmpty, let status = slots[place(first)].status else { return nil }
        let sequence = first
        let id = slots[place(first)].id
        first += 1
        decidedCount -= 1
        if status == .failed, let error = errors.removeValue(forKey: sequence) {
            return (sequence, .failed(error))
        }
        return (sequence, .stored(status, id))
    }

    private func place(_ sequence: UInt64) -> Int {
        Int(truncatingIfNeeded: sequence) & (slots.count - 1)
    }

    private mutating func grow() {
        var larger = Array(repeating: Self.empty, count: slots.count * 2)
        for sequence in first..<next {
            larger[Int(truncatingIfNeeded: sequence) & (larger.count - 1)] = slots[place(sequence)]
        }
        slots = larger
    }
}
