// How a transaction begins: with the settings of its workspaces and the lists that it joins held
// fast until its COMMIT.
//
// In: a batch that has begun. Out: which of its lists exist. One lane's thread.

internal import Contacts
internal import Postgres

struct TransactionBegin {
    private let connection: Connection

    init(_ connection: Connection) throws(PostgresError) {
        self.connection = connection
        try connection.prepare(
            "settings", "SELECT id, unique_by FROM workspaces WHERE id = ANY ($1::int4[])")
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

    /// - Throws: `SettingsChanged` when the contacts were taken under other settings.
    func run(_ batch: UpsertBatch, readOnly: Bool = false) throws {
        let workspaces = batch.workspaces
        let ids = Set(workspaces.map(\.id)).sorted()
        // A statement sees what was committed before it began, so the settings are read by one that
        // begins after the lock is held.
        let locks = ids.map {
            "; SELECT pg_advisory_xact_lock_shared(\(Workspace.settingsLock), \($0))"
        }
        try connection.execute((readOnly ? "BEGIN READ ONLY" : "BEGIN") + locks.joined())
        try check(workspaces, ids)
        for (workspaceID, lists) in batch.mentionedLists.sorted(by: { $0.key < $1.key }) {
            batch.knownLists[workspaceID] = try known(lists, workspaceID, readOnly: readOnly)
        }
    }

    private func check(_ workspaces: Set<Workspace>, _ ids: [Int32]) throws {
        var array = BinaryArray(of: .int32)
        for id in ids { array.append(int32: id) }
        var parameters = Parameters()
        parameters.append(array)
        let found = try connection.execute(prepared: "settings", parameters)
        var standing: Set<Workspace> = []
        for row in 0..<found.rowCount {
            guard let id = found.int32(row, 0), let unique = found.int16(row, 1) else { continue }
            standing.insert(Workspace(id: id, uniqueBy: UniqueIdentifiers(rawValue: unique)))
        }
        guard workspaces.isSubset(of: standing) else {
            throw SettingsChanged(standing: standing)
        }
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
