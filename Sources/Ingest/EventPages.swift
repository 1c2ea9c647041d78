// The events of a workspace, a page at a time.
//
// In: the last offset that a watcher has. Out: the events after it, or that they are not there.
// Reader's thread.
//
// Writers advance the workspace's row of event_offsets and keep it locked until they commit, so an
// event is seen only together with all before it. The sweeper raises removed_through in the
// transaction that removes events. Hence the row is read after the page: if it says that nothing
// behind the watcher's offset was removed, the page lacks nothing.

package import Contacts
internal import Postgres

/// Where a watcher stands.
package enum EventPosition: Sendable, Equatable {
    /// Before the oldest event that is kept.
    case oldest
    /// It has all events up to this offset.
    case after(Int64)
}

/// What a watcher gets.
package enum EventPage: Sendable, Equatable {
    /// Events, and where the watcher then stands; none: it has them all.
    case events([ContactEvent], then: EventPosition)
    /// Events behind the watcher's offset were removed. The oldest one kept, if there is any.
    case removed(oldest: Int64?)
    /// The watcher's offset was not given yet; the last one that was.
    case beyond(last: Int64)
}

enum EventPages {
    /// Events of a page.
    static let pageEvents = 500
    /// Bytes of a page; the event that passes it still belongs to it.
    static let pageBytes = 512 * 1024

    static func page(
        after position: EventPosition, in workspace: Workspace, _ connection: Connection
    ) throws -> EventPage {
        while true {
            let start =
                switch position {
                case .oldest: try offsets(workspace, connection).removedThrough
                case .after(let offset): offset
                }
            let events = try read(after: start, workspace, connection)
            let now = try offsets(workspace, connection)
            if now.removedThrough > start {
                // Who begins with the oldest begins again with what is the oldest now.
                if position == .oldest { continue }
                return .removed(
                    oldest: try oldest(after: now.removedThrough, workspace, connection))
            }
            guard start <= now.last else { return .beyond(last: now.last) }
            let reached = events.last.map { Int64(clamping: $0.offset) } ?? start
            return .events(events, then: .after(reached))
        }
    }

    private static func offsets(
        _ workspace: Workspace, _ connection: Connection
    ) throws -> (last: Int64, removedThrough: Int64) {
        var parameters = Parameters()
        parameters.append(int32: workspace.id)
        let found = try connection.query(
            "SELECT last_offset, removed_through FROM event_offsets WHERE workspace_id = $1",
            parameters)
        guard found.rowCount == 1 else { return (0, 0) }
        return (found.int64(0, 0) ?? 0, found.int64(0, 1) ?? 0)
    }

    private static func oldest(
        after offset: Int64, _ workspace: Workspace, _ connection: Connection
    ) throws -> Int64? {
        var parameters = Parameters()
        parameters.append(int32: workspace.id)
        parameters.append(int64: offset)
        let found = try connection.query(
            """
            SELECT event_offset FROM events WHERE workspace_id = $1 AND event_offset > $2
            ORDER BY event_offset LIMIT 1
            """, parameters)
        return found.rowCount == 1 ? found.int64(0, 0) : nil
    }

    private static func read(
        after offset: Int64, _ workspace: Workspace, _ connection: Connection
    ) throws -> [ContactEvent] {
        var parameters = Parameters()
        parameters.append(int32: workspace.id)
        parameters.append(int64: offset)
        let found = try connection.query(pageQuery, parameters)
        return (0..<found.rowCount).compactMap { event(found, $0) }
    }

    /// The rows up to the byte limit, as of an export's page.
    static let pageQuery = """
        SELECT \(ContactRow.columns), c.event_offset, c.type, c.import_id, c.list_ids FROM (
            SELECT c.*, sum(\(byteCount)) OVER (ROWS UNBOUNDED PRECEDING)
                - \(byteCount) AS bytes_before
            FROM (
                SELECT contact_id AS id, occurred_at AS updated_at, * FROM events
                WHERE workspace_id = $1 AND event_offset > $2
                ORDER BY event_offset LIMIT \(pageEvents)
            ) c
        ) c
        WHERE c.bytes_before < \(pageBytes)
        """

    private static let byteCount = "(\(ContactRow.byteCount) + 8 * cardinality(c.list_ids))"

    private static func event(_ found: QueryResult, _ row: Int) -> ContactEvent? {
        let first = ContactRow.count
        guard var record = ContactRow.record(found, row), let offset = found.int64(row, first),
            let type = found.int16(row, first + 1).flatMap({
                EventType(rawValue: UInt8(clamping: $0))
            })
        else { return nil }
        record.contact.listIDs = found.int64Array(row, first + 3) ?? []
        return ContactEvent(
            offset: UInt64(clamping: offset), type: type, record: record,
            importID: found.text(row, first + 2) ?? "", occurredAt: record.updatedAt)
    }
}
