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
    private var errors = SharedErrors()
    /// The number of the oldest contact without an answer; all before it are answered.
    package private(set) var first: UInt64
    /// The number that the next contact gets.
    package private(set) var next: UInt64

    /// A contact that failed has no id; its slot has the place of its error there.
    private static let withError = UInt64.max
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
        let place = errors.add(error)
        settle(sequence, .failed, ContactID(high: Self.withError, low: UInt64(place)))
    }

    /// The answer of the oldest contact, once it is decided.
    package mutating func popFirst() -> (sequence: UInt64, answer: Answer)? {
        guard !isEmpty, let status = slots[place(first)].status else { return nil }
        let sequence = first
        let id = slots[place(first)].id
        first += 1
        decidedCount -= 1
        if status == .failed, id.high == Self.withError {
            return (sequence, .failed(errors.remove(Int(id.low))))
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

/// Errors of contacts, those that come one after another and are the same kept once: a caller that
/// sends thousands of contacts of one fault must not make each take what an error takes.
struct SharedErrors {
    private struct Entry {
        var error: ContactError
        var count: Int
    }

    private var entries: [Entry] = []
    /// Entries of no contact.
    private var free: [Int] = []
    private var last = 0

    /// How many differ, or came apart from each other.
    var distinctCount: Int { entries.count - free.count }

    /// - Returns: Its place, for `remove`.
    mutating func add(_ error: ContactError) -> Int {
        if last < entries.count, entries[last].count > 0, entries[last].error == error {
            entries[last].count += 1
            return last
        }
        if let place = free.popLast() {
            entries[place] = Entry(error: error, count: 1)
            last = place
        } else {
            last = entries.count
            entries.append(Entry(error: error, count: 1))
        }
        return last
    }

    /// Gives the error of a place out once; as often as it was added there.
    mutating func remove(_ place: Int) -> ContactError {
        let error = entries[place].error
        entries[place].count -= 1
        if entries[place].count == 0 { free.append(place) }
        if free.count == entries.count {
            entries = []
            free = []
        }
        return error
    }
}
