// A point in time as the text in which it stands in a JSON string, and back.
// In: seconds since 1970 and nanoseconds, or a text. Out: `YYYY-MM-DDTHH:MM:SS.ffffffZ`, or nil.
// Pure functions, any thread. The proleptic Gregorian calendar, as google.protobuf.Timestamp has
// it; days and dates by Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".

enum TimestampText {
    /// 0001-01-01T00:00:00Z to 9999-12-31T23:59:59Z.
    static let seconds: ClosedRange<Int64> = -62_135_596_800...253_402_300_799

    private static let secondsPerDay: Int64 = 86_400
    /// 400 years.
    private static let daysPerEra = 146_097

    /// Appends the text in quotes; nanoseconds below a microsecond are cut off.
    static func append(seconds: Int64, nanos: Int32, to output: inout [UInt8]) {
        let days = floorDays(seconds)
        let time = seconds - days * secondsPerDay
        let date = date(ofDay: Int(days))
        var text = InlineArray<29, UInt8>(repeating: ASCII.quote)
        write(date.year, 4, at: 1, &text)
        write(date.month, 2, after: "-", at: 6, &text)
        write(date.day, 2, after: "-", at: 9, &text)
        write(Int(time / 3600), 2, after: "T", at: 12, &text)
        write(Int(time / 60 % 60), 2, after: ":", at: 15, &text)
        write(Int(time % 60), 2, after: ":", at: 18, &text)
        write(Int(nanos / 1000), 6, after: ".", at: 21, &text)
        text[27] = UInt8(ascii: "Z")
        output.append(text.span)
    }

    /// The time of a text in exactly this form, without quotes; nil for any other text.
    static func parse(_ text: Span<UInt8>) -> Timestamp? {
        guard text.count == 27 else { return nil }
        let marks: [(Int, UInt8)] = [
            (4, 0x2D), (7, 0x2D), (10, 0x54), (13, 0x3A), (16, 0x3A), (19, 0x2E), (26, 0x5A),
        ]
        guard marks.allSatisfy({ text[$0.0] == $0.1 }),
            let year = number(text, 0..<4), let month = number(text, 5..<7),
            let day = number(text, 8..<10), let hour = number(text, 11..<13),
            let minute = number(text, 14..<16), let second = number(text, 17..<19),
            let micros = number(text, 20..<26),
            year >= 1, (1...12).contains(month), day >= 1, hour < 24, minute < 60, second < 60
        else { return nil }
        let days = days(year, month, day)
        guard date(ofDay: days) == (year, month, day) else { return nil }
        return Timestamp(
            seconds: Int64(days) * secondsPerDay + Int64(hour * 3600 + minute * 60 + second),
            nanoseconds: Int32(micros * 1000))
    }

    /// Writes so many digits at a place, and the mark in front of them.
    @inline(__always)
    private static func write(
        _ value: Int, _ width: Int, after mark: Unicode.Scalar = "\"", at place: Int,
        _ text: inout InlineArray<29, UInt8>
    ) {
        text[place - 1] = UInt8(ascii: mark)
        var rest = value
        for index in stride(from: place + width - 1, through: place, by: -1) {
            text[index] = ASCII.zero + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        }
    }

    private static func number(_ text: Span<UInt8>, _ range: Range<Int>) -> Int? {
        var value = 0
        for index in range {
            guard text[index] &- ASCII.zero < 10 else { return nil }
            value = value * 10 + Int(text[index] &- ASCII.zero)
        }
        return value
    }

    private static func floorDays(_ seconds: Int64) -> Int64 {
        (seconds - (seconds < 0 ? secondsPerDay - 1 : 0)) / secondsPerDay
    }

    /// Days count from 1970-01-01. Inside, years begin in March, so that the leap day comes last.
    private static func date(ofDay day: Int) -> (year: Int, month: Int, day: Int) {
        // 719,468 days lie between 0000-03-01 and 1970-01-01; none before year 0 comes here.
        let shifted = day + 719_468
        let era = shifted / daysPerEra
        let ofEra = shifted % daysPerEra
        let yearOfEra = (ofEra - ofEra / 1460 + ofEra / 36_524 - ofEra / 146_096) / 365
        let ofYear = ofEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let marchMonth = (5 * ofYear + 2) / 153
        let month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
        return (
            yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month,
            ofYear - (153 * marchMonth + 2) / 5 + 1
        )
    }

    private static func days(_ year: Int, _ month: Int, _ day: Int) -> Int {
        let year = month <= 2 ? year - 1 : year
        let yearOfEra = year % 400
        let ofYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let ofEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + ofYear
        return year / 400 * daysPerEra + ofEra - 719_468
    }
}
