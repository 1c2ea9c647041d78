// Which lists contacts are in. In: ids. Out: the lists of each, ascending. Reader's thread.

internal import Contacts
internal import Postgres

enum ContactLists {
    /// Looks up the lists of contacts, of lists that exist alone.
    ///
    /// - Parameters:
    ///   - ids: Distinct ids. Those of the front are answered first.
    ///   - limit: The most memberships to read.
    /// - Returns: The lists of each contact that is in one; and `last`, set when the limit was
    ///   reached: this contact and all behind it may lack some.
    static func of(
        _ ids: [ContactID], in workspace: Workspace, limit: Int, _ connection: Connection
    ) throws -> (lists: [ContactID: [Int64]], last: ContactID?) {
        var array = BinaryArray(of: .uuid)
        for id in ids { array.append(uuid: id.uuid) }
        var parameters = Parameters()
        parameters.append(int32: workspace.id)
        parameters.append(array)
        parameters.append(int64: Int64(limit))
        let found = try connection.query(query, parameters)
        var lists: [ContactID: [Int64]] = [:]
        var last: ContactID?
        for row in 0..<found.rowCount {
            guard let uuid = found.uuid(row, 0), let list = found.int64(row, 1) else { continue }
            lists[ContactID(uuid), default: []].append(list)
            last = ContactID(uuid)
        }
        return (lists, found.rowCount < limit ? nil : last)
    }

    /// One probe of the primary key for each contact, and one for each list. As with the lanes'
    /// look-ups, the planner must have no other choice, whatever it believes of the tables: the
    /// order of a range of one value is asked for, which no other index has.
    static let query = """
        SELECT k.id, m.list_id
        FROM unnest($2::uuid[]) WITH ORDINALITY AS k (id, ord)
        CROSS JOIN LATERAL (
            SELECT m.list_id FROM list_members m
            WHERE m.workspace_id = $1 AND m.contact_id >= k.id AND m.contact_id <= k.id
                AND (
                    SELECT l.id FROM lists l
                    WHERE l.workspace_id = $1 AND l.id >= m.list_id AND l.id <= m.list_id
                    ORDER BY l.id LIMIT 1
                ) IS NOT NULL
            ORDER BY m.contact_id, m.list_id LIMIT $3
        ) m
        LIMIT $3
        """
}
