// Contacts read back by their identifiers.
//
// In: keys, normalised. Out: a record for each, in the order of the keys. Reader's thread.

internal import Contacts
internal import Postgres

enum ContactLookup {
    /// - Parameter keys: `nil` is a key that nobody can have.
    static func find(
        _ keys: [ContactKey?], in workspace: Workspace, _ connection: Connection
    ) throws -> [ContactRecord?] {
        var records = [ContactRecord?](repeating: nil, count: keys.count)
        for column in ["id", "email", "phone", "external_id"] {
            var array = BinaryArray(of: column == "id" ? .uuid : .text)
            var places: [Int] = []
            for (place, key) in keys.enumerated() where key?.column == column {
                if case .id(let text) = key {
                    guard let id = ContactID(text) else { continue }
                    array.append(uuid: id.uuid)
                } else {
                    array.append(text: key?.text ?? "")
                }
                places.append(place)
            }
            guard !places.isEmpty else { continue }
            var parameters = Parameters()
            parameters.append(int32: workspace.id)
            parameters.append(array)
            let found = try connection.query(query(column, workspace), parameters)
            for row in 0..<found.rowCount {
                guard let ordinal = found.int32(row, 0) else { continue }
                let place = places[Int(ordinal) - 1]
                if records[place] == nil { records[place] = record(found, row) }
            }
        }
        return records
    }

    /// Rows of one key come with the lowest id first.
    private static func query(_ column: String, _ workspace: Workspace) -> String {
        let type = column == "id" ? "uuid" : "text"
        let field = TextField.allCases.first { $0.wireName == column }
        let indexed =
            field.map { workspace.uniqueBy.contains($0) } == true
            ? "AND c.unique_by & \(1 << (field?.rawValue ?? 0)) <> 0" : ""
        return """
            SELECT k.ord::int4, \(columns)
            FROM unnest($2::\(type)[]) WITH ORDINALITY AS k (key, ord)
            JOIN contacts c ON c.workspace_id = $1 AND c.\(column) = k.key \(indexed)
            ORDER BY k.ord, c.id
            """
    }

    private static let columns = """
        c.id, c.email, c.phone, c.external_id, c.name, c.first_name, c.last_name,
        c.fields, c.field_kinds,
        (extract(epoch FROM c.created_at) * 1000000)::int8,
        (extract(epoch FROM c.updated_at) * 1000000)::int8
        """

    private static func record(_ found: QueryResult, _ row: Int) -> ContactRecord? {
        guard let uuid = found.uuid(row, 1) else { return nil }
        let contact = Contact(
            email: found.text(row, 2), phone: found.text(row, 3), externalID: found.text(row, 4),
            id: ContactID(uuid).description, name: found.text(row, 5),
            firstName: found.text(row, 6), lastName: found.text(row, 7),
            fields: fields(found.bytes(row, 8), kinds: found.bytes(row, 9)))
        return ContactRecord(
            contact: contact, createdAt: Timestamp(microseconds: found.int64(row, 10) ?? 0),
            updatedAt: Timestamp(microseconds: found.int64(row, 11) ?? 0))
    }

    /// Both without the version byte of jsonb.
    private static func fields(_ stored: [UInt8]?, kinds: [UInt8]?) -> [CustomField] {
        let stored = Array((stored ?? []).dropFirst())
        let kinds = Array((kinds ?? []).dropFirst())
        return CustomFieldsReader.read(fields: stored.span, kinds: kinds.span)
    }
}

extension ContactKey {
    fileprivate var column: String {
        switch self {
        case .id: "id"
        case .email: "email"
        case .phone: "phone"
        case .externalID: "external_id"
        }
    }

    fileprivate var text: String {
        switch self {
        case .id(let text), .email(let text), .phone(let text), .externalID(let text): text
        }
    }
}

extension Timestamp {
    fileprivate init(microseconds: Int64) {
        let (seconds, rest) = microseconds.quotientAndRemainder(dividingBy: 1_000_000)
        let below: Int64 = rest < 0 ? 1 : 0
        self.init(
            seconds: seconds - below, nanoseconds: Int32(rest + below * 1_000_000) * 1000)
    }
}
