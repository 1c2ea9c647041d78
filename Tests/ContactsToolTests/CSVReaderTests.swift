import Testing

@testable import ContactsTool

@Suite struct CSVReaderTests {
    /// What came out of a file, as far as it is worth comparing.
    struct Row: Equatable {
        var line: Int
        var bytes: String
        var fields: [String?]
        var reason: String?
    }

    static func read(
        _ chunks: [[UInt8]], delimiter: UInt8? = nil, limit: Int = InputLimits.recordBytes
    ) throws -> (CSVHeader?, [Row]) {
        var reader = CSVReader(delimiter: delimiter, recordLimit: limit)
        var rows: [Row] = []
        func drain() throws {
            while let record = try reader.next() {
                let fields = record.fault == nil ? (0..<record.count).map(record.text) : []
                rows.append(
                    Row(
                        line: record.line, bytes: String(decoding: record.bytes, as: UTF8.self),
                        fields: fields, reason: record.fault?.reason))
            }
        }
        for chunk in chunks {
            reader.append(chunk)
            try drain()
        }
        reader.finish()
        try drain()
        return (reader.header, rows)
    }

    /// The rows of a file, which have to be the same wherever it is cut.
    static func rows(_ file: String, limit: Int = InputLimits.recordBytes) throws -> [Row] {
        let whole = try read([Array(file.utf8)], limit: limit).1
        for chunks in everyCut(Array(file.utf8)) {
            #expect(try read(chunks, limit: limit).1 == whole)
        }
        return whole
    }

    @Test(arguments: ForeignCSV.all)
    func readsWhatPythonWrites(_ foreign: ForeignCSV) throws {
        let bytes = Array(foreign.file.utf8)
        for chunks in everyCut(bytes) {
            let (header, rows) = try Self.read(chunks)
            #expect(header?.names == foreign.rows[0])
            #expect(rows.map(\.fields) == foreign.rows.dropFirst().map { $0.map { $0 } })
            #expect(rows.map(\.bytes).joined() + "" == foreign.file.droppingHeader)
        }
    }

