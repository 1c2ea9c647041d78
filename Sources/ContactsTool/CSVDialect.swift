// In: the first bytes of a CSV file. Out: where its header begins and which delimiter it uses, or
// why it is no CSV file at all. On the reading task.

struct CSVDialect: Equatable {
    var delimiter: UInt8
    /// Bytes of the byte order mark.
    var markLength: Int
    /// Where the header begins: behind the mark and behind Excel's `sep=;` line.
    var start: Int
    /// The line on which the header begins.
    var line: Int

    /// What a header is searched for; of equal counts the first wins.
    static let candidates = Array(",;\t|".utf8)

    static let mark: [UInt8] = [0xEF, 0xBB, 0xBF]

    /// Looks at the beginning; nil when the header is not there as a whole yet.
    static func detect(
        _ bytes: [UInt8], isComplete: Bool, forced: UInt8?
    ) throws(FormatError) -> CSVDialect? {
        guard isComplete || bytes.count >= mark.count else { return nil }
        try refuseForeign(bytes)
        let markLength = bytes.starts(with: mark) ? mark.count : 0
        var start = markLength
        var line = 1
        while start < bytes.count, isLineEnd(bytes[start]) {
            line += bytes[start] == ASCII.lineFeed ? 1 : 0
            start += 1
        }
        guard start < bytes.count else {
            guard isComplete else { return nil }
            throw FormatError("the file is empty; its first line must name the columns")
        }
        guard let header = headerEnd(bytes, from: start) ?? (isComplete ? bytes.count : nil)
        else { return nil }
        if let named = separatorLine(bytes[start..<header]) {
            guard isComplete || header + 1 < bytes.count else { return nil }
            let isPair = bytes[header...].starts(with: [ASCII.carriageReturn, ASCII.lineFeed])
            let next = min(bytes.count, header + (isPair ? 2 : 1))
            return CSVDialect(
                delimiter: forced ?? named, markLength: markLength, start: next, line: line + 1)
        }
        let delimiter = forced ?? mostFrequent(bytes[start..<header])
        return CSVDialect(
            delimiter: delimiter, markLength: markLength, start: start, line: line)
    }

    static func refuseForeign(_ bytes: [UInt8]) throws(FormatError) {
        if bytes.starts(with: [0xFF, 0xFE]) || bytes.starts(with: [0xFE, 0xFF]) {
            throw FormatError(
                "the file is UTF-16; save it as UTF-8 (iconv -f utf-16 -t utf-8 FILE)")
        }
        if bytes.starts(with: [0x1F, 0x8B]) {
            throw FormatError(
                "the file is gzip-compressed; use: gunzip -c FILE | contacts import -")
        }
        if bytes.starts(with: [0x50, 0x4B, 0x03, 0x04]) {
            throw FormatError(
                "the file is a zip archive or a spreadsheet; save the sheet as CSV (UTF-8)")
        }
    }

    /// The end of the first line that is not inside quotes.
    private static func headerEnd(_ bytes: [UInt8], from start: Int) -> Int? {
        var isQuoted = false
        var isFieldStart = true
        for index in start..<bytes.count {
            let byte = bytes[index]
            if byte == ASCII.quote, isQuoted || isFieldStart { isQuoted.toggle() }
            if !isQuoted, isLineEnd(byte) { return index }
            isFieldStart = candidates.contains(byte)
        }
        return nil
    }

    private static func mostFrequent(_ header: ArraySlice<UInt8>) -> UInt8 {
        var counts = [Int](repeating: 0, count: candidates.count)
        var isQuoted = false
        for byte in header {
            if byte == ASCII.quote { isQuoted.toggle() }
            guard !isQuoted, let index = candidates.firstIndex(of: byte) else { continue }
            counts[index] += 1
        }
        var best = 0
        for index in counts.indices where counts[index] > counts[best] { best = index }
        return candidates[best]
    }

    private static func separatorLine(_ header: ArraySlice<UInt8>) -> UInt8? {
        header.count == 5 && header.starts(with: Array("sep=".utf8)) ? header.last : nil
    }

    private static func isLineEnd(_ byte: UInt8) -> Bool {
        byte == ASCII.lineFeed || byte == ASCII.carriageReturn
    }
}
