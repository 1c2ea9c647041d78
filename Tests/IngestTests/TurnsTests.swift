// Turns by themselves, and many lanes of them over a table that is a dictionary: whatever the order
// of their steps, the answers are those of one batch after another.

import Testing
import TestSupport

@testable import Ingest

@Suite struct TurnsTests {
    private func footprint(_ hashes: UInt64...) -> Footprint {
        hashes.reduce(into: Footprint()) { $0.insert($1) }
    }

    private func begun(_ turns: Desk, _ mentions: Footprint, _ workspace: Int32 = 1) -> UInt64 {
        let number = turns.begin()
        turns.load(number, mentions, workspaces: [workspace])
        return number
    }

    @Test func whatHasNothingInCommonIsWrittenInAnyOrder() {
        let turns = Desk(limit: 2)
        let first = begun(turns, footprint(1, 2))
        let second = begun(turns, footprint(3))
        #expect(turns.mayLookUp(second))
        #expect(turns.mayLookUp(first))
        turns.lookedUp(second, footprint(4), isWhole: true)
        #expect(turns.mayWrite(second) == .wait)
        turns.lookedUp(first, footprint(5), isWhole: true)
        #expect(turns.mayWrite(second) == .free)
        turns.end(second)
        #expect(turns.mayWrite(first) == .free)
        turns.end(first)
        #expect(turns.isEmpty)
    }

    @Test func whatIsMentionedTwiceIsLookedUpAfterTheFirstHasEnded() {
        let turns = Desk(limit: 2)
        let first = begun(turns, footprint(1, 2))
        let second = begun(turns, footprint(2, 3))
        #expect(turns.mayLookUp(first))
        #expect(!turns.mayLookUp(second))
        #expect(!turns.canBegin)
        turns.end(first)
        #expect(turns.mayLookUp(second))
        #expect(turns.canBegin)
    }

    @Test func anEarlierTurnIsWaitedForUntilItSaysWhatItMentions() {
        let turns = Desk(limit: 2)
        let first = turns.begin()
        let second = begun(turns, footprint(2))
        #expect(!turns.mayLookUp(second))
        turns.load(first, footprint(1), workspaces: [1])
        #expect(turns.mayLookUp(second))
    }

    @Test(arguments: [true, false])
    func whatStandsInAContactCountsOnBothSides(isOfFirst: Bool) {
        let turns = Desk(limit: 2)
        let first = begun(turns, footprint(1))
        let second = begun(turns, footprint(2))
        #expect(turns.mayLookUp(first))
        #expect(turns.mayLookUp(second))
        turns.lookedUp(first, isOfFirst ? footprint(2) : Footprint(), isWhole: true)
        turns.lookedUp(second, isOfFirst ? Footprint() : footprint(1), isWhole: true)
        #expect(turns.mayWrite(first) == .free)
        #expect(turns.mayWrite(second) == .again)
        #expect(!turns.mayLookUp(second))
        turns.end(first)
        #expect(turns.mayLookUp(second))
        turns.lookedUp(second, footprint(9), isWhole: true)
        #expect(turns.mayWrite(second) == .free)
    }

    @Test func aTurnThatEndedSinceTheLookUpCountsToo() {
        let turns = Desk(limit: 2)
        let first = begun(turns, footprint(1))
        let second = begun(turns, footprint(2))
        #expect(turns.mayLookUp(first))
        #expect(turns.mayLookUp(second))
        turns.lookedUp(first, footprint(2), isWhole: true)
        turns.end(first)
        turns.lookedUp(second, Footprint(), isWhole: true)
        #expect(turns.mayWrite(second) == .again)
    }

    @Test func aTurnGivenUpBeforeItsLookUpMakesThoseThatSawItBeginAnew() {
        let turns = Desk(limit: 2)
        let first = begun(turns, footprint(1))
        let second = begun(turns, footprint(2))
        let other = begun(turns, footprint(3), 2)
        for number in [second, other] {
            #expect(turns.mayLookUp(number))
            turns.lookedUp(number, Footprint(), isWhole: true)
        }
        turns.end(first)
        #expect(turns.mayWrite(second) == .again)
        #expect(turns.mayWrite(other) == .free)
    }

