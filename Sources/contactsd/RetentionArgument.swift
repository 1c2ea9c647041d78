// A length of time on the command line, such as 12h. Pure values.

import ArgumentParser

/// How long events are kept: a whole number and a unit.
struct RetentionArgument: ExpressibleByArgument {
    /// Far more than anyone keeps, and well inside what PostgreSQL's interval holds.
    private static let longest: Int64 = 36_500 * 86_400

    private static let units: [(letter: Character, seconds: Int64)] = [
        ("d", 86_400), ("h", 3600), ("m", 60), ("s", 1),
    ]

    let duration: Duration

    init(_ duration: Duration) { self.duration = duration }

    init?(argument: String) {
        guard let unit = Self.units.first(where: { $0.letter == argument.last }),
            let count = Int64(argument.dropLast()),
            argument.utf8.dropLast().allSatisfy({ (48...57).contains($0) })
        else { return nil }
        let (seconds, isTooLong) = count.multipliedReportingOverflow(by: unit.seconds)
        guard !isTooLong, (1...Self.longest).contains(seconds) else { return nil }
        duration = .seconds(seconds)
    }

    /// In the largest unit that fits, as it may be typed.
    var text: String {
        let seconds = duration.components.seconds
        let unit = Self.units.first { seconds % $0.seconds == 0 } ?? ("s", 1)
        return "\(seconds / unit.seconds)\(unit.letter)"
    }

    var defaultValueDescription: String { text }
}
