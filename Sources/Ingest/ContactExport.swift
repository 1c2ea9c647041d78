// All contacts of a workspace or of a list, a page at a time.
//
// In: a place in the order of ids. Out: the records behind it, and the next place. Reader's thread.
//
// Each page is a statement of its own, so an export of any length holds no snapshot. It ends at the
// greatest id that was there when it began: ids grow, so what is created meanwhile lies behind.

package import Contacts
internal import Postgres

/// An export under way: where it stands.
package struct ContactExport: Sendable {
    /// Contacts of a page: a message stays small, and so does what a query holds.
    static let pageContacts = 1000
    /// Bytes of a page; the contact that passes it still belongs to it.
    package static let pageBytes = 512 * 1024
    /// Memberships of a page, more than one contact can have.
    static let pageMembers = 5 * Lists.limit

    let workspace: Workspace
    /// 0: all contacts.
    private let listID: Int64
    /// The last id that belongs to the export.
    private let end: ContactID
    private var position = ContactID(high: 0, low: 0)

    /// What a page came to.
    package enum Page: Sendable {
        /// Some records, and where to go on; `nil`: these were the last.
        case records([ContactRecord], next: ContactExport?)
        /// There is no such list, or no more.
        case noList
    }

    /// The first page.
    static func begin(
        _ listID: Int64, in workspace: Workspace, _ connection: Connection
    ) throws -> Page {
        var parameters = Parameters()
        parameters.append(int32: workspace.id)
        let last: QueryResult
        if listID == 0 {
            last = try connection.query(lastQuery, parameters)
        } else {
            guard try Lists.exists(listID, in: workspace, connection) else { return .noList }
            parameters.append(int64: listID)
            last = try connection.query(lastMemberQuery, parameters)
        }
        guard last.rowCount == 1, let end = last.uuid(0, 0) else {
            return .records([], next: nil)
        }
        return try ContactExport(workspace: workspace, listID: listID, end: ContactID(end))
            .page(connection)
    }

    private init(workspace: Workspace, listID: Int64, end: ContactID) {
        self.workspace = workspace
        self.listID = listID
        self.end = end
    }

    /// The next page.
    func page(_ connection: Connection) throws -> Page {
        var parameters = Parameters()
        parameters.append(int32: workspace.id)
        parameters.append(uuid: position.uuid)
        parameters.append(uuid: end.uuid)
        if listID != 0 { parameters.append(int64: listID) }
        let found = try connection.query(
            listID == 0 ? Self.pageQuery : Self.memberPageQuery, parameters)
        var places = (0..<found.rowCount).compactMap { row in
            found.uuid(row, ContactRow.count).map { ContactID($0) }
        }
        let (lists, last) = try ContactLists.of(
            places, in: workspace, limit: Self.pageMembers, connection)
        // After the page was read: a list that is still there had all its members then.
        if listID != 0, try !Lists.exists(listID, in: workspace, connection) { return .noList }
        if let last, let cut = places.firstIndex(of: last), cut > 0 {
            places.removeSubrange(cut...)
        }
        let records = places.indices.compactMap { row in
            var record = ContactRow.record(found, row)
            record?.contact.listIDs = lists[places[row]] ?? []
            return record
        }
        guard let reached = places.last, reached.uuid < end.uuid else {
            return .records(records, next: nil)
        }
        var next = self
        next.position = reached
        return .records(records, next: next)
    }
}

extension ContactExport {
    static let lastQuery =
        "SELECT id FROM contacts WHERE workspace_id = $1 ORDER BY id DESC LIMIT 1"

    /// Here and below, the list is a range of one value, for the order that only its index has.
    static let lastMemberQuery = """
        SELECT contact_id FROM list_members
        WHERE workspace_id = $1 AND list_id >= $2 AND list_id <= $2
        ORDER BY list_id DESC, contact_id DESC LIMIT 1
        """

    static let pageQuery = bounded(
        """
        SELECT c.id AS place, c.* FROM contacts c
        WHERE c.workspace_id = $1 AND c.id > $2 AND c.id <= $3
        ORDER BY c.id LIMIT \(pageContacts)
        """)

    /// A member whose contact is gone is a place without a record.
    static let memberPageQuery = bounded(
        """
        SELECT m.contact_id AS place, c.* FROM (
            SELECT contact_id FROM list_members
            WHERE workspace_id = $1 AND (list_id, contact_id) > ($4, $2)
                AND (list_id, contact_id) <= ($4, $3)
            ORDER BY list_id, contact_id LIMIT \(pageContacts)
        ) m
        LEFT JOIN LATERAL (
            SELECT * FROM contacts c
            WHERE c.workspace_id = $1 AND c.id >= m.contact_id AND c.id <= m.contact_id
            ORDER BY c.id LIMIT 1
        ) c ON true
        """)

    /// The rows up to the byte limit, so that large contacts never pile up in memory. Sizes are
    /// summed up before the custom fields, which lie apart from the row, are read.
    private static func bounded(_ rows: String) -> String {
        """
        SELECT \(ContactRow.columns), c.place FROM (
            SELECT c.*, sum(\(ContactRow.byteCount)) OVER (ROWS UNBOUNDED PRECEDING)
                - \(ContactRow.byteCount) AS bytes_before
            FROM (\(rows)) c
        ) c
        WHERE coalesce(c.bytes_before, 0) < \(pageBytes)
        """
    }
}
