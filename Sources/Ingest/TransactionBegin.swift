// How a transaction begins: with the settings of its workspaces and the lists that it joins held
// fast until its COMMIT.
//
// In: a batch that has begun. Out: which of its lists exist. One lane's thread.
// Without lists it waits for nothing: its statements go with the next ones.

internal import Contacts
internal import Postgres

struct TransactionBegin {
    private let connection: Connection

    init(_ connection: Connection) throws(PostgresError) {
        self.connection = connection
        try connection.prepare("begin", "BEGIN")
        try connection.prepare("begin_read_only", "BEGIN READ ONLY")
        try connection.prepare(
            "lock_settings",
            """
            SELECT pg_advisory_xact_lock_shared(\(Workspace.settingsLock), id)
            FROM unnest($1::int4[]) id
            """)
        try connection.prepare(
            Self.settings,
            """
            WITH standing AS (
                SELECT FROM unnest($1::int4[], $3::int2[]) AS k (id, unique_by)
                JOIN workspaces w ON w.id = k.id AND w.unique_by = k.unique_by
            ) \(ContactStatements.all(of: "standing"))
            """)
        try connection.prepare(
            "lists",
            """
            SELECT l.id FROM unnest($2::int8[]) AS k (id)
            CROSS JOIN LATERAL (
                SELECT id FROM lists WHERE workspace_id = $1 AND id >= k.id AND id <= k.id
                ORDER BY id LIMIT 1 FOR KEY SHARE
            ) l
            """)
    }

    /// Fails when the contacts were taken under other settings.
    static let settings = "settings"

    /// Queues the beginning; it is sent with what comes next.
    func run(_ batch: UpsertBatch, readOnly: Bool = false) throws {
        let workspaces = batch.workspaces.sorted { $0.id < $1.id }
        var ids = BinaryArray(of: .int32)
        var uniques = BinaryArray(of: .int16)
        for workspace in workspaces {
            ids.append(int32: workspace.id)
            uniques.append(int16: Int16(workspace.uniqueBy.rawValue))
        }
        var parameters = Parameters()
        parameters.append(ids)
        try connection.enqueue(prepared: readOnly ? "begin_read_only" : "begin")
        // A statement sees what was committed before it began, so the settings are read by one that
        // begins after the lock is held.
        try connection.enqueue(prepared: "lock_settings", parameters)
        parameters.append(int64: Int64(workspaces.count))
        parameters.append(uniques)
        try connection.enqueue(prepared: Self.settings, parameters)
        for (workspaceID, lists) in batch.mentionedLists.sorted(by: { $0.key < $1.key }) {
            try connection.settle()
            batch.knownLists[workspaceID] = try known(lists, workspaceID, readOnly: readOnly)
        }
    }

    /// Of some workspaces those that stand as they are named.
    func standing(_ workspaces: Set<Workspace>) throws(PostgresError) -> Set<Workspace> {
        var array = BinaryArray(of: .int32)
        for workspace in workspaces { array.append(int32: workspace.id) }
        var parameters = Parameters()
        parameters.append(array)
        let found = try connection.query(
            "SELECT id, unique_by FROM workspaces WHERE id = ANY ($1)", parameters)
        var standing: Set<Workspace> = []
        for row in 0..<found.rowCount {
            guard let id = found.int32(row, 0), let unique = found.int16(row, 1) else { continue }
            standing.insert(Workspace(id: id, uniqueBy: UniqueIdentifiers(rawValue: unique)))
        }
        return workspaces.intersection(standing)
    }

    /// Which lists exist; they are kept from being deleted until the COMMIT. A dry run joins none
    /// and keeps none.
    private func known(
        _ lists: Set<Int64>, _ workspaceID: Int32, readOnly: Bool
    ) throws -> Set<Int64> {
        var array = BinaryArray(of: .int64)
        for list in lists.sorted() { array.append(int64: list) }
        var parameters = Parameters()
        parameters.append(int32: workspaceID)
        parameters.append(array)
        let found =
            readOnly
            ? try connection.query(
                "SELECT id FROM lists WHERE workspace_id = $1 AND id = ANY ($2)", parameters)
            : try connection.execute(prepared: "lists", parameters)
        return Set((0..<found.rowCount).compactMap { found.int64($0, 0) })
    }
}
