// In: chunks of a file in any of the formats. Out: one record after another, each with its line,
// its original bytes, and a contact or the reason why it is refused. On the reading task.

package import ContactsClient

/// How contacts stand in a file.
package enum FileFormat: String, Sendable, CaseIterable {
    case csv, ndjson

    /// The format by the name's ending, else by the first byte; nil when there is none yet.
    package static func detect(name: String, beginning: some Collection<UInt8>) -> FileFormat? {
        let name = name.lowercased()
        if name.hasSuffix(".csv") || name.hasSuffix(".tsv") { return .csv }
        if [".ndjson", ".jsonl", ".json"].contains(where: name.hasSuffix) { return .ndjson }
        let mark = CSVDialect.mark
        let bytes = beginning.starts(with: mark) ? Array(beginning.dropFirst(3)) : Array(beginning)
        guard let first = bytes.first(where: { !$0.isBlank && $0 != 0x0A && $0 != 0x0D })
        else { return nil }
        return first == UInt8(ascii: "{") ? .ndjson : .csv
    }
}

/// One record of a file.
package struct InputRecord: Sendable {
    /// The line on which it begins, from 1.
    package var line: Int
    /// Its bytes as they stand in the file.
    package var bytes: [UInt8]
    /// The contact, or why there is none.
    package var content: Result<Contact, RejectedRecord>
    /// Where it ends.
    package var end = ReadingPosition()
}

/// What the caller asks of the reading.
package struct ReadingOptions: Sendable {
    /// nil: found out.
    package var format: FileFormat?
    /// nil: found out of the header.
    package var delimiter: UInt8?
    package var mapping = MappingOptions()
    package var unknownKeys = UnknownKeys.reject

    package init() {}
}

/// Reads contacts out of CSV or NDJSON.
package struct ContactReader: Sendable {
    private enum Source {
        case undecided([UInt8])
        case csv(CSVReader)
        case ndjson(NDJSONReader)
    }

    private let name: String
    private let options: ReadingOptions
    private let json: JSONMapping
    private var source = Source.undecided([])
    private var mapping: ColumnMapping?
    /// The original header of a CSV file, for the file of rejects.
    package private(set) var header: [UInt8] = []

    /// A reader of the file of that name.
    package init(name: String, options: ReadingOptions) {
        self.name = name
        self.options = options
        var json = JSONMapping()
        json.unknownKeys = options.unknownKeys
        json.emptyClears = options.mapping.emptyClears
        json.matchBy = options.mapping.matchBy
        self.json = json
    }

    /// The format, once it is known.
    package var format: FileFormat? {
        switch source {
        case .undecided: nil
        case .csv: .csv
        case .ndjson: .ndjson
        }
    }

    /// One line that says what was understood; nil until the header has been read.
    package var understood: String? {
        switch source {
        case .undecided: return nil
        case .ndjson: return "NDJSON, one object a line"
        case .csv(let reader):
            guard let header = reader.header, let mapping else { return nil }
            return "CSV with \(delimiterName(header.delimiter)): \(mapping.summary)"
        }
    }

    /// Takes the next bytes of the file.
    package mutating func append(_ chunk: [UInt8]) {
        switch source {
        case .undecided(let beginning):
            source = .undecided(beginning + chunk)
            decide(isComplete: false)
        case .csv(var reader):
            source = .undecided([])
            reader.append(chunk)
            source = .csv(reader)
        case .ndjson(var reader):
            source = .undecided([])
            reader.append(chunk)
            source = .ndjson(reader)
        }
    }

    /// Goes on with the bytes at another place of the file. Only once something is understood.
    mutating func go(to place: ReadingPosition) {
        switch source {
        case .undecided: break
        case .csv(var reader):
            reader.go(to: place)
            source = .csv(reader)
        case .ndjson(var reader):
            reader.go(to: place)
            source = .ndjson(reader)
        }
    }

    /// Says that there are no more bytes.
    package mutating func finish() {
        decide(isComplete: true)
        switch source {
        case .undecided: break
        case .csv(var reader):
            reader.finish()
            source = .csv(reader)
        case .ndjson(var reader):
            reader.finish()
            source = .ndjson(reader)
        }
    }

    private mutating func decide(isComplete: Bool) {
        guard case .undecided(let beginning) = source, isComplete || beginning.count >= 4
        else { return }
        let format =
            options.format ?? FileFormat.detect(name: name, beginning: beginning)
            ?? (isComplete ? .csv : nil)
        switch format {
        case nil: return
        case .csv:
            var reader = CSVReader(delimiter: options.delimiter)
            reader.append(beginning)
            source = .csv(reader)
        case .ndjson:
            var reader = NDJSONReader()
            reader.append(beginning)
            source = .ndjson(reader)
        }
    }

    /// Reads up to `limit` records; fewer when more bytes are needed or all are read.
    package mutating func read(
        upTo limit: Int, into records: inout [InputRecord]
    ) throws(FormatError) {
        switch source {
        case .undecided: return
        case .csv(var reader):
            // Moved out so that the buffer is changed in place and not copied.
            source = .undecided([])
            defer { source = .csv(reader) }
            try readCSV(&reader, limit, &records)
        case .ndjson(var reader):
            source = .undecided([])
            defer { source = .ndjson(reader) }
            while records.count < limit, let record = try reader.next() {
                let content = Result { () throws(RejectedRecord) in try json.contact(record) }
                records.append(
                    InputRecord(
                        line: record.line, bytes: record.bytes, content: content,
                        end: reader.place))
            }
        }
    }

    private mutating func readCSV(
        _ reader: inout CSVReader, _ limit: Int, _ records: inout [InputRecord]
    ) throws(FormatError) {
        while records.count < limit {
            let record = try reader.next()
            if mapping == nil, let header = reader.header {
                mapping = try ColumnMapping(header: header.names, options: options.mapping)
                self.header = header.bytes
            }
            guard let record, let mapping else { return }
            let content = Result { () throws(RejectedRecord) in try mapping.contact(record) }
            records.append(
                InputRecord(
                    line: record.line, bytes: record.bytes, content: content, end: reader.place))
        }
    }

    private func delimiterName(_ delimiter: UInt8) -> String {
        switch delimiter {
        case ASCII.comma: "commas"
        case ASCII.tab: "tabs"
        case UInt8(ascii: ";"): "semicolons"
        case UInt8(ascii: "|"): "bars"
        default: "\"\(Character(Unicode.Scalar(delimiter)))\" between the fields"
        }
    }
}
