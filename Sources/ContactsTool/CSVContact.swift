// In: one CSV record and what its columns mean. Out: a contact, or why the record is refused
// before it is sent: only for what cannot be said on the wire. All other rules are the server's, so
// that there is one answer for each fault. On the reading task; one contact after another.

package import ContactsClient

extension ColumnMapping {
    /// The contact of a record.
    package func contact(_ record: CSVRecord) throws(RejectedRecord) -> Contact {
        if var fault = record.fault {
            if let column = fault.column, column < columns.count {
                fault.field = columns[column].header
            }
            throw RejectedRecord(fault)
        }
        var contact = Contact()
        contact.fields.reserveCapacity(columns.count)
        for index in columns.indices {
            switch columns[index].target {
            case .ignored:
                continue
            case .standard(let field):
                guard let text = try text(record, index) else { continue }
                try contact.set(field, text, in: columns[index].header)
            case .custom(let name, let type):
                guard let text = try text(record, index) else { continue }
                let value = try value(text, type, in: columns[index].header)
                contact.fields.append(CustomField(name, value))
            }
        }
        return contact
    }

    /// The text of a cell: empty means clear, nil means leave.
    private func text(_ record: CSVRecord, _ index: Int) throws(RejectedRecord) -> String? {
        if let bytes = record.plainBytes(index), bytes.allSatisfy(\.isBlank),
            bytes.isEmpty || !keepsQuotedBlanks || !record.isQuoted(index)
        {
            return emptyClears ? "" : nil
        }
        if let text = record.text(index) { return text }
        throw RejectedRecord(
            Rejection(
                "INVALID_UTF8", field: columns[index].header,
                "the text is not UTF-8; is the file in another encoding?"))
    }

    private func value(
        _ text: String, _ type: CellType, in column: String
    ) throws(RejectedRecord) -> CustomField.Value {
        if text.isEmpty { return .null }
        if let value = type.value(text) { return value }
        throw RejectedRecord(Rejection("FIELD_INVALID", field: column, "not \(type.example)"))
    }
}

/// Thrown for a record that is set aside; never leaves the reader.
package struct RejectedRecord: Error {
    package var rejection: Rejection

    init(_ rejection: Rejection) {
        self.rejection = rejection
    }
}

extension Contact {
    /// Sets a standard field from its text.
    mutating func set(
        _ field: StandardField, _ text: String, in column: String
    ) throws(RejectedRecord) {
        switch field {
        case .email: email = text
        case .phone: phone = text
        case .externalID: externalID = text
        case .id: id = text
        case .name: name = text
        case .firstName: firstName = text
        case .lastName: lastName = text
        case .listIDs:
            for part in text.split(whereSeparator: { ";,| ".contains($0) }) {
                guard let list = Int64(part) else {
                    throw RejectedRecord(
                        Rejection(
                            "FIELD_INVALID", field: column,
                            "not list numbers such as 12;34"))
                }
                listIDs.append(list)
            }
        case .fields:
            if !text.isEmpty { fields += try JSONMapping.customFields(text, in: column) }
        }
    }
}
