// In: an NDJSON file. Out: nothing; wherever the file is cut the same lines must come, each with the
// bytes of its place, and the contact of a line must survive being written and read again.

import ContactsClient
@testable import ContactsTool

enum NDJSONFuzz {
    private static let recordLimits = [InputLimits.recordBytes, 24]

    private struct Line: Equatable {
        var number: Int
        var bytes: [UInt8]
        var isCut: Bool
        var end: ReadingPosition
    }

    private struct Outcome: Equatable {
        var lines: [Line] = []
        var fault: String?
    }

    static func check(_ bytes: [UInt8]) {
        var cuts = Cuts(bytes)
        for limit in recordLimits {
            var reader = NDJSONReader(recordLimit: limit)
            let whole = read(&reader, [bytes[...]])
            var last = 0
            for line in whole.lines {
                let start = line.end.offset - line.bytes.count
                demand(start >= last, "line \(line.number) begins before the one before it ends")
                demand(
                    line.end.offset <= bytes.count
                        && bytes[start..<line.end.offset] == line.bytes[...],
                    "line \(line.number) is not what stands at \(start)")
                last = line.end.offset
            }
            for chunks in cuts.all(of: bytes).dropFirst() {
                var reader = NDJSONReader(recordLimit: limit)
                let outcome = read(&reader, chunks)
                demand(outcome == whole, "cut otherwise: \(outcome), not \(whole)")
            }
            guard !whole.lines.isEmpty else { continue }
            let index = cuts.number(below: whole.lines.count)
            let place = whole.lines[index].end
            reader.go(to: place)
            let rest = read(&reader, [bytes[place.offset...]])
            demand(
                rest == Outcome(lines: Array(whole.lines[(index + 1)...])),
                "read on after line \(index): \(rest), not the rest of \(whole)")
        }
        ContactsFuzz.check(bytes, name: "a.ndjson", &cuts)
    }

    private static func read(
        _ reader: inout NDJSONReader, _ chunks: [ArraySlice<UInt8>]
    ) -> Outcome {
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
        return outcome
    }

    private static func pull(
        _ reader: inout NDJSONReader, _ outcome: inout Outcome
    ) throws(FormatError) {
        while let record = try reader.next() {
            outcome.lines.append(
                Line(
                    number: record.line, bytes: record.bytes, isCut: record.isCut,
                    end: reader.place))
        }
    }
}
