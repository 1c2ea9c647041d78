// Who may go on of the batches that were taken from one ordered queue.
//
// In: what happens to each of them. Out: whether it may go on. Pure: no lock, no clock; the queue
// calls it under its lock.
//
//     begin ──> load ──> mayLookUp ──> lookedUp ──> mayWrite ──> ... ──> end
//                            ^                         │ again
//                            └─────────────────────────┘
//
// Turns are counted in the order in which contacts must be applied. Batches whose footprints have
// nothing in common may be written in any order: neither reads or changes what the other changes.
// A footprint is what the contacts mention, known when they are loaded, and what stands in the
// contacts that they match, known when those are looked up. So a turn looks up only once all earlier
// ones that mention the same are over; and it writes only once all earlier ones, as they were when it
// began to look up, have looked up too and are seen to have nothing in common with it. Else it begins
// anew, after them. A turn never waits for a later one.

struct Turns {
    /// Whether a turn may write what it has applied.
    enum Passage: Equatable {
        case free
        /// An earlier one has not looked up yet.
        case wait
        /// What was looked up may not be what earlier turns leave.
        case again
    }

    private struct Turn {
        let number: UInt64
        var workspaces: Set<Int32> = []
        /// Identifiers that its contacts mention.
        var mentions: Footprint?
        /// Other identifiers of the contacts that it matches, of all its transactions so far.
        var standing = Footprint()
        /// All of its contacts were looked up once, and `standing` has what was found.
        var isLookedUp = false
        /// Earlier turns that were in work when its transaction began.
        var seen: [UInt64] = []
        /// What it looks up in this transaction may not be what those leave.
        var isSpoilt = false
        /// It waits for the end of an earlier turn.
        var isHeldUp = false
        /// It does not begin before all earlier ones have looked up.
        var isCautious = false
        var isOver = false

        /// Others may rely on its footprint.
        var isKnown: Bool { isLookedUp && !isSpoilt }
    }

    /// In order; those that are over stay as long as a later one has seen them in work.
    private var turns: [Turn] = []
    private var last: UInt64 = 0
    /// So many at most may be in work without having looked up, since the others wait for them.
    private let limit: Int

    init(limit: Int) {
        self.limit = limit
    }

    /// Whether another turn may begin now. While one is held up it would occupy a lane in vain.
    var canBegin: Bool {
        var unknown = 0
        for turn in turns where !turn.isOver {
            if turn.isHeldUp { return false }
            if !turn.isKnown { unknown += 1 }
        }
        return unknown < limit
    }

    var isEmpty: Bool { turns.allSatisfy(\.isOver) }

    /// Begins a turn, the last one so far.
    mutating func begin() -> UInt64 {
        last += 1
        turns.append(Turn(number: last))
        return last
    }

    /// Tells what the contacts mention.
    mutating func load(_ number: UInt64, _ mentions: Footprint, workspaces: Set<Int32>) {
        guard let index = index(number) else { return }
        turns[index].mentions = mentions
        turns[index].workspaces = workspaces
    }

    /// Whether the turn may begin a transaction. If so it has begun.
    mutating func mayLookUp(_ number: UInt64) -> Bool {
        guard let index = index(number) else { return true }
        var isFree = true
        turns[index].isHeldUp = false
        for earlier in turns[..<index] where !earlier.isOver {
            if earlier.mentions == nil {
                isFree = false
            } else if meet(earlier, turns[index]) {
                isFree = false
                turns[index].isHeldUp = true
            } else if turns[index].isCautious, !earlier.isKnown, areNear(earlier, turns[index]) {
                isFree = false
            }
        }
        guard isFree else { return false }
        if turns[index].isSpoilt {
            turns[index].isSpoilt = false
            turns[index].isLookedUp = false
        }
        turns[index].seen = turns[..<index].filter { !$0.isOver }.map(\.number)
        forget()
        return true
    }

    /// Tells what stands in the contacts that were found.
    ///
    /// - Parameter isWhole: Whether the rest of the batch was looked up.
    mutating func lookedUp(_ number: UInt64, _ standing: Footprint, isWhole: Bool) {
        guard let index = index(number) else { return }
        turns[index].standing.formUnion(standing)
        if isWhole { turns[index].isLookedUp = true }
        // Of a pair that is at work neither mentions what the other does: the later one did not begin
        // before that was seen.
        for earlier in turns[..<index] where turns[index].seen.contains(earlier.number) {
            if meetInStanding(earlier, turns[index]) { turns[index].isSpoilt = true }
        }
        for later in turns.indices.dropFirst(index + 1) where turns[later].seen.contains(number) {
            if meetInStanding(turns[index], turns[later]) { turns[later].isSpoilt = true }
        }
    }

    /// Whether the turn may write what it has applied since it looked up.
    func mayWrite(_ number: UInt64) -> Passage {
        guard let index = index(number) else { return .free }
        if turns[index].isSpoilt { return .again }
        let isKnown = turns[..<index].allSatisfy { earlier in
            earlier.isOver || earlier.isKnown || !areNear(earlier, turns[index])
        }
        return isKnown ? .free : .wait
    }

    /// The turn has waited in its transaction long enough. Before it looks up anew, all earlier ones
    /// do.
    mutating func giveWay(_ number: UInt64) {
        guard let index = index(number) else { return }
        turns[index].isCautious = true
        turns[index].isSpoilt = true
    }

    /// The batch is written, or given up.
    mutating func end(_ number: UInt64) {
        guard let index = index(number) else { return }
        turns[index].isOver = true
        turns[index].seen = []
        if !turns[index].isKnown {
            // Nobody knows what it would have done, and it may have to be done later.
            for later in turns.indices.dropFirst(index + 1)
            where turns[later].seen.contains(number) && areNear(turns[index], turns[later]) {
                turns[later].isSpoilt = true
            }
        }
        forget()
    }

    private func index(_ number: UInt64) -> Int? { turns.firstIndex { $0.number == number } }

    private mutating func forget() {
        let seen = turns.reduce(into: Set()) { $0.formUnion($1.seen) }
        turns.removeAll { $0.isOver && !seen.contains($0.number) }
    }

    /// Whether two turns may have anything in common that is not known yet.
    private func areNear(_ left: Turn, _ right: Turn) -> Bool {
        guard let leftMentions = left.mentions, let rightMentions = right.mentions else {
            return true
        }
        return !leftMentions.isEmpty && !rightMentions.isEmpty
            && !left.workspaces.isDisjoint(with: right.workspaces)
    }

    /// Whether two turns are known to have something in common. If both match one contact, what one
    /// of them matches it by stands in it for the other.
    private func meet(_ left: Turn, _ right: Turn) -> Bool {
        guard let leftMentions = left.mentions, let rightMentions = right.mentions,
            areNear(left, right)
        else { return false }
        return leftMentions.intersects(rightMentions) || meetInStanding(left, right)
    }

    /// The same, of two that mention nothing in common.
    private func meetInStanding(_ left: Turn, _ right: Turn) -> Bool {
        guard let leftMentions = left.mentions, let rightMentions = right.mentions,
            areNear(left, right)
        else { return false }
        return left.standing.intersects(rightMentions) || right.standing.intersects(leftMentions)
    }
}
