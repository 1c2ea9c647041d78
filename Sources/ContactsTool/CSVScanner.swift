// In: bytes of a CSV file, wherever they were cut. Out: where the fields of one record stand.
// RFC 4180 section 2, with what real files do besides: a line may end in LF, CRLF or CR, and a
// quote inside an unquoted field is an ordinary character. The machine keeps no bytes; it
// goes on where it stopped when more have come. On the reading task.

/// Where a field stands in its record, without its outer quotes.
struct CSVField: Sendable {
    var start: Int32
    var end: Int32
    /// It holds doubled quotes.
    var escaped: Bool
}

struct CSVScanner {
    ///               quote             quote
    ///   fieldStart --------> quoted <--------> quoteInQuoted --other--> plain (a fault)
    ///     |   ^                                  |
    ///     v   | delimiter                        | delimiter, line end: as in plain
    ///    plain --CR--> afterCR --any--> done     |
    ///      `--LF--> done <-----------------------'
    private enum State {
        case fieldStart, plain, quoted, quoteInQuoted, afterCR
    }

    let delimiter: UInt8
    private var state = State.fieldStart
    private var fieldStart = 0
    private var escaped = false
    /// The fields of the record so far.
    private(set) var fields: [CSVField] = []
    /// The first fault of the record.
    private(set) var fault: Rejection?
    /// The line on which the next byte stands.
    private(set) var line = 1
    /// The line on which the record began.
    private(set) var recordLine = 1

    init(delimiter: UInt8) {
        self.delimiter = delimiter
    }

    /// Whether the record stands inside a quoted field.
    var isInsideQuotes: Bool { state == .quoted }

    /// Begins the next record on the given line.
    mutating func begin(line: Int, expecting count: Int) {
        state = .fieldStart
        escaped = false
        fields = []
        fields.reserveCapacity(count)
        fault = nil
        self.line = line
        recordLine = line
    }

    /// Reads on from `position`; true when the record, which began at `base`, is complete.
    mutating func scan(
        _ bytes: Span<UInt8>, base: Int, position: inout Int, limit: Int
    ) -> Bool {
        while position < limit {
            switch state {
            case .fieldStart:
                let quoted = bytes[position] == ASCII.quote
                state = quoted ? .quoted : .plain
                if quoted { position += 1 }
                fieldStart = position - base
                escaped = false
            case .plain:
                skipPlain(bytes, &position, limit)
                guard position < limit else { return false }
                if endField(bytes[position], at: position - base, next: &position) { return true }
            case .quoted:
                scanQuoted(bytes, base, &position, limit)
            case .quoteInQuoted:
                let byte = bytes[position]
                if byte == ASCII.quote {
                    escaped = true
                    state = .quoted
                    position += 1
                } else if endField(byte, at: position - 1 - base, next: &position) {
                    return true
                }
            case .afterCR:
                if bytes[position] == ASCII.lineFeed { position += 1 }
                return true
            }
        }
        return false
    }

    /// Ends the record with the input; false when there is none or it stands inside quotes.
    mutating func finish(base: Int, end: Int) -> Bool {
        switch state {
        case .fieldStart:
            guard !fields.isEmpty else { return false }
            let end = Int32(end - base)
            fields.append(CSVField(start: end, end: end, escaped: false))
        case .plain:
            append(upTo: end - base)
        case .quoteInQuoted:
            append(upTo: end - 1 - base)
        case .afterCR:
            break
        case .quoted:
            return false
        }
        return true
    }

    private func skipPlain(_ bytes: Span<UInt8>, _ position: inout Int, _ limit: Int) {
        var index = position
        while index < limit {
            let byte = bytes[index]
            // Two comparisons for nearly every byte: all others that end a run are below it.
            if byte == delimiter || byte <= ASCII.carriageReturn {
                if byte == delimiter || byte == ASCII.lineFeed || byte == ASCII.carriageReturn
                    || byte == ASCII.nul
                {
                    break
                }
            }
            index += 1
        }
        position = index
    }

    private mutating func scanQuoted(
        _ bytes: Span<UInt8>, _ base: Int, _ position: inout Int, _ limit: Int
    ) {
        var index = position
        while index < limit {
            let byte = bytes[index]
            index += 1
            if byte == ASCII.quote {
                state = .quoteInQuoted
                break
            }
            guard byte <= ASCII.carriageReturn else { continue }
            if byte == ASCII.carriageReturn {
                line += 1
            } else if byte == ASCII.lineFeed, bytes[index - 2] != ASCII.carriageReturn {
                line += 1
            } else if byte == ASCII.nul {
                noteNUL()
            }
        }
        position = index
    }

    /// Handles the byte after a field's text; true when it ends the record.
    private mutating func endField(_ byte: UInt8, at end: Int, next position: inout Int) -> Bool {
        let closesQuotes = state == .quoteInQuoted
        if byte == delimiter {
            append(upTo: end)
            state = .fieldStart
        } else if byte == ASCII.lineFeed || byte == ASCII.carriageReturn {
            append(upTo: end)
            line += 1
            state = byte == ASCII.carriageReturn ? .afterCR : .fieldStart
        } else if closesQuotes {
            note(
                Rejection(
                    LocalReason.textAfterQuote,
                    "field \(fields.count + 1) on line \(line) goes on after its closing quote; "
                        + "double a quote that belongs to the text"))
            state = .plain
            return false
        } else {
            noteNUL()
        }
        position += 1
        return byte == ASCII.lineFeed
    }

    private mutating func append(upTo end: Int) {
        fields.append(CSVField(start: Int32(fieldStart), end: Int32(end), escaped: escaped))
    }

    private mutating func noteNUL() {
        note(
            Rejection(
                "INVALID_UTF8", column: fields.count,
                "field \(fields.count + 1) on line \(line) holds a NUL byte"))
    }

    private mutating func note(_ rejection: Rejection) {
        if fault == nil { fault = rejection }
    }
}
