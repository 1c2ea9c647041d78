// Contacts read back by their identifiers.
//
// In: keys, normalised. Out: a record for each, in the order of the keys. Reader's thread.

internal import Contacts
internal import Postgres

/// The contacts asked for are larger together than an answer may be.
package struct LookupTooLarge: Error {
    /// gRPC clients take messages of 4 MiB; JSON and columns grow a little on the way.
    package static let byteLimit = 3 * 1024 * 1024
    /// What one list of a contact takes in an answer, its id having up to eight digits.
    static let bytesPerList = 4
}

enum ContactLookup {
    /// What keys take while they wait.
    static func byteCount(of keys: [ContactKey?]) -> Int {
        keys.reduce(keys.count * MemoryLayout<ContactKey?>.stride) { sum, key in
            switch key {
            case .id(let text), .email(let text), .phone(let text), .externalID(let text):
                sum + text.utf8.count
            case nil: sum
            }
        }
    }

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
        let distinct = Array(Set(ids.compactMap { $0 }))
        let memberLimit = LookupTooLarge.byteLimit / LookupTooLarge.bytesPerList
        let (lists, last) = try ContactLists.of(
            distinct, in: workspace, limit: memberLimit, connection)
        for case let id? in ids {
            byteCount += (lists[id]?.count ?? 0) * LookupTooLarge.bytesPerList
        }
        guard last == nil, byteCount <= LookupTooLarge.byteLimit else { throw LookupTooLarge() }
        let records = try fetch(distinct, workspace, connection)
        return ids.map { id in
            guard let id, var record = records[id] else { return nil }
            record.contact.listIDs = lists[id] ?? []
            return record
        }
    }

    /// Finds the ids of the contacts that have the keys of one column.
    ///
    /// - Returns: The bytes of the contacts.
    private static func identify(
        _ keys: [ContactKey?], _ column: String, _ workspace: Workspace,
        _ connection: Connection, _ ids: inout [ContactID?]
    ) throws -> Int {
        // By bytes: to Swift, texts that only look the same are equal.
        var places: [[UInt8]: [Int]] = [:]
        for (place, key) in keys.enumerated() {
            guard let key, key.column == column else { continue }
            places[Array(key.text.utf8), default: []].append(place)
        }
        guard !places.isEmpty else { return 0 }
        var array = BinaryArray(of: column == "id" ? .uuid : .text)
        for utf8 in places.keys {
            let key = String(decoding: utf8, as: UTF8.self)
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
        var sizes: [[UInt8]: (id: ContactID, byteCount: Int)] = [:]
        for row in 0..<found.rowCount {
            guard let key = found.bytes(row, 0), let uuid = found.uuid(row, 1) else { continue }
            let id = ContactID(uuid)
            if let other = sizes[key], other.id.uuid < id.uuid { continue }
            sizes[key] = (id, Int(found.int32(row, 2) ?? 0))
        }
        var byteCount = 0
        for (key, contact) in sizes {
            for place in places[key] ?? [] {
                ids[place] = contact.id
                byteCount += contact.byteCount
            }
        }
        return byteCount
    }

    /// Where the identifier is unique, one probe of its index for each key, whatever the planner
    /// believes of the table (see `ContactStatements.lookUp`); else one pass over the workspace, and the
    /// lowest id stands.
    static func identifyQuery(_ column: String, _ workspace: Workspace) -> String {
        let field = TextField.allCases.first { $0.wireName == column }
        let isUnique = field.map { workspace.uniqueBy.contains($0) } == true
        guard column == "id" || isUnique else {
            return """
                SELECT c.\(column), c.id, \(ContactRow.byteCount) FROM contacts c
                WHERE workspace_id = $1 AND \(column) = ANY ($2::text[])
                """
        }
        let type = column == "id" ? "uuid" : "text"
        return """
            SELECT c.key::text, c.id, c.byte_count
            FROM unnest($2::\(type)[]) AS k (key)
            CROSS JOIN LATERAL (
                SELECT c.\(column) AS key, c.id, \(ContactRow.byteCount) AS byte_count
                FROM contacts c
                WHERE workspace_id = $1 AND \(column) >= k.key AND \(column) <= k.key
                    \(field.map { "AND unique_by & \(1 << $0.rawValue) <> 0" } ?? "")
                ORDER BY \(column) LIMIT 1
            ) c
            """
    }

    private static func fetch(
        _ ids: [ContactID], _ workspace: Workspace, _ connection: Connection
    ) throws -> [ContactID: ContactRecord] {
        var array = BinaryArray(of: .uuid)
        for id in ids { array.append(uuid: id.uuid) }
        var parameters = Parameters()
        parameters.append(int32: workspace.id)
        parameters.append(array)
        let found = try connection.query(fetchQuery, parameters)
        var records: [ContactID: ContactRecord] = [:]
        for row in 0..<found.rowCount {
            guard let uuid = found.uuid(row, 0) else { continue }
            records[ContactID(uuid)] = ContactRow.record(found, row)
        }
        return records
    }

    static let fetchQuery = """
        SELECT \(ContactRow.columns)
        FROM unnest($2::uuid[]) AS k (id)
        CROSS JOIN LATERAL (
            SELECT * FROM contacts c
            WHERE c.workspace_id = $1 AND c.id >= k.id AND c.id <= k.id ORDER BY c.id LIMIT 1
        ) c
        """
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
