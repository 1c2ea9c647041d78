// In: chunks of a CSV file, cut anywhere. Out: one record after another with its first line's
// number, its original bytes and its fields. A record that breaks the format is handed out with its
// fault and the reader goes on behind it. Memory: one chunk and one record. On the reading task.

/// One record of a CSV file.
package struct CSVRecord: Sendable {
    /// The line on which it begins, from 1.
    package var line: Int
    /// Its bytes as they stand in the file, line end included.
    package var bytes: [UInt8]
    /// Why it is refused; then its fields mean nothing.
    package var fault: Rejection?
    private var ranges: [CSVField]

    init(line: Int, bytes: [UInt8], fault: Rejection?, ranges: [CSVField]) {
        self.line = line
        self.bytes = bytes
        self.fault = fault
        self.ranges = ranges
    }

    /// How many fields it has.
    package var count: Int { ranges.count }

    /// The bytes of a field; nil when doubled quotes have to be undone first.
    func plainBytes(_ index: Int) -> ArraySlice<UInt8>? {
        let range = ranges[index]
        return range.escaped ? nil : bytes[Int(range.start)..<Int(range.end)]
    }

    /// Whether a field stands in quotes.
    func isQuoted(_ index: Int) -> Bool {
        let start = Int(ranges[index].start)
        return start > 0 && bytes[start - 1] == ASCII.quote
    }

    /// The text of a field; nil when it is not UTF-8.
    package func text(_ index: Int) -> String? {
        if let plain = plainBytes(index) { return String(utf8: plain.span) }
        let range = ranges[index]
        var unescaped: [UInt8] = []
        var skipsQuote = false
        for byte in bytes[Int(range.start)..<Int(range.end)] {
            skipsQuote = byte == ASCII.quote && !skipsQuote
            if !skipsQuote { unescaped.append(byte) }
        }
        return String(utf8: unescaped.span)
    }
}

extension String {
    /// A text of bytes; nil when they are not UTF-8. `String(validating:as:)` does the same through
    /// unspecialised generics, which takes twice as long for a cell.
    init?(utf8 bytes: Span<UInt8>) {
        guard let text = try? UTF8Span(validating: bytes) else { return nil }
        self.init(copying: text)
    }
}

/// The first record of a CSV file.
package struct CSVHeader: Sendable, Equatable {
    package var names: [String]
    package var delimiter: UInt8
    /// Its bytes as they stand in the file, byte order mark and line end included.
    package var bytes: [UInt8]
}

