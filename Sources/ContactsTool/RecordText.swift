// In: a key as somebody typed it, or a record as it came back. Out: which identifier the key is, or
// the record in lines for people and in JSON for programs, which `contacts import` takes back.

package import ContactsClient

extension ContactKey {
    /// Fewer digits are no phone number.
    private static let phoneDigits = 8...15

    /// The key that a text most looks like: with an at sign an email, a UUID an id, digits with
    /// what people write between them a phone number, else the caller's own identifier.
    package init(guessing text: String) {
        if text.contains("@") {
            self = .email(text)
        } else if Self.isUUID(text) {
            self = .id(text)
        } else if Self.isPhone(text) {
            self = .phone(text)
        } else {
            self = .externalID(text)
        }
    }

    private static func isUUID(_ text: String) -> Bool {
        let groups = text.split(separator: "-", omittingEmptySubsequences: false)
        return groups.map(\.count) == [8, 4, 4, 4, 12]
            && groups.allSatisfy { $0.allSatisfy(\.isHexDigit) }
    }

    private static func isPhone(_ text: String) -> Bool {
        let digits = text.filter(\.isNumber).count
        return phoneDigits.contains(digits)
            && text.allSatisfy { $0.isNumber || " ()-./+".contains($0) }
    }

    /// The text that was asked for.
    package var text: String {
        switch self {
        case .id(let text), .email(let text), .phone(let text), .externalID(let text): text
        }
    }
}

extension ContactRecord {
    /// A line for each thing that is known.
    package var text: String {
        let lists = contact.listIDs.map(String.init).joined(separator: ", ")
        var rows: [(String, String?)] = [
            ("id", contact.id), ("email", contact.email), ("phone", contact.phone),
            ("external_id", contact.externalID), ("name", contact.name),
            ("first_name", contact.firstName), ("last_name", contact.lastName),
            ("list_ids", lists.isEmpty ? nil : lists), ("created_at", createdAt.text),
            ("updated_at", updatedAt.text),
        ]
        rows += contact.fields.map { ("fields." + $0.name, Self.shown($0.value)) }
        let known = rows.compactMap { row in row.1.map { (row.0, $0) } }
        let width = known.map(\.0.count).max() ?? 0
        return known.map { name, value in
            name + String(repeating: " ", count: width - name.count + 2)
                + Self.printable(value) + "\n"
        }.joined()
    }

    /// One JSON object on a line.
    package var json: [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in
            writer.contact(contact)
            writer.set("created_at", createdAt.text)
            writer.set("updated_at", updatedAt.text)
        }
        writer.endLine()
        return writer.bytes
    }

    private static func shown(_ value: CustomField.Value) -> String {
        switch value {
        case .string(let text): "\"\(text)\""
        case .null: "null"
        default: value.cell
        }
    }

    /// Without control characters, which could play tricks on a terminal.
    private static func printable(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: { $0.properties.generalCategory == .control })
        else { return text }
        return text.unicodeScalars.map { scalar in
            scalar.properties.generalCategory == .control
                ? "\\u{\(String(scalar.value, radix: 16))}" : String(Character(scalar))
        }.joined()
    }
}
