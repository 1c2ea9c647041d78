// In: how far an import is, and how wide the terminal is. Out: one line of text. Pure.

/// How far an import is.
package struct ProgressSnapshot: Sendable, Equatable {
    /// Records that are decided.
    package var rows = 0
    /// nil where nothing can fail.
    package var failed: Int? = 0
    /// Bytes of the file that are decided.
    package var bytes = 0
    /// The file's length; nil for a pipe.
    package var totalBytes: Int?
    package var seconds = 0.0
    /// No results come.
    package var outage: Outage?

    /// The server's absence, or its silence.
    package struct Outage: Sendable, Equatable {
        package var seconds: Double
        package var reason: String
        /// It cannot be reached; else it is only silent.
        package var isServerAway: Bool

        package init(seconds: Double, reason: String, isServerAway: Bool = true) {
            self.seconds = seconds
            self.reason = reason
            self.isServerAway = isServerAway
        }
    }

    package init() {}

    package var rowsPerSecond: Double { seconds > 0 ? Double(rows) / seconds : 0 }

    /// From 0 to 1; nil for a pipe.
    package var fraction: Double? {
        guard let totalBytes, totalBytes > 0 else { return nil }
        return min(1, Double(bytes) / Double(totalBytes))
    }

    /// Seconds to go at the speed so far.
    package var remaining: Double? {
        guard let fraction, fraction > 0 else { return nil }
        return seconds / fraction * (1 - fraction)
    }
}

package enum ProgressText {
    private static let barWidth = 10...40

    /// A line for a log.
    package static func plain(_ progress: ProgressSnapshot) -> String {
        var parts = [
            "\(duration(progress.seconds))", "\(grouped(progress.rows)) rows",
            "\(grouped(Int(progress.rowsPerSecond))) rows/s",
        ]
        if let failed = progress.failed { parts.append("\(grouped(failed)) failed") }
        if let fraction = progress.fraction { parts.append("\(Int(fraction * 100)) %") }
        if let outage = progress.outage {
            parts.append("\(absence(outage)): \(outage.reason)")
        } else if let remaining = progress.remaining {
            parts.append("ETA \(duration(remaining))")
        }
        return "progress: " + parts.joined(separator: ", ")
    }

    /// A line for a terminal of that width: what does not fit is left out, the least useful first.
    package static func bar(_ progress: ProgressSnapshot, width: Int) -> String {
        var parts = ["\(grouped(progress.rows)) rows"]
        if let fraction = progress.fraction { parts.insert("\(Int(fraction * 100)) %", at: 0) }
        let optional = [
            progress.outage.map(absence),
            progress.failed.flatMap { $0 > 0 ? "\(grouped($0)) failed" : nil },
            progress.outage == nil ? progress.remaining.map { "ETA \(duration($0))" } : nil,
            "\(grouped(Int(progress.rowsPerSecond))) rows/s",
        ]
        for part in optional.compactMap({ $0 }) where length(parts + [part]) < width {
            parts.append(part)
        }
        let text = parts.joined(separator: "  ")
        // The last column stays free: some terminals wrap when it is filled.
        let space = width - text.count - 5
        guard let fraction = progress.fraction, space >= barWidth.lowerBound else {
            return String(text.prefix(max(0, width - 1)))
        }
        let cells = min(space, barWidth.upperBound)
        let filled = Int(Double(cells) * fraction)
        let rest = String(repeating: ".", count: cells - filled)
        return "[" + String(repeating: "#", count: filled) + rest + "]  " + text
    }

    private static func absence(_ outage: ProgressSnapshot.Outage) -> String {
        outage.isServerAway
            ? "the server is not available, trying again (\(duration(outage.seconds)))"
            : "waiting for results (\(duration(outage.seconds)))"
    }

    private static func length(_ parts: [String]) -> Int {
        parts.joined(separator: "  ").count
    }

    /// A number with commas between its thousands.
    package static func grouped(_ number: some BinaryInteger) -> String {
        var text = ""
        for (index, digit) in String(number).reversed().enumerated() {
            if index > 0, index % 3 == 0, digit != "-" { text.append(",") }
            text.append(digit)
        }
        return String(text.reversed())
    }

    /// A time in the two largest units that it needs.
    package static func duration(_ seconds: Double) -> String {
        let whole = Int(seconds.rounded())
        if whole < 60 { return "\(whole) s" }
        if whole < 3600 { return "\(whole / 60) min \(whole % 60) s" }
        return "\(whole / 3600) h \(whole % 3600 / 60) min"
    }

    /// A number with that many places.
    package static func fixed(_ value: Double, places: Int) -> String {
        var scale = 1.0
        for _ in 0..<places { scale *= 10 }
        let scaled = (value * scale).rounded()
        guard places > 0, scaled.magnitude < 1e15 else { return grouped(Int(exactly: scaled) ?? 0) }
        let units = Int(scaled.magnitude)
        let fraction = String(units % Int(scale))
        let zeros = String(repeating: "0", count: places - fraction.count)
        return (value < 0 ? "-" : "") + grouped(units / Int(scale)) + "." + zeros + fraction
    }

    /// Lines of a name and a number, the numbers under each other.
    package static func table(_ rows: [(name: String, value: String)]) -> String {
        let names = rows.map(\.name.count).max() ?? 0
        let values = rows.map(\.value.count).max() ?? 0
        return rows.map { row in
            row.name + String(repeating: " ", count: names - row.name.count + 2)
                + String(repeating: " ", count: values - row.value.count) + row.value + "\n"
        }.joined()
    }
}