package struct CSVReader: Sendable {
    /// Known once the header has been read.
    package private(set) var header: CSVHeader?

    private let forcedDelimiter: UInt8?
    private let recordLimit: Int
    /// Bytes of the file before the buffer.
    private var base = 0
    private var buffer: [UInt8] = []
    private var recordStart = 0
    private var position = 0
    private var isFinished = false
    private var isSkippingLine = false
    private var mark: [UInt8] = []
    private var scanner: CSVScanner?

    /// A reader that finds the delimiter out of the header unless it is told.
    package init(delimiter: UInt8? = nil, recordLimit: Int = InputLimits.recordBytes) {
        forcedDelimiter = delimiter
        self.recordLimit = recordLimit
    }

    /// Takes the next bytes of the file.
    package mutating func append(_ chunk: some Collection<UInt8>) {
        if recordStart > 0 {
            buffer.removeSubrange(..<recordStart)
            base += recordStart
            position -= recordStart
            recordStart = 0
        }
        buffer.append(contentsOf: chunk)
    }

    /// Behind the last record that was given.
    var place: ReadingPosition {
        ReadingPosition(
            offset: base + recordStart, line: scanner?.recordLine ?? 1, skipsLine: isSkippingLine)
    }

    /// Goes on with the bytes at another place behind the header, which has been read.
    mutating func go(to place: ReadingPosition) {
        buffer = []
        base = place.offset
        recordStart = 0
        position = 0
        isFinished = false
        isSkippingLine = place.skipsLine
        scanner?.begin(line: place.line, expecting: header?.names.count ?? 0)
    }

    /// Says that there are no more bytes.
    package mutating func finish() {
        isFinished = true
    }

    /// The next record after the header; nil when more bytes are needed or all are read.
    package mutating func next() throws(FormatError) -> CSVRecord? {
        if header == nil {
            guard try readHeader() else { return nil }
        }
        guard let columns = header?.names.count else { return nil }
        while let record = nextRecord(columns) {
            // An empty line is no record: files end in them, and people put them between rows.
            if record.count == 1, record.bytes.allSatisfy({ isLineEnd($0) }) { continue }
            return checked(record, columns)
        }
        return nil
    }

    private func checked(_ record: CSVRecord, _ columns: Int) -> CSVRecord {
        guard record.fault == nil, record.count != columns else { return record }
        var ragged = record
        ragged.fault = Rejection(
            LocalReason.raggedRow,
            "\(record.count) fields where the header has \(columns); "
                + "put quotes around a text that holds the delimiter")
        return ragged
    }

    private mutating func readHeader() throws(FormatError) -> Bool {
        if scanner == nil {
            // No more than a record can have, or it would depend on how much was read so far.
            let isWhole = buffer.count >= recordLimit
            guard
                let dialect = try CSVDialect.detect(
                    isWhole ? Array(buffer[..<recordLimit]) : buffer,
                    isComplete: isFinished || isWhole,
                    forced: forcedDelimiter)
            else { return false }
            mark = Array(buffer[..<dialect.markLength])
            recordStart = dialect.start
            position = dialect.start
            var scanner = CSVScanner(delimiter: dialect.delimiter)
            scanner.begin(line: dialect.line, expecting: 0)
            self.scanner = scanner
        }
        guard let record = nextRecord(8), let delimiter = scanner?.delimiter else { return false }
        if let fault = record.fault {
            throw FormatError("the header on line \(record.line) is damaged: \(fault.message)")
        }
        var names: [String] = []
        for index in 0..<record.count {
            guard let name = record.text(index) else {
                throw FormatError(
                    "the header on line \(record.line) is not UTF-8 in column \(index + 1); "
                        + "save the file as UTF-8 (iconv -f latin1 -t utf-8)")
            }
            names.append(name)
        }
        header = CSVHeader(names: names, delimiter: delimiter, bytes: mark + record.bytes)
        return true
    }

    private mutating func nextRecord(_ columns: Int) -> CSVRecord? {
        guard var scanner else { return nil }
        // The machine is moved out and back so that it is changed in place.
        self.scanner = nil
        defer { self.scanner = scanner }
        guard skipLine() else { return nil }
        let end = min(buffer.count, recordStart + recordLimit)
        var reached = position
        let isWhole = scanner.scan(
            buffer.span, base: recordStart, position: &reached, limit: end)
        position = reached
        if isWhole { return take(&scanner, columns) }
        if end == recordStart + recordLimit {
            return scanner.isInsideQuotes
                ? takeUnclosed(&scanner, columns) : takeTooLong(&scanner, columns)
        }
        guard isFinished else { return nil }
        if scanner.finish(base: recordStart, end: end) { return take(&scanner, columns) }
        return recordStart < end ? takeUnclosed(&scanner, columns) : nil
    }

    private mutating func take(
        _ scanner: inout CSVScanner, _ columns: Int, fault: Rejection? = nil, nextLine: Int? = nil
    ) -> CSVRecord {
        let record = CSVRecord(
            line: scanner.recordLine, bytes: Array(buffer[recordStart..<position]),
            fault: fault ?? scanner.fault, ranges: scanner.fields)
        recordStart = position
        scanner.begin(line: nextLine ?? scanner.line, expecting: columns)
        return record
    }

    /// A quote was opened and never closed. Only the line on which the record begins is refused, so
    /// that one lost quote does not take the rest of the file with it.
    private mutating func takeUnclosed(
        _ scanner: inout CSVScanner, _ columns: Int
    ) -> CSVRecord {
        // Not farther than the limit, or it would depend on how much was read so far.
        let limit = recordStart + recordLimit
        let end = min(buffer.count, limit)
        position = recordStart
        while position < end, !isLineEnd(buffer[position]) { position += 1 }
        guard position < end else { return takeTooLong(&scanner, columns) }
        if buffer[position] == ASCII.carriageReturn {
            // What follows tells whether this is the whole line end.
            guard position + 1 < limit else { return takeTooLong(&scanner, columns) }
            if position + 1 < end, buffer[position + 1] == ASCII.lineFeed { position += 1 }
        }
        position += 1
        return take(
            &scanner, columns, fault: unclosed(scanner), nextLine: scanner.recordLine + 1)
    }

    private mutating func takeTooLong(
        _ scanner: inout CSVScanner, _ columns: Int
    ) -> CSVRecord {
        position = min(buffer.count, recordStart + recordLimit)
        guard position - recordStart == recordLimit else {
            return take(&scanner, columns, fault: unclosed(scanner))
        }
        isSkippingLine = true
        let fault = Rejection(
            LocalReason.recordTooLong,
            "the record that begins on line \(scanner.recordLine) is longer than "
                + "\(recordLimit) bytes; only its beginning is kept")
        return take(&scanner, columns, fault: fault, nextLine: scanner.recordLine + 1)
    }

    private func unclosed(_ scanner: CSVScanner) -> Rejection {
        Rejection(
            LocalReason.unclosedQuote,
            "field \(scanner.fields.count + 1) of the record that begins on line "
                + "\(scanner.recordLine) opens a quote that is never closed")
    }

    /// Drops what is left of a line that was too long; false when more bytes are needed.
    private mutating func skipLine() -> Bool {
        guard isSkippingLine else { return true }
        while position < buffer.count, buffer[position] != ASCII.lineFeed { position += 1 }
        let isFound = position < buffer.count
        if isFound { position += 1 }
        recordStart = position
        isSkippingLine = !isFound
        return isFound || isFinished
    }

    private func isLineEnd(_ byte: UInt8) -> Bool {
        byte == ASCII.lineFeed || byte == ASCII.carriageReturn
    }
}
