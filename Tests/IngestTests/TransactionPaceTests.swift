// How many contacts a lane takes at once, told by what transactions took.

import Testing

@testable import Ingest

@Suite struct TransactionPaceTests {
    @Test func aTransactionTakesWhatFitsIntoItsTime() {
        var pace = TransactionPace()
        for _ in 0..<50 { pace.took(.milliseconds(100), for: pace.contactLimit) }
        #expect(pace.contactLimit == 2_000)
        for _ in 0..<50 { pace.took(.milliseconds(10), for: pace.contactLimit) }
        #expect(pace.contactLimit == 10_000)
        for _ in 0..<50 { pace.took(.microseconds(10 * pace.contactLimit), for: pace.contactLimit) }
        #expect(abs(pace.contactLimit - 5_000) < 100)
        // A small one says nothing.
        let before = pace.contactLimit
        for _ in 0..<50 { pace.took(.seconds(1), for: 100) }
        #expect(pace.contactLimit == before)
    }

    /// Where the disk is slow, the COMMIT must not be most of it.
    @Test func aTransactionIsLongerThanItsCommit() {
        var pace = TransactionPace()
        func limit(commit: Duration) -> Int {
            for _ in 0..<50 {
                pace.took(.microseconds(10 * pace.contactLimit), for: pace.contactLimit)
                pace.committed(in: commit)
            }
            return pace.contactLimit
        }
        #expect((4_900...5_100).contains(limit(commit: .microseconds(100))))
        #expect((7_900...8_100).contains(limit(commit: .milliseconds(10))))
        #expect((9_900...10_000).contains(limit(commit: .seconds(1))))
        #expect((4_900...5_100).contains(limit(commit: .milliseconds(1))))
    }

    /// A page has 32 rows that came within 5,000 contacts, in any order.
    @Test func updatesOfRowsThatStandTogetherAreSpread() {
        var pace = TransactionPace()
        for _ in 0..<20 {
            let count = pace.contactLimit
            pace.wrote(count, onto: min(count, 156), of: count)
        }
        #expect((400...470).contains(pace.contactLimit))
        // Other pages each time: nothing to be spared.
        for _ in 0..<20 {
            pace.wrote(pace.contactLimit, onto: pace.contactLimit, of: pace.contactLimit)
        }
        #expect(pace.contactLimit == 4_000)
    }

    /// The rows of a page come one behind the other.
    @Test func whatCannotBeSpreadIsNot() {
        var pace = TransactionPace()
        for _ in 0..<20 {
            pace.wrote(pace.contactLimit, onto: pace.contactLimit / 32, of: pace.contactLimit)
        }
        #expect(pace.contactLimit == 4_000)
    }

    @Test func newContactsAreNotBoundByUpdates() {
        var pace = TransactionPace()
        pace.wrote(4_000, onto: 300, of: 4_000)
        #expect(pace.contactLimit < 4_000)
        pace.wrote(100, onto: 10, of: 4_000)
        #expect(pace.contactLimit == 4_000)
    }

    /// Each row stands on a page of its own: the bound grows, until it is none.
    @Test func theBoundOfUpdatesEndsWhereItBoundsNothing() {
        var pace = TransactionPace()
        // 2,880 for the next, and five quarters of it each time: 3,600, 4,500, 5,625.
        pace.took(.milliseconds(20), for: 4_000)
        pace.wrote(4_000, onto: 1_200, of: 4_000)
        for expected in [2_880, 3_600, 4_500, 5_625, 7_031, 8_788, 10_000] {
            #expect(pace.contactLimit == expected)
            pace.wrote(expected, onto: expected, of: expected)
        }
        for _ in 0..<200 { pace.wrote(10_000, onto: 10_000, of: 10_000) }
        #expect(pace.contactLimit == 10_000)
    }
}
