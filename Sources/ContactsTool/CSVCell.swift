// In: a text. Out: the bytes of a CSV cell that reads back as just that text. Pure.

enum CSVCell {
    /// Adds a cell, in quotes where it has to be (RFC 4180 section 2).
    ///
    /// - Parameter quotesEdges: Whether spaces at an end are kept safe from readers that trim.
    static func append(
        _ text: String, to output: inout [UInt8], quotesEdges: Bool = false
    ) {
        var text = text
        text.withUTF8 { append(UnsafeRawBufferPointer($0), to: &output, quotesEdges: quotesEdges) }
    }

    /// Adds a cell of UTF-8.
    static func append(
        _ text: UnsafeRawBufferPointer, to output: inout [UInt8], quotesEdges: Bool = false
    ) {
        let hasEdge =
            quotesEdges && (text.first?.isBlank == true || text.last?.isBlank == true)
        guard hasEdge || text.contains(where: isSpecial) else {
            output.append(contentsOf: text)
            return
        }
        output.append(ASCII.quote)
        var start = 0
        for (index, byte) in text.enumerated() where byte == ASCII.quote {
            output.append(contentsOf: text[start...index])
            // The quote itself once more begins the next run.
            start = index
        }
        output.append(contentsOf: text[start...])
        output.append(ASCII.quote)
    }

    private static func isSpecial(_ byte: UInt8) -> Bool {
        byte == ASCII.comma || byte == ASCII.quote || byte == ASCII.lineFeed
            || byte == ASCII.carriageReturn
    }
}
