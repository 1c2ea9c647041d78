// In: the text of one cell or JSON string. Out: a typed value, or nil when the text is none.
// Points in time are RFC 3339, with the laxness that exports of spreadsheets and databases need.
// Pure functions.

package import ContactsClient

/// The type that a custom column's header names behind a colon.
package enum CellType: String, Sendable, CaseIterable {
    case string, integer, number, boolean, timestamp

    private static let aliases: [String: CellType] = [
        "text": .string, "int": .integer, "float": .number, "double": .number, "bool": .boolean,
        "datetime": .timestamp, "date": .timestamp, "time": .timestamp,
    ]

    /// The type of that name, case apart.
    package init?(name: some StringProtocol) {
        let name = name.lowercased()
        guard let type = CellType(rawValue: name) ?? Self.aliases[name] else { return nil }
        self = type
    }

    /// What a cell of the type looks like, for people.
    var example: String {
        switch self {
        case .string: "text"
        case .integer: "a whole number of 64 bits such as 42"
        case .number: "a number such as 2.5"
        case .boolean: "true or false, yes or no, 1 or 0"
        case .timestamp: "a time such as 2024-01-31T09:30:00Z or a date such as 2024-01-31"
        }
    }

    /// The value of a text; nil when it is not of the type.
    package func value(_ text: String) -> CustomField.Value? {
        switch self {
        case .string: return .string(text)
        case .integer: return Int64(text.trimmedSpaces).map { .integer($0) }
        case .number:
            guard let number = Double(text.trimmedSpaces), number.isFinite else { return nil }
            return .number(number)
        case .boolean:
            let word = text.trimmedSpaces
            return (Self.booleans[word] ?? Self.booleans[word.lowercased()]).map { .boolean($0) }
        case .timestamp: return Timestamp(text: text.trimmedSpaces).map { .timestamp($0) }
        }
    }

    private static let booleans: [String: Bool] = [
        "true": true, "t": true, "yes": true, "y": true, "1": true,
        "false": false, "f": false, "no": false, "n": false, "0": false,
    ]
}

extension Timestamp {
    /// Reads RFC 3339 section 5.6; the time may be left out, `T` may be a space, and without an
    /// offset the time is UTC.
    package init?(text: some StringProtocol) {
        var reader = TimeReader(bytes: Array(text.utf8))
        guard let date = reader.date() else { return nil }
        var seconds = date * 86_400
        var nanoseconds: Int32 = 0
        if !reader.isAtEnd {
            guard reader.skip("Tt "), let time = reader.time(), let offset = reader.offset()
            else { return nil }
            seconds += time.seconds - offset
            nanoseconds = time.nanoseconds
        }
        guard reader.isAtEnd, Self.range.contains(seconds) else { return nil }
        self.init(seconds: seconds, nanoseconds: nanoseconds)
    }

    /// 0001-01-01 to 9999-12-31, as `google.protobuf.Timestamp` has it.
    private static let range: ClosedRange<Int64> = -62_135_596_800...253_402_300_799

    /// RFC 3339 in UTC with as many places as the value needs.
    package var text: String {
        let days = seconds.floorDivided(by: 86_400)
        let second = seconds - days * 86_400
        let (year, month, day) = civilDate(days)
        var text = "\(padded(year, 4))-\(padded(month, 2))-\(padded(day, 2))T"
        text += "\(padded(second / 3600, 2)):\(padded(second / 60 % 60, 2)):"
        text += padded(second % 60, 2)
        if nanoseconds != 0 {
            var places = padded(Int64(nanoseconds), 9)
            while places.hasSuffix("0") { places.removeLast() }
            text += "." + places
        }
        return text + "Z"
    }
}

private struct TimeReader {
    let bytes: [UInt8]
    var index = 0

    var isAtEnd: Bool { index == bytes.count }

    mutating func skip(_ choices: String) -> Bool {
        guard index < bytes.count, choices.utf8.contains(bytes[index]) else { return false }
        index += 1
        return true
    }

    mutating func digits(_ count: Int, _ range: ClosedRange<Int64>) -> Int64? {
        guard index + count <= bytes.count else { return nil }
        var value: Int64 = 0
        for byte in bytes[index..<index + count] {
            guard (0x30...0x39).contains(byte) else { return nil }
            value = value * 10 + Int64(byte - 0x30)
        }
        index += count
        return range.contains(value) ? value : nil
    }

    /// Days since 1970-01-01.
    mutating func date() -> Int64? {
        guard let year = digits(4, 1...9999), skip("-"), let month = digits(2, 1...12),
            skip("-"), let day = digits(2, 1...31)
        else { return nil }
        let days = dayNumber(year, month, day)
        // The 30th of February comes back as a day of March.
        return civilDate(days).day == day ? days : nil
    }

    mutating func time() -> (seconds: Int64, nanoseconds: Int32)? {
        guard let hour = digits(2, 0...23), skip(":"), let minute = digits(2, 0...59)
        else { return nil }
        guard skip(":") else { return (hour * 3600 + minute * 60, 0) }
        // A leap second is smeared into the one before it.
        guard let second = digits(2, 0...60) else { return nil }
        var nanoseconds: Int64 = 0
        if skip(".,") {
            let start = index
            while let digit = digits(1, 0...9) {
                if index - start <= 9 { nanoseconds = nanoseconds * 10 + digit }
            }
            guard index > start else { return nil }
            for _ in min(index - start, 9)..<9 { nanoseconds *= 10 }
        }
        return (hour * 3600 + minute * 60 + min(second, 59), Int32(nanoseconds))
    }

    /// Seconds east of UTC.
    mutating func offset() -> Int64? {
        if isAtEnd || skip("Zz") { return 0 }
        let isWest = index < bytes.count && bytes[index] == UInt8(ascii: "-")
        guard skip("+-"), let hours = digits(2, 0...23) else { return nil }
        _ = skip(":")
        guard let minutes = isAtEnd ? 0 : digits(2, 0...59) else { return nil }
        return (hours * 3600 + minutes * 60) * (isWest ? -1 : 1)
    }
}

extension Int64 {
    fileprivate func floorDivided(by divisor: Int64) -> Int64 {
        self >= 0 ? self / divisor : (self + 1) / divisor - 1
    }
}

private func padded(_ value: Int64, _ width: Int) -> String {
    let digits = String(value)
    return String(repeating: "0", count: max(0, width - digits.count)) + digits
}

// The proleptic Gregorian calendar with years that begin in March, so that the leap day is the last.

private func dayNumber(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
    let year = month <= 2 ? year - 1 : year
    let era = year.floorDivided(by: 400)
    let yearOfEra = year - era * 400
    let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
}

private func civilDate(_ days: Int64) -> (year: Int64, month: Int64, day: Int64) {
    let shifted = days + 719_468
    let era = shifted.floorDivided(by: 146_097)
    let dayOfEra = shifted - era * 146_097
    let yearOfEra =
        (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shiftedMonth = (5 * dayOfYear + 2) / 153
    let month = shiftedMonth + (shiftedMonth < 10 ? 3 : -9)
    let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    return (year, month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
}
