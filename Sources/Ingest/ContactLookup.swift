// Contacts read back by their identifiers.
//
// In: keys, normalised. Out: a record for each, in the order of the keys. Reader's thread.

internal import Contacts
internal import Postgres

/// The contacts asked for are larger together than an answer may be.
package struct LookupTooLarge: Error {
    /// gRPC clients take messages of 4 MiB; JSON and columns grow a little on the way.
    package static let byteLimit = 3 * 1024 * 1024
}

enum ContactLookup {
    /// - Parameter keys: `nil` is a key that nobody can have.
    /// - Throws: `LookupTooLarge` before large contacts are read into memory.
    static func find(
        _ keys: [ContactKey?], in workspace: Workspace, _ connection: Connection
    ) throws -> [ContactRecord?] {
        var ids = [ContactID?](repeating: nil, count: keys.count)
        var byteCount = 0
        for column in ["id", "email", "phone", "external_id"] {
            byteCount += try identify(keys, column, workspace, connection, &ids)
        }
        guard byteCount <= LookupTooLarge.byteLimit else { throw LookupTooLarge() }
        let records = try fetch(Set(ids.compactMap { $0 }), workspace, connection)
        return ids.map { $0.flatMap { records[$0] } }
    }

    /// Finds the ids of the contacts that have the keys of one column.
    ///
    /// - Returns: The bytes of the contacts.
    private static func identify(
        _ keys: [ContactKey?], _ column: String, _ workspace: Workspace,
        _ connection: Connection, _ ids: inout [ContactID?]
    ) throws -> Int {
        var places: [String: [Int]] = [:]
        for (place, key) in keys.enumerated() {
            guard let key, key.column == column else { continue }
            places[key.text, default: []].append(place)
        }
        guard !places.isEmpty else { return 0 }
        var array = BinaryArray(of: column == "id" ? .uuid : .text)
        for key in places.keys {
            if column != "id" {
                array.append(text: key)
            } else if let id = ContactID(key) {
                array.append(uuid: id.uuid)
            }
        }
        var parameters = Parameters()
        parameters.append(int32: workspace.id)
        parameters.append(array)
        let found = try connection.query(identifyQuery(column, workspace), parameters)
        var byteCount = 0
        for row in 0..<found.rowCount {
            guard let key = found.text(row, 0), let uuid = found.uuid(row, 1) else { continue }
            for place in places[key] ?? [] where ids[place] == nil {
                ids[place] = ContactID(uuid)
                byteCount += Int(found.int32(row, 2) ?? 0)
            }
        }
        return byteCount
    }

    /// Where the identifier is unique, by its index; else one pass over the workspace, with the
    /// lowest id first.
    private static func identifyQuery(_ column: String, _ workspace: Workspace) -> String {
        let field = TextField.allCases.first { $0.wireName == column }
        let indexed =
            field.map { workspace.uniqueBy.contains($0) } == true
            ? "AND unique_by & \(1 << (field?.rawValue ?? 0)) <> 0" : ""
        let type = column == "id" ? "uuid" : "text"
        return """
            SELECT c.\(column)::text, c.id, pg_column_size(c) FROM contacts c
            WHERE workspace_id = $1 AND \(column) = ANY ($2::\(type)[]) \(indexed)
            ORDER BY c.id
            """
    }

    private static func fetch(
        _ ids: Set<ContactID>, _ workspace: Workspace, _ connection: Connection
    ) throws -> [ContactID: ContactRecord] {
        var array = BinaryArray(of: .uuid)
        for id in ids { array.append(uuid: id.uuid) }
        var parameters = Parameters()
        parameters.append(int32: workspace.id)
        parameters.append(array)
        let found = try connection.query(
            "SELECT \(columns) FROM contacts c WHERE workspace_id = $1 AND id = ANY ($2::uuid[])",
            parameters)
        var records: [ContactID: ContactRecord] = [:]
        for row in 0..<found.rowCount {
            guard let uuid = found.uuid(row, 0) else { continue }
            records[ContactID(uuid)] = record(found, row)
        }
        return records
    }

    private static let columns = """
        c.id, c.email, c.phone, c.external_id, c.name, c.first_name, c.last_name,
        c.fields, c.field_kinds,
        (extract(epoch FROM c.created_at) * 1000000)::int8,
        (extract(epoch FROM c.updated_at) * 1000000)::int8
        """

    private static func record(_ found: QueryResult, _ row: Int) -> ContactRecord? {
        guard let uuid = found.uuid(row, 0) else { return nil }
        let contact = Contact(
            email: found.text(row, 1), phone: found.text(row, 2), externalID: found.text(row, 3),
            id: ContactID(uuid).description, name: found.text(row, 4),
            firstName: found.text(row, 5), lastName: found.text(row, 6),
            fields: fields(found.bytes(row, 7), kinds: found.bytes(row, 8)))
        return ContactRecord(
            contact: contact, createdAt: Timestamp(microseconds: found.int64(row, 9) ?? 0),
            updatedAt: Timestamp(microseconds: found.int64(row, 10) ?? 0))
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
    /// - Parameter microseconds: Since 1970.
    init(microseconds: Int64) {
        let (seconds, rest) = microseconds.quotientAndRemainder(dividingBy: 1_000_000)
        let below: Int64 = rest < 0 ? 1 : 0
        self.init(
            seconds: seconds - below, nanoseconds: Int32(rest + below * 1_000_000) * 1000)
    }
}