    @Test func aPartOfABatchDoesNotTellWhatTheRestDoes() {
        let turns = Desk(limit: 2)
        let first = begun(turns, footprint(1))
        let second = begun(turns, footprint(2))
        #expect(turns.mayLookUp(first))
        #expect(turns.mayLookUp(second))
        turns.lookedUp(first, footprint(5), isWhole: false)
        turns.lookedUp(second, Footprint(), isWhole: true)
        #expect(turns.mayWrite(second) == .wait)
        turns.giveWay(second)
        #expect(!turns.mayLookUp(second))
        turns.lookedUp(first, footprint(2), isWhole: true)
        #expect(!turns.mayLookUp(second))
        turns.end(first)
        #expect(turns.mayLookUp(second))
    }

    @Test func aTurnThatBeginsAnewIsUnknownToLaterOnes() {
        let turns = Desk(limit: 3)
        let first = begun(turns, footprint(1))
        let second = begun(turns, footprint(2))
        let third = begun(turns, footprint(3))
        for number in [first, second, third] { #expect(turns.mayLookUp(number)) }
        turns.lookedUp(second, Footprint(), isWhole: true)
        turns.lookedUp(third, Footprint(), isWhole: true)
        turns.lookedUp(first, footprint(2), isWhole: true)
        #expect(turns.mayWrite(third) == .wait)
        turns.end(first)
        #expect(turns.mayWrite(third) == .wait)
        #expect(turns.mayLookUp(second))
        turns.lookedUp(second, footprint(3), isWhole: true)
        #expect(turns.mayWrite(third) == .again)
    }

    @Test func onlySoManyBeginBeforeTheyHaveLookedUp() {
        let turns = Desk(limit: 2)
        let first = begun(turns, footprint(1))
        #expect(turns.canBegin)
        _ = begun(turns, footprint(2))
        #expect(!turns.canBegin)
        turns.lookedUp(first, Footprint(), isWhole: true)
        #expect(turns.canBegin)
    }

    @Test func aFootprintIsASet() {
        var random = SeededRandom(seed: 1)
        var footprint = Footprint()
        var set: Set<UInt64> = []
        for _ in 0..<5000 {
            // Zero is a hash like others.
            let hash = UInt64.random(in: 0..<4000, using: &random) &* 0x9E37_79B9_7F4A_7C15
            footprint.insert(hash)
            set.insert(hash)
        }
        #expect(footprint.count == set.count)
        for number in UInt64(0)..<4000 {
            let hash = number &* 0x9E37_79B9_7F4A_7C15
            #expect(footprint.contains(hash) == set.contains(hash))
        }
        #expect(!Footprint().intersects(footprint))
        #expect(self.footprint(0).intersects(footprint) == set.contains(0))
    }
}

/// A place for turns that expectations may change.
private final class Desk {
    private var turns: Turns

    init(limit: Int) { turns = Turns(limit: limit) }

    var canBegin: Bool { turns.canBegin }
    var isEmpty: Bool { turns.isEmpty }
    func begin() -> UInt64 { turns.begin() }
    func load(_ number: UInt64, _ mentions: Footprint, workspaces: Set<Int32>) {
        turns.load(number, mentions, workspaces: workspaces)
    }
    func mayLookUp(_ number: UInt64) -> Bool { turns.mayLookUp(number) }
    func lookedUp(_ number: UInt64, _ standing: Footprint, isWhole: Bool) {
        turns.lookedUp(number, standing, isWhole: isWhole)
    }
    func mayWrite(_ number: UInt64) -> Turns.Passage { turns.mayWrite(number) }
    func giveWay(_ number: UInt64) { turns.giveWay(number) }
    func end(_ number: UInt64) { turns.end(number) }
}
