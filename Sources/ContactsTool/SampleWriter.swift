// In: rows of sample data. Out: the bytes of a CSV or NDJSON file, with the faults that a contact
// itself cannot hold put in. Gathers bytes; the caller writes them out. On any thread.

package import ContactsClient

package struct SampleWriter: Sendable {
    /// How the file is written.
    package struct Options: Sendable {
        package var format = FileFormat.csv
        /// A byte order mark before the first line, as Excel writes it.
        package var mark = false
        /// Lines end in CRLF, as RFC 4180 has it.
        package var crlf = false

        package init() {}
    }

    /// The custom fields in the order of their columns.
    private static let custom = [
        ("plan", "plan"), ("age", "age:integer"), ("score", "score:number"),
        ("subscribed", "subscribed:boolean"), ("joined", "joined:timestamp"), ("note", "note"),
    ]

    private let options: Options
    /// What is not written out yet.
    package private(set) var bytes: [UInt8] = []

    /// A writer that begins with the header, if the format has one.
    package init(options: Options) {
        self.options = options
        if options.mark { bytes += CSVDialect.mark }
        guard options.format == .csv else { return }
        let standard = ["email", "phone", "external_id", "first_name", "last_name", "name"]
        bytes += (standard + Self.custom.map(\.1)).joined(separator: ",").utf8
        endLine()
    }

    /// Forgets what was written out.
    package mutating func removeAll() {
        bytes.removeAll(keepingCapacity: true)
    }

    /// Adds a row.
    package mutating func append(_ row: SampleRow) {
        switch options.format {
        case .csv: appendCSV(row)
        case .ndjson: appendJSON(row)
        }
        endLine()
    }

    private mutating func endLine() {
        if options.crlf { bytes.append(ASCII.carriageReturn) }
        bytes.append(ASCII.lineFeed)
    }

    private mutating func appendCSV(_ row: SampleRow) {
        let contact = row.contact
        appendCell(contact.email)
        bytes.append(ASCII.comma)
        appendCell(contact.phone)
        bytes.append(ASCII.comma)
        appendCell(contact.externalID)
        bytes.append(ASCII.comma)
        appendCell(contact.firstName)
        // Latin-1's e acute is no UTF-8.
        if row.fault == .invalidUTF8 { bytes.append(0xE9) }
        bytes.append(ASCII.comma)
        appendCell(contact.lastName)
        bytes.append(ASCII.comma)
        appendCell(contact.name)
        var next = 0
        for (name, _) in Self.custom {
            bytes.append(ASCII.comma)
            guard next < contact.fields.count, contact.fields[next].name == name else { continue }
            let isSpoilt = name == "age" && row.fault == .fieldInvalid
            appendCell(isSpoilt ? "thirty" : contact.fields[next].value.cell)
            next += 1
        }
        if row.fault == .broken { bytes += ",one,two".utf8 }
    }

    private mutating func appendCell(_ text: String?) {
        guard let text else { return }
        CSVCell.append(text, to: &bytes)
    }

    private mutating func appendJSON(_ row: SampleRow) {
        var writer = JSONWriter()
        writer.object { writer in
            writer.contact(row.contact)
            if row.fault == .fieldInvalid { writer.array("list_ids") { $0.element("thirty") } }
        }
        switch row.fault {
        case .invalidUTF8:
            // Into the first text of the line.
            let place = writer.bytes.firstIndex(of: UInt8(ascii: ":")) ?? 0
            bytes += writer.bytes[...(place + 1)]
            bytes.append(0xE9)
            bytes += writer.bytes[(place + 2)...]
        case .broken:
            bytes += writer.bytes.dropLast()
        default:
            bytes += writer.bytes
        }
    }
}

extension CustomField.Value {
    /// The value as a cell; empty for null.
    package var cell: String {
        switch self {
        case .string(let text): text
        case .integer(let number): String(number)
        case .number(let number): number.description
        case .boolean(let flag): flag ? "true" : "false"
        case .timestamp(let time): time.text
        case .null: ""
        }
    }
}

extension JSONWriter {
    /// The keys of a contact, as `NDJSONReader` takes them back.
    package mutating func contact(_ contact: Contact) {
        let texts = [
            ("id", contact.id), ("email", contact.email), ("phone", contact.phone),
            ("external_id", contact.externalID), ("name", contact.name),
            ("first_name", contact.firstName), ("last_name", contact.lastName),
        ]
        for (key, text) in texts {
            if let text { set(key, text) }
        }
        if !contact.listIDs.isEmpty {
            array("list_ids") { writer in
                for list in contact.listIDs { writer.element(list) }
            }
        }
        guard !contact.fields.isEmpty else { return }
        object("fields") { $0.fields(contact.fields) }
    }

    /// Custom fields with their kinds.
    package mutating func fields(_ fields: [CustomField]) {
        for field in fields { self.field(field) }
    }

    private mutating func field(_ field: CustomField) {
        switch field.value {
        case .string(let text): set(field.name, text)
        case .integer(let number): set(field.name, number)
        case .number(let number): set(field.name, number)
        case .boolean(let flag): set(field.name, flag)
        case .timestamp(let time): object(field.name) { $0.set("timestamp", time.text) }
        case .null: setNull(field.name)
        }
    }
}