    @Test func countsLinesAndKeepsBytes() throws {
        let file =
            "email,note\r\na@x.io,\"one\r\ntwo\nthree\rfour\"\r\n\r\n\n"
            + "b@x.io,\"say \"\"hi\"\"\"\n"
        #expect(
            try Self.rows(file) == [
                Row(
                    line: 2, bytes: "a@x.io,\"one\r\ntwo\nthree\rfour\"\r\n",
                    fields: ["a@x.io", "one\r\ntwo\nthree\rfour"]),
                Row(
                    line: 8, bytes: "b@x.io,\"say \"\"hi\"\"\"\n",
                    fields: ["b@x.io", "say \"hi\""]),
            ])
    }

    @Test(arguments: [
        "a,b\n1,2", "a,b\n1,2\n", "a,b\r\n1,2\r\n", "a,b\r1,2\r", "\u{FEFF}a,b\n1,2\n",
    ])
    func endsInAnyWay(_ file: String) throws {
        #expect(try Self.rows(file).map(\.fields) == [["1", "2"]])
    }

    @Test func refusesRaggedRowsAlone() throws {
        let rows = try Self.rows("a,b\n1\n1,2,3\n1,\n")
        #expect(rows.map(\.reason) == ["RAGGED_ROW", "RAGGED_ROW", nil])
        #expect(rows.map(\.line) == [2, 3, 4])
        #expect(rows[2].fields == ["1", ""])
    }

    @Test func anUnclosedQuoteTakesOneLine() throws {
        let rows = try Self.rows("a,b\n1,2\n3,\"4\n5,6\n7,8\n")
        #expect(rows.map(\.reason) == [nil, "UNCLOSED_QUOTE", nil, nil])
        #expect(rows.map(\.line) == [2, 3, 4, 5])
        #expect(rows[1].bytes == "3,\"4\n")
        let last = try Self.rows("a,b\n1,2\n3,\"4")
        #expect(last.map(\.reason) == [nil, "UNCLOSED_QUOTE"])
    }

    @Test func anOpenQuoteIsNoticedAtTheLimit() throws {
        let rows = try Self.rows("a,b\n1,\"2\n3,4\n5,6\n7,8\n9,0\n", limit: 16)
        #expect(rows.map(\.reason) == ["UNCLOSED_QUOTE", nil, nil, nil, nil])
        #expect(rows.map(\.line) == [2, 3, 4, 5, 6])
    }

    /// The search for the end of the line stops at the limit, however much has been read.
    @Test(arguments: [
        ("a,b\n\"0123456789\n3,4\n", "UNCLOSED_QUOTE"),
        ("a,b\n\"01234567890\n3,4\n", "RECORD_TOO_LONG"),
        ("a,b\n\"012345678\r\n3,4\n", "UNCLOSED_QUOTE"),
        ("a,b\n\"0123456789\r\n3,4\n", "RECORD_TOO_LONG"),
    ])
    func anOpenQuoteInALineAtTheLimit(_ file: String, _ reason: String) throws {
        let rows = try Self.rows(file, limit: 12)
        #expect(rows.map(\.reason) == [reason, nil])
        #expect(rows.map(\.line) == [2, 3])
        #expect(rows[0].bytes.utf8.count <= 12)
    }

    @Test func anOverlongLineIsCut() throws {
        let rows = try Self.rows("a,b\n1,2345678901234567890\n3,4\n", limit: 12)
        #expect(rows.map(\.reason) == ["RECORD_TOO_LONG", nil])
        #expect(rows.map(\.line) == [2, 3])
        // A record of exactly the limit is read.
        #expect(try Self.rows("a,b\n1,23456789\n", limit: 11).map(\.reason) == [nil])
        #expect(try Self.rows("a,b\n1,23456789\n", limit: 10).count == 1)
    }

    @Test func goesOnBehindTextAfterAQuote() throws {
        let rows = try Self.rows("a,b\n\"1\"x,2\n3,4\n")
        #expect(rows.map(\.reason) == ["TEXT_AFTER_QUOTE", nil])
        #expect(try Self.rows("a,b\n1\"x\",2\n")[0].fields == ["1\"x\"", "2"])
    }

    @Test func refusesNULAndForeignBytesAlone() throws {
        #expect(
            try Self.rows("a,b\n1,\0\n\"\0\",2\n3,4\n").map(\.reason)
                == ["INVALID_UTF8", "INVALID_UTF8", nil])
        let bytes = Array("a,b\n".utf8) + [0xE9, 0x2C, 0x31, 0x0A] + Array("3,4\n".utf8)
        for chunks in everyCut(bytes) {
            let rows = try Self.read(chunks).1
            #expect(rows.map(\.fields) == [[nil, "1"], ["3", "4"]])
        }
    }

    @Test(arguments: [
        ("a,b;c\n", UInt8(ascii: ",")), ("a;b;c,d\n", UInt8(ascii: ";")),
        ("a\tb\n", UInt8(ascii: "\t")), ("a|b\n", UInt8(ascii: "|")),
        ("\"a,b,c\";d;e\n", UInt8(ascii: ";")), ("alone\n", UInt8(ascii: ",")),
        ("sep=;\r\na,b;c\n", UInt8(ascii: ";")),
    ])
    func findsTheDelimiter(_ file: String, _ delimiter: UInt8) throws {
        for chunks in everyCut(Array(file.utf8)) {
            #expect(try Self.read(chunks).0?.delimiter == delimiter)
        }
    }

    /// Only what a record may have is looked at for the delimiter, however much has been read.
    @Test func findsTheDelimiterWithinTheLimit() throws {
        let file = Array("a|b|\"c\n0123456789,\",d,e,f\n".utf8)
        let limit = 16
        let whole = #expect(throws: FormatError.self) { try Self.read([file], limit: limit) }
        for chunks in everyCut(file) {
            let error = #expect(throws: FormatError.self) { try Self.read(chunks, limit: limit) }
            #expect(error?.description == whole?.description)
        }
    }

    @Test func takesAForcedDelimiter() throws {
        let (header, rows) = try Self.read([Array("a,b;c\n1,2;3".utf8)], delimiter: 0x3B)
        #expect(header?.names == ["a,b", "c"])
        #expect(rows.map(\.fields) == [["1,2", "3"]])
    }

    @Test(arguments: [
        [], [0x0A], [0xEF, 0xBB, 0xBF], [0xFF, 0xFE, 0x61, 0x00], [0x1F, 0x8B, 0x08, 0x00],
        Array("PK\u{3}\u{4}".utf8), Array("\"a,b\n1,2\n".utf8), [0xE9, 0x2C, 0x62, 0x0A],
        [0x61, 0x00, 0x62, 0x0A],
    ])
    func refusesWhatIsNoCSV(_ bytes: [UInt8]) throws {
        for chunks in everyCut(bytes) {
            #expect(throws: FormatError.self) { try Self.read(chunks) }
        }
    }
}

extension String {
    fileprivate var droppingHeader: String {
        let end = unicodeScalars.firstIndex { $0 == "\n" || $0 == "\r" } ?? endIndex
        var rest = self.unicodeScalars[end...]
        if rest.starts(with: ["\r", "\n"]) { rest = rest.dropFirst() }
        return String(String.UnicodeScalarView(rest.dropFirst()))
    }
}
