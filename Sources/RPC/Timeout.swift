// In: the text of `grpc-timeout`, or an amount of time. Out: the other.
// On which thread: plain functions, any thread.

import NIOCore

/// `grpc-timeout`: at most eight digits and a unit (gRPC PROTOCOL-HTTP2, "Timeout").
enum Timeout {
    private static let maxDigitCount = 8

    /// Units from the finest: the letter, and its length in nanoseconds.
    private static let units: [(letter: Character, nanoseconds: Int64)] = [
        ("n", 1), ("u", 1000), ("m", 1_000_000), ("S", 1_000_000_000),
        ("M", 60_000_000_000), ("H", 3_600_000_000_000),
    ]

    /// nil when malformed. What is too long for the clock (11,000 years in hours) is its maximum.
    static func parse(_ text: String) -> TimeAmount? {
        let digits = text.dropLast()
        guard (1...maxDigitCount).contains(digits.utf8.count),
            digits.utf8.allSatisfy({ $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }),
            let value = Int64(digits),
            let unit = units.first(where: { $0.letter == text.last })
        else { return nil }
        let (nanoseconds, overflow) = value.multipliedReportingOverflow(by: unit.nanoseconds)
        return .nanoseconds(overflow ? Int64.max : nanoseconds)
    }

    /// In the finest unit that eight digits can hold, rounded up; never negative.
    static func text(_ amount: TimeAmount) -> String {
        let nanoseconds = max(0, amount.nanoseconds)
        for unit in units {
            let (quotient, rest) = nanoseconds.quotientAndRemainder(dividingBy: unit.nanoseconds)
            let value = rest == 0 ? quotient : quotient + 1
            if value <= 99_999_999 { return "\(value)\(unit.letter)" }
        }
        return "99999999H"
    }
}
