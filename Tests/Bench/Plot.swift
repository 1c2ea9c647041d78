// In: a report. Out: an SVG of its comparisons: for each scenario a bar of psql and one of the
// service, and above them their ratio. The colours follow the reader's light or dark theme. Pure.

import ContactsTool

struct Plot {
    private static let groupWidth = 124.0
    private static let barWidth = 36.0
    private static let left = 76.0
    private static let right = 20.0
    private static let top = 76.0
    private static let height = 260.0
    private static let bottom = 84.0
    /// Characters in a line below a pair of bars.
    private static let labelWidth = 18

    private let comparisons: [Comparison]
    private let caption: String
    /// The end of the axis, and the distance of its lines.
    private let limit: Double
    private let step: Double

    init(_ report: Report) {
        comparisons = report.comparisons
        caption =
            "\(ProgressText.grouped(report.settings.contacts)) contacts, "
            + "\(report.machine.processor), \(report.machine.cores) cores, "
            + "PostgreSQL \(report.machine.postgres.prefix { $0 != " " })"
        let highest = comparisons.flatMap { [$0.psqlPerSecond, $0.servicePerSecond] }.max() ?? 1
        step = Self.step(highest)
        limit = (highest / step).rounded(.up) * step
    }

    /// Four to ten lines at round numbers.
    private static func step(_ highest: Double) -> Double {
        var step = 1.0
        while highest / step > 10 { step *= 10 }
        if highest / step < 2 { return step / 5 }
        return highest / step < 4 ? step / 2 : step
    }

    var svg: String {
        let width = Self.left + Double(comparisons.count) * Self.groupWidth + Self.right
        let height = Self.top + Self.height + Self.bottom
        var lines = [
            """
            <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(px(width)) \(px(height))" \
            width="\(px(width))" height="\(px(height))" role="img" \
            aria-label="Contacts a second, psql and the service">
            """,
            Self.style,
            "<rect class=\"ground\" width=\"100%\" height=\"100%\"/>",
            text(Self.left, 26, "Contacts a second", "title", anchor: "start"),
            text(Self.left, 44, caption, "small", anchor: "start"),
        ]
        lines += legend(width) + axis(width)
        for (place, comparison) in comparisons.enumerated() {
            lines += group(place, comparison)
        }
        return (lines + ["</svg>", ""]).joined(separator: "\n")
    }

    private static let style = """
        <style>
        text { font: 12px system-ui, sans-serif; fill: #24292f; }
        .title { font-size: 15px; font-weight: 600; }
        .small { font-size: 11px; fill: #57606a; }
        .ratio { font-weight: 600; }
        .ground { fill: #ffffff; }
        .line { stroke: #d0d7de; }
        .psql { fill: #9aa4ae; }
        .service { fill: #0969da; }
        @media (prefers-color-scheme: dark) {
        text { fill: #e6edf3; }
        .small { fill: #9198a1; }
        .ground { fill: #0d1117; }
        .line { stroke: #30363d; }
        .psql { fill: #6e7681; }
        .service { fill: #4493f8; }
        }
        </style>
        """

    private func legend(_ width: Double) -> [String] {
        let start = max(Self.left, width - Self.right - 216)
        return [
            rectangle(start, 54, 12, 12, "psql"),
            text(start + 18, 64, "psql, staged upsert", "small", anchor: "start"),
            rectangle(start + 140, 54, 12, 12, "service"),
            text(start + 158, 64, "the service", "small", anchor: "start"),
        ]
    }

    private func axis(_ width: Double) -> [String] {
        var lines: [String] = []
        var value = 0.0
        while value <= limit + step / 2 {
            let y = self.y(value)
            lines.append(
                """
                <line class="line" x1="\(px(Self.left))" y1="\(px(y))" \
                x2="\(px(width - Self.right))" y2="\(px(y))"/>
                """)
            lines.append(
                text(Self.left - 8, y + 4, ProgressText.grouped(Int(value)), "small", anchor: "end")
            )
            value += step
        }
        return lines
    }

    private func group(_ place: Int, _ comparison: Comparison) -> [String] {
        let middle = Self.left + (Double(place) + 0.5) * Self.groupWidth
        let highest = max(comparison.psqlPerSecond, comparison.servicePerSecond)
        var lines = [
            bar(middle - Self.barWidth - 2, comparison.psqlPerSecond, "psql"),
            bar(middle + 2, comparison.servicePerSecond, "service"),
            text(
                middle, y(highest) - 8, "×" + comparison.ratio.value.places(2), "ratio",
                anchor: "middle"),
        ]
        for (line, words) in Self.wrapped(comparison.title).enumerated() {
            let y = Self.top + Self.height + 20 + Double(line) * 15
            lines.append(text(middle, y, words, "small", anchor: "middle"))
        }
        return lines
    }

    private func bar(_ x: Double, _ value: Double, _ style: String) -> String {
        rectangle(x, y(value), Self.barWidth, Self.top + Self.height - y(value), style)
    }

    private func y(_ value: Double) -> Double { Self.top + Self.height * (1 - value / limit) }

    private func rectangle(
        _ x: Double, _ y: Double, _ width: Double, _ height: Double, _ style: String
    ) -> String {
        """
        <rect class="\(style)" x="\(px(x))" y="\(px(y))" width="\(px(width))" \
        height="\(px(height))"/>
        """
    }

    private func text(
        _ x: Double, _ y: Double, _ text: String, _ style: String, anchor: String
    ) -> String {
        let escaped = text.replacing("&", with: "&amp;").replacing("<", with: "&lt;")
        return """
            <text class="\(style)" x="\(px(x))" y="\(px(y))" \
            text-anchor="\(anchor)">\(escaped)</text>
            """
    }

    private func px(_ length: Double) -> String {
        length == length.rounded() ? String(Int(length)) : length.places(1).replacing(",", with: "")
    }

    private static func wrapped(_ title: String) -> [String] {
        var lines: [String] = []
        for word in title.split(separator: " ") {
            if let last = lines.last, last.count + word.count < labelWidth {
                lines[lines.count - 1] = "\(last) \(word)"
            } else {
                lines.append(String(word))
            }
        }
        return lines
    }
}
