// In: contacts. Out: the bytes of a CSV or NDJSON file that `ContactReader` reads back as the same
// contacts. Gathers bytes; the caller writes them out. On any thread.
//
// In CSV a custom field has no column of its own: the header is written before the first contact is
// known, and columns lose what tells 5 from 5.0 and "5". All of them stand in the column `fields`,
// as the JSON object that NDJSON has under that key.

package import ContactsClient

package struct ContactWriter: Sendable {
    private let format: FileFormat
    private let writesIDs: Bool
    /// What is not written out yet.
    package private(set) var bytes: [UInt8] = []
    private var json = JSONWriter()

    /// The columns in their order; `id` stands before them.
    private static let columns = "email,phone,external_id,name,first_name,last_name,fields\n"

    /// A writer that begins with the header, if the format has one.
    package init(format: FileFormat, writesIDs: Bool) {
        self.format = format
        self.writesIDs = writesIDs
        guard format == .csv else { return }
        bytes += ((writesIDs ? "id," : "") + Self.columns).utf8
    }

    /// Forgets what was written out.
    package mutating func removeAll() {
        bytes.removeAll(keepingCapacity: true)
    }

    /// Adds a contact. Its lists are left out: they are numbers of its workspace.
    package mutating func append(_ contact: Contact) {
        switch format {
        case .csv: appendCSV(contact)
        case .ndjson: appendJSON(contact)
        }
        bytes.append(ASCII.lineFeed)
    }

    private mutating func appendCSV(_ contact: Contact) {
        if writesIDs {
            append(contact.id)
            bytes.append(ASCII.comma)
        }
        append(contact.email)
        bytes.append(ASCII.comma)
        append(contact.phone)
        bytes.append(ASCII.comma)
        append(contact.externalID)
        bytes.append(ASCII.comma)
        append(contact.name)
        bytes.append(ASCII.comma)
        append(contact.firstName)
        bytes.append(ASCII.comma)
        append(contact.lastName)
        bytes.append(ASCII.comma)
        guard !contact.fields.isEmpty else { return }
        json.reset()
        json.object { $0.fields(contact.fields) }
        json.bytes.withUnsafeBytes { CSVCell.append($0, to: &bytes) }
    }

    private mutating func append(_ text: String?) {
        if let text { CSVCell.append(text, to: &bytes, quotesEdges: true) }
    }

    private mutating func appendJSON(_ contact: Contact) {
        var contact = contact
        contact.listIDs = []
        if !writesIDs { contact.id = nil }
        json.reset()
        json.object { $0.contact(contact) }
        bytes += json.bytes
    }
}
