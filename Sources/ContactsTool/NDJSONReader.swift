// In: chunks of a file of one JSON object a line, cut anywhere. Out: one record after another with
// its line number, its original bytes, and a contact or the reason why there is none. Memory: one
// chunk and one line. On the reading task.

package import ContactsClient

/// One line of an NDJSON file.
package struct NDJSONRecord: Sendable {
    /// Its number, from 1.
    package var line: Int
    /// Its bytes as they stand in the file, line end included.
    package var bytes: [UInt8]
    /// It is longer than a record can be and its end was dropped.
    var isCut = false
}

package struct NDJSONReader: Sendable {
    private let recordLimit: Int
    /// Bytes of the file before the buffer.
    private var base = 0
    private var buffer: [UInt8] = []
    private var start = 0
    private var position = 0
    private var line = 1
    private var isFinished = false
    private var isFirst = true
    private var isSkippingLine = false

    package init(recordLimit: Int = InputLimits.recordBytes) {
        self.recordLimit = recordLimit
    }

    /// Takes the next bytes of the file.
    package mutating func append(_ chunk: some Collection<UInt8>) {
        if start > 0 {
            buffer.removeSubrange(..<start)
            base += start
            position -= start
            start = 0
        }
        buffer.append(contentsOf: chunk)
    }

    /// Behind the last record that was given.
    var place: ReadingPosition {
        ReadingPosition(offset: base + start, line: line, skipsLine: isSkippingLine)
    }

    /// Goes on with the bytes at another place.
    mutating func go(to place: ReadingPosition) {
        buffer = []
        base = place.offset
        start = 0
        position = 0
        line = place.line
        isFinished = false
        // At the beginning of the file its first bytes are looked at.
        isFirst = place == ReadingPosition()
        isSkippingLine = place.skipsLine
    }

    /// Says that there are no more bytes.
    package mutating func finish() {
        isFinished = true
    }

    /// The next line that is not blank; nil when more bytes are needed or all are read.
    package mutating func next() throws(FormatError) -> NDJSONRecord? {
        while let record = try nextLine() {
            let isBlank = record.bytes.allSatisfy { $0.isBlank || $0 == 0x0A || $0 == 0x0D }
            if !isBlank { return record }
        }
        return nil
    }

    private mutating func nextLine() throws(FormatError) -> NDJSONRecord? {
        guard try skipMark(), skipLine() else { return nil }
        let limit = min(buffer.count, start + recordLimit)
        while position < limit, buffer[position] != ASCII.lineFeed { position += 1 }
        if position < limit {
            position += 1
            return take()
        }
        if limit == start + recordLimit {
            isSkippingLine = true
            return take(isCut: true)
        }
        return isFinished && start < position ? take() : nil
    }

    private mutating func take(isCut: Bool = false) -> NDJSONRecord {
        let record = NDJSONRecord(line: line, bytes: Array(buffer[start..<position]), isCut: isCut)
        start = position
        line += 1
        return record
    }

    private mutating func skipMark() throws(FormatError) -> Bool {
        guard isFirst else { return true }
        guard isFinished || buffer.count >= 4 else { return false }
        isFirst = false
        try CSVDialect.refuseForeign(buffer)
        if buffer.starts(with: CSVDialect.mark) {
            start = CSVDialect.mark.count
            position = start
        }
        if buffer[start...].first == UInt8(ascii: "[") {
            throw FormatError(
                "the file is one JSON array; one object a line is wanted "
                    + "(jq -c '.[]' FILE | contacts import -)")
        }
        return true
    }

    private mutating func skipLine() -> Bool {
        guard isSkippingLine else { return true }
        while position < buffer.count, buffer[position] != ASCII.lineFeed { position += 1 }
        let isFound = position < buffer.count
        if isFound { position += 1 }
        start = position
        isSkippingLine = !isFound
        return isFound || isFinished
    }
}

/// What happens to a key of the object that is no field of a contact.
package enum UnknownKeys: String, Sendable, CaseIterable {
    /// The record is refused: a key that is spelt wrongly must not vanish.
    case reject
    /// It becomes a custom field.
    case field
    /// It is left out.
    case ignore
}

