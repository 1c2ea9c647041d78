// What the other tests lean on.

import Postgres
import TestSupport
import Testing

@Suite struct TestSupportTests {
    @Test func `databases are separate, usable at once and dropped at the end`() throws {
        let kept = try TestDatabase.create()
        let connection = try kept.connect()
        let names = try {
            let first = try TestDatabase.create()
            let second = try TestDatabase.create()
            try first.connect().execute("CREATE TABLE t ()")
            try second.connect().execute("CREATE TABLE t ()")
            return try [first, second].map {
                try $0.connect().query("SELECT current_database()").text(0, 0) ?? ""
            }
        }()
        #expect(Set(names).count == 2)
        for name in names {
            var parameters = Parameters()
            parameters.append(text: name)
            let found = try connection.query(
                "SELECT 1 FROM pg_database WHERE datname = $1", parameters)
            #expect(found.rowCount == 0)
        }
    }

    @Test func `every cut has every split, and each holds all bytes`() {
        var cuts = 0
        everyCut([1, 2, 3]) { parts in
            cuts += 1
            #expect(parts.flatMap { $0 } == [1, 2, 3])
        }
        #expect(cuts == 6)
    }

    /// The sequence of seed 1234567 in the reference implementation, prng.di.unimi.it/splitmix64.c.
    @Test func `a seed gives the sequence of the reference`() {
        var random = SeededRandom(seed: 1_234_567)
        #expect(random.next() == 6_457_827_717_110_365_317)
        #expect(random.next() == 3_203_168_211_198_807_973)
        #expect("\(random)".contains("TEST_SEED=1234567"))
    }
}
