// Which ways transactions took to the table, counted. In: one at a time, from lanes. Out: numbers.
// Any thread.

internal import NIOConcurrencyHelpers

/// A way that a transaction can take.
package enum WritePath: Int, CaseIterable, Sendable {
    /// Its contacts were taken to be new, and copied without a look-up.
    case straight
    /// They were taken to be new, and one was not.
    case wrongGuess
    /// All of them stood, and none differed.
    case compareOnly
    /// It locked what stands, and wrote with ON CONFLICT.
    case onConflict
    /// Another transaction wrote one of its contacts first.
    case lostRace
}

final class PathCounters: Sendable {
    private let counts = NIOLockedValueBox([Int](repeating: 0, count: WritePath.allCases.count))

    func count(_ path: WritePath) { counts.withLockedValue { $0[path.rawValue] += 1 } }

    subscript(path: WritePath) -> Int { counts.withLockedValue { $0[path.rawValue] } }
}
