// In: a report. Out: its table for people. Pure.

import ContactsTool

enum ReportText {
    static func text(_ report: Report) -> String {
        var parts = [heading(report)]
        if !report.comparisons.isEmpty {
            parts.append(table(comparisons(report)))
            parts.append("the medians of each side's costs a contact:\n" + table(costs(report)))
        }
        if !report.figures.isEmpty { parts.append(table(figures(report))) }
        return parts.joined(separator: "\n")
    }

    /// The targets that are not met.
    static func missed(_ report: Report) -> [String] {
        let missed = report.comparisons.filter { $0.ratio.isMet == false }.map(\.title)
        return missed + report.figures.filter { $0.isMet == false }.map(\.name)
    }

    private static func heading(_ report: Report) -> String {
        let machine = report.machine
        return """
            \(machine.processor), \(machine.cores) cores, \(machine.memoryMegabytes) MB, \
            Linux \(machine.kernel), PostgreSQL \(machine.postgres), \(machine.date)
            \(report.database.sorted { $0.key < $1.key }.map { "\($0) \($1)" }.joined(separator: ", "))
            \(ProgressText.grouped(report.settings.contacts)) contacts, \
            runs of each side in turns: \(report.settings.pairs); medians, with the lowest and the \
            highest

            """
    }

    private static func comparisons(_ report: Report) -> [[String]] {
        [["contacts/s", "psql", "service", "ratio", "", "target", "met"]]
            + report.comparisons.map { comparison in
                [
                    comparison.title, ProgressText.grouped(Int(comparison.psqlPerSecond)),
                    ProgressText.grouped(Int(comparison.servicePerSecond)),
                    comparison.ratio.value.places(2), range(comparison.ratio, places: 2),
                    target(comparison.ratio), met(comparison.ratio),
                ]
            }
    }

    private static func costs(_ report: Report) -> [[String]] {
        var rows = [
            [
                "", "", "server µs", "client µs", "PostgreSQL µs", "log bytes", "peak MiB",
                "p50 ms", "p99 ms",
            ]
        ]
        for comparison in report.comparisons {
            for side in [RunRecord.Side.psql, .service] {
                let runs = report.runs.filter {
                    $0.scenario == comparison.scenario && $0.side == side
                }
                func median(_ value: (RunRecord) -> Double?) -> String {
                    runs.compactMap(value).median.places(2)
                }
                rows.append([
                    side == .psql ? comparison.title : "", side.rawValue,
                    median(\.serverMicroseconds), median(\.clientMicroseconds),
                    median(\.databaseMicroseconds), median(\.walBytes),
                    median { $0.peakKilobytes.map { Double($0) / 1024 } }, median(\.p50),
                    median(\.p99),
                ])
            }
        }
        return rows
    }

    private static func figures(_ report: Report) -> [[String]] {
        [["", "median", "", "", "target", "met"]]
            + report.figures.map { figure in
                let places = figure.value.magnitude >= 1000 ? 0 : 2
                return [
                    "\(figure.scenario): \(figure.name)", figure.value.places(places), figure.unit,
                    range(figure, places: places), target(figure), met(figure),
                ]
            }
    }

    private static func range(_ figure: Figure, places: Int) -> String {
        "(\(figure.low.places(places)) – \(figure.high.places(places)))"
    }

    private static func target(_ figure: Figure) -> String {
        guard let bound = figure.bound, let target = figure.target else { return "" }
        return "\(bound.rawValue) \(target.places(2))"
    }

    private static func met(_ figure: Figure) -> String {
        figure.isMet.map { $0 ? "yes" : "NO" } ?? ""
    }

    /// Columns as wide as their longest entry; the first to the left, the others to the right.
    private static func table(_ rows: [[String]]) -> String {
        let widths = (rows.first ?? []).indices.map { column in
            rows.map { $0[column].count }.max() ?? 0
        }
        return rows.map { row in
            let cells = row.enumerated().map { column, text in
                let space = String(repeating: " ", count: widths[column] - text.count)
                return column == 0 ? text + space : space + text
            }
            return cells.joined(separator: "  ") + "\n"
        }.joined()
    }
}
