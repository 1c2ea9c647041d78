// Contact lists: made, listed, deleted.
//
// In: a workspace, names and ids. Out: what became of them, committed. A reader's thread.
//
// A list's id comes from a counter in its workspace, whose row is locked until the COMMIT, so lists
// of one workspace are made one after another. Deleting takes the list's row first, for which it
// waits until writers that add members have committed, and then the members, in chunks; what a crash
// leaves of them nobody sees, and the sweeper removes it.

package import Contacts
internal import Postgres

/// What became of a list to be made.
package enum ListCreation: Sendable, Equatable {
    case created(ContactList)
    /// A list has the name.
    case nameTaken
    /// The workspace has as many lists as it may have.
    case tooMany(limit: Int)
}

package enum Lists {
    /// With the longest names all lists of a workspace take 2.9 MB, and so fit into one message.
    package static let limit = 10_000
    /// The SQLSTATE of a lock that was not given in time (PostgreSQL 15, Appendix A).
    static let isLocked = "55P03"
    /// Members deleted at once: about 50 ms, in which others on the thread wait.
    static let chunk = 10_000

    static func create(
        _ name: String, in workspace: Workspace, _ connection: Connection
    ) throws -> ListCreation {
        var refusal = ListCreation.nameTaken
        let list = try connection.commit { connection throws -> ContactList? in
            var parameters = Parameters()
            parameters.append(int32: workspace.id)
            let next = try connection.query(
                """
                UPDATE workspaces SET last_list_id = last_list_id + 1 WHERE id = $1
                RETURNING last_list_id
                """, parameters)
            guard next.rowCount == 1, let id = next.int64(0, 0) else { return nil }
            let count = try connection.query(
                "SELECT count(*) FROM lists WHERE workspace_id = $1", parameters)
            parameters.append(int64: id)
            parameters.append(text: name)
            let made = try connection.query(
                """
                INSERT INTO lists (workspace_id, id, name) VALUES ($1, $2, $3)
                ON CONFLICT (workspace_id, name) DO NOTHING RETURNING \(columns)
                """, parameters)
            guard made.rowCount == 1 else { return nil }
            guard let before = count.int64(0, 0), before < Int64(limit) else {
                refusal = .tooMany(limit: limit)
                return nil
            }
            return Self.list(made, 0)
        }
        return list.map { .created($0) } ?? refusal
    }

    /// All lists, in the order of their ids.
    static func all(in workspace: Workspace, _ connection: Connection) throws -> [ContactList] {
        var parameters = Parameters()
        parameters.append(int32: workspace.id)
        let found = try connection.query(
            "SELECT \(columns) FROM lists WHERE workspace_id = $1 ORDER BY id", parameters)
        return (0..<found.rowCount).map { list(found, $0) }
    }

    static func exists(
        _ id: Int64, in workspace: Workspace, _ connection: Connection
    ) throws -> Bool {
        var parameters = Parameters()
        parameters.append(int32: workspace.id)
        parameters.append(int64: id)
        return try connection.query(
            "SELECT 1 FROM lists WHERE workspace_id = $1 AND id = $2", parameters
        ).rowCount > 0
    }

    /// Takes a list out of its workspace; its members stay, unseen.
    ///
    /// - Returns: Whether there was one.
    /// - Throws: `isLocked` when writers that add members have not committed soon. They are waited for
    ///   elsewhere, not on this thread.
    static func remove(
        _ id: Int64, in workspace: Workspace, _ connection: Connection
    ) throws -> Bool {
        try connection.commit { connection throws -> Bool? in
            var parameters = Parameters()
            parameters.append(int32: workspace.id)
            parameters.append(int64: id)
            try connection.execute("SET LOCAL lock_timeout = '100ms'")
            let gone = try connection.query(
                "DELETE FROM lists WHERE workspace_id = $1 AND id = $2", parameters)
            return gone.affectedRowCount > 0 ? true : nil
        } ?? false
    }

    /// Removes some members of a list that is gone.
    ///
    /// - Returns: Whether there may be more.
    static func removeMembers(
        of id: Int64, in workspace: Int32, _ connection: Connection
    ) throws -> Bool {
        var parameters = Parameters()
        parameters.append(int32: workspace)
        parameters.append(int64: id)
        parameters.append(int64: Int64(chunk))
        return try connection.query(removeMembersQuery, parameters).affectedRowCount == chunk
    }

    /// The list is a range of one value, so that its order is that of one index alone.
    static let removeMembersQuery = """
        DELETE FROM list_members WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM list_members
            WHERE workspace_id = $1 AND list_id >= $2 AND list_id <= $2
            ORDER BY workspace_id, list_id LIMIT $3
        ))
        """

    private static let columns = "id, name, (extract(epoch FROM created_at) * 1000000)::int8"

    private static func list(_ found: QueryResult, _ row: Int) -> ContactList {
        ContactList(
            id: found.int64(row, 0) ?? 0, name: found.text(row, 1) ?? "",
            createdAt: Timestamp(microseconds: found.int64(row, 2) ?? 0))
    }
}
