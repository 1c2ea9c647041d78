// In: a CSV file. Out: nothing; wherever the file is cut the same rows must come, each row's bytes
// must be those of its place in the file, and reading on from a row's end must give the rest.

@testable import ContactsTool

enum CSVFuzz {
    /// The second is so small that short files reach it.
    private static let recordLimits = [InputLimits.recordBytes, 24]

    private struct Row: Equatable {
        var line: Int
        var bytes: [UInt8]
        var fields: [String?]
        var reason: String?
        var end: ReadingPosition
    }

    private struct Outcome: Equatable {
        var header: CSVHeader?
        var rows: [Row] = []
        var fault: String?
    }

    static func check(_ bytes: [UInt8]) {
        var cuts = Cuts(bytes)
        for limit in recordLimits {
            let whole = read([bytes[...]], limit)
            checkPlaces(whole, bytes, limit)
            for chunks in cuts.all(of: bytes).dropFirst() {
                let outcome = read(chunks, limit)
                demand(outcome == whole, "cut otherwise: \(outcome), not \(whole)")
            }
            if !whole.rows.isEmpty {
                checkReadingOn(whole, bytes, limit, after: cuts.number(below: whole.rows.count))
            }
        }
        ContactsFuzz.check(bytes, name: "a.csv", &cuts)
    }

    private static func read(_ chunks: [ArraySlice<UInt8>], _ limit: Int) -> Outcome {
        var reader = CSVReader(recordLimit: limit)
        var outcome = Outcome()
        do throws(FormatError) {
            for chunk in chunks {
                reader.append(chunk)
                try pull(&reader, &outcome)
            }
            reader.finish()
            try pull(&reader, &outcome)
        } catch {
            outcome.fault = error.description
        }
        outcome.header = reader.header
        return outcome
    }

    private static func pull(
        _ reader: inout CSVReader, _ outcome: inout Outcome
    ) throws(FormatError) {
        while let record = try reader.next() {
            let fields = record.fault == nil ? (0..<record.count).map(record.text) : []
            outcome.rows.append(
                Row(
                    line: record.line, bytes: record.bytes, fields: fields,
                    reason: record.fault?.reason, end: reader.place))
        }
    }

    private static func checkPlaces(_ outcome: Outcome, _ bytes: [UInt8], _ limit: Int) {
        var last = 0
        for row in outcome.rows {
            let start = row.end.offset - row.bytes.count
            demand(start >= last, "row of line \(row.line) begins before the one before it ends")
            demand(!row.bytes.isEmpty && row.bytes.count <= limit, "a row of \(row.bytes.count)")
            demand(
                row.end.offset <= bytes.count && bytes[start..<row.end.offset] == row.bytes[...],
                "row of line \(row.line) is not what stands at \(start)")
            last = row.end.offset
        }
    }

    private static func checkReadingOn(
        _ whole: Outcome, _ bytes: [UInt8], _ limit: Int, after index: Int
    ) {
        var reader = CSVReader(recordLimit: limit)
        var rest = Outcome(header: whole.header)
        do throws(FormatError) {
            reader.append(bytes)
            // A header with an open quote is known at the end only.
            reader.finish()
            _ = try reader.next()
            let place = whole.rows[index].end
            reader.go(to: place)
            reader.append(bytes[place.offset...])
            try pull(&reader, &rest)
            reader.finish()
            try pull(&reader, &rest)
        } catch {
            rest.fault = error.description
        }
        let expected = Array(whole.rows[(index + 1)...])
        demand(
            rest.rows == expected && rest.fault == nil,
            "read on after row \(index): \(rest), not \(expected)")
    }
}