/// Makes contacts of JSON objects.
package struct JSONMapping: Sendable {
    package var unknownKeys = UnknownKeys.reject
    /// `null` clears a standard field instead of leaving it.
    package var emptyClears = false
    /// What finds an existing contact; the key `id` counts only when that is the id.
    package var matchBy = MatchBy.email

    package init() {}

    /// The contact of a line.
    package func contact(_ record: NDJSONRecord) throws(RejectedRecord) -> Contact {
        guard !record.isCut else {
            throw RejectedRecord(
                Rejection(
                    LocalReason.recordTooLong,
                    "the line is too long for a contact; only its beginning is kept"))
        }
        let value: JSONValue
        do throws(JSONFault) {
            value = try JSONText.parse(record.bytes)
        } catch {
            let place = "line \(record.line), byte \(error.offset + 1): \(error.message)"
            throw RejectedRecord(
                Rejection(error.isEncoding ? "INVALID_UTF8" : LocalReason.jsonInvalid, place))
        }
        guard case .object(let members) = value else {
            throw RejectedRecord(
                Rejection(LocalReason.jsonInvalid, "line \(record.line) is not a JSON object"))
        }
        var contact = Contact()
        for member in members { try set(member, in: &contact) }
        return contact
    }

    private static let standard: [String: StandardField] = [
        "email": .email, "phone": .phone, "external_id": .externalID, "externalId": .externalID,
        "id": .id, "name": .name, "first_name": .firstName, "firstName": .firstName,
        "last_name": .lastName, "lastName": .lastName,
    ]

    /// Written by `contacts get --json` and not for a caller to set.
    private static let readOnly: Set = ["created_at", "createdAt", "updated_at", "updatedAt"]

    private func set(
        _ member: JSONValue.Member, in contact: inout Contact
    ) throws(RejectedRecord) {
        if let field = Self.standard[member.key] {
            guard field != .id || matchBy == .id else { return }
            guard let text = try text(member) else { return }
            try contact.set(field, text, in: member.key)
        } else if member.key == "list_ids" || member.key == "listIds" {
            contact.listIDs = try lists(member)
        } else if member.key == "fields" {
            contact.fields += try Self.customFields(member.value, in: member.key)
        } else if !Self.readOnly.contains(member.key) {
            try setUnknown(member, in: &contact)
        }
    }

    private func setUnknown(
        _ member: JSONValue.Member, in contact: inout Contact
    ) throws(RejectedRecord) {
        switch unknownKeys {
        case .ignore: return
        case .field: contact.fields.append(try Self.custom(member))
        case .reject:
            throw RejectedRecord(
                Rejection(
                    LocalReason.keyUnknown, field: member.key,
                    "no field of a contact; put it into \"fields\", or import with "
                        + "--unknown-keys field or --unknown-keys ignore"))
        }
    }

    private func text(_ member: JSONValue.Member) throws(RejectedRecord) -> String? {
        switch member.value {
        case .string(let text): return text
        // Phone numbers and keys of other systems are often written without quotes.
        case .integer(let number): return String(number)
        // As in the JSON form of protobuf, null is absent; clearing has to be asked for.
        case .null: return emptyClears ? "" : nil
        default: throw Self.refused(member.key, "not a text")
        }
    }

    private func lists(_ member: JSONValue.Member) throws(RejectedRecord) -> [Int64] {
        guard case .array(let elements) = member.value else {
            throw Self.refused(member.key, "not an array of list numbers")
        }
        var lists: [Int64] = []
        for element in elements {
            guard case .integer(let list) = element else {
                throw Self.refused(member.key, "not an array of list numbers")
            }
            lists.append(list)
        }
        return lists
    }

    /// The custom fields of a cell that holds a JSON object.
    static func customFields(
        _ text: String, in column: String
    ) throws(RejectedRecord) -> [CustomField] {
        let value: JSONValue
        do throws(JSONFault) {
            value = try JSONText.parse(Array(text.utf8))
        } catch {
            throw RejectedRecord(
                Rejection(
                    LocalReason.jsonInvalid, field: column,
                    "byte \(error.offset + 1) of the cell: \(error.message)"))
        }
        return try customFields(value, in: column)
    }

    private static func customFields(
        _ value: JSONValue, in key: String
    ) throws(RejectedRecord) -> [CustomField] {
        guard case .object(let members) = value else {
            throw refused(key, "not an object of custom fields")
        }
        var fields: [CustomField] = []
        fields.reserveCapacity(members.count)
        for member in members { fields.append(try custom(member)) }
        return fields
    }

    private static func custom(_ member: JSONValue.Member) throws(RejectedRecord) -> CustomField {
        switch member.value {
        case .string(let text): return CustomField(member.key, .string(text))
        case .integer(let number): return CustomField(member.key, .integer(number))
        case .number(let number): return CustomField(member.key, .number(number))
        case .boolean(let flag): return CustomField(member.key, .boolean(flag))
        case .null: return CustomField(member.key, .null)
        case .object(let members):
            if members.count == 1, members[0].key == "timestamp",
                case .string(let text) = members[0].value, let time = Timestamp(text: text)
            {
                return CustomField(member.key, .timestamp(time))
            }
            throw refused(
                member.key, "an object has to be a time: {\"timestamp\":\"2024-01-31T09:30:00Z\"}")
        case .array:
            throw refused(member.key, "an array; a custom field holds one value")
        }
    }

    private static func refused(_ field: String, _ message: String) -> RejectedRecord {
        RejectedRecord(Rejection("FIELD_INVALID", field: field, message))
    }
}
