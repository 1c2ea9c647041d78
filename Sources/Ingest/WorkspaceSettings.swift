// What can be changed of a workspace, and the list of all.
//
// In: a connection of its own, a name, new settings. Out: the workspace as it stands afterwards.
// Any thread. Writers that hold the settings' lock shared are waited for, and wait.

package import Postgres

/// A workspace with its settings.
package struct WorkspaceSettings: Sendable, Equatable {
    package let id: Int32
    package let name: String
    package let uniqueBy: UniqueIdentifiers
    /// How long events are kept.
    package let eventRetention: Duration
    /// How long an import is known after its last progress.
    package let importRetention: Duration

    /// All workspaces, by name.
    package static func all(_ connection: Connection) throws(PostgresError) -> [WorkspaceSettings] {
        let found = try connection.query(
            """
            SELECT id, name, unique_by, extract(epoch FROM event_retention)::int8,
                extract(epoch FROM import_retention)::int8
            FROM workspaces ORDER BY name
            """)
        return (0..<found.rowCount).map { row in
            WorkspaceSettings(
                id: found.int32(row, 0) ?? 0, name: found.text(row, 1) ?? "",
                uniqueBy: UniqueIdentifiers(rawValue: found.int16(row, 2) ?? 0),
                eventRetention: .seconds(found.int64(row, 3) ?? 0),
                importRetention: .seconds(found.int64(row, 4) ?? 0))
        }
    }

    /// Changes settings, all of them or none.
    ///
    /// - Parameters:
    ///   - uniqueBy: The identifiers that shall be unique; `nil`: as it is.
    ///   - eventRetention: How long events shall be kept; `nil`: as it is.
    ///   - importRetention: How long imports shall be known after their last progress; `nil`: as it
    ///     is.
    /// - Throws: `SettingsError`, or the `PostgresError` that ended the transaction.
    package static func change(
        _ name: String, uniqueBy: UniqueIdentifiers? = nil, eventRetention: Duration? = nil,
        importRetention: Duration? = nil, _ connection: Connection
    ) throws {
        try connection.execute("BEGIN")
        do {
            guard let workspace = try Workspace.find(name, connection) else {
                throw SettingsError.unknownWorkspace
            }
            if let uniqueBy { try setUnique(uniqueBy, in: workspace.id, connection) }
            for (column, retention) in [
                ("event_retention", eventRetention), ("import_retention", importRetention),
            ] {
                guard let retention else { continue }
                var parameters = Parameters()
                parameters.append(int32: workspace.id)
                parameters.append(int64: retention.components.seconds)
                _ = try connection.query(
                    "UPDATE workspaces SET \(column) = $2 * interval '1 second' WHERE id = $1",
                    parameters)
            }
            try connection.execute("COMMIT")
        } catch {
            try? connection.execute("ROLLBACK")
            throw error
        }
    }

    /// The rows of the workspace repeat what is unique, for the partial indexes. With the lock held
    /// no contact is written, so what was counted stays true while they are rewritten.
    private static func setUnique(
        _ uniqueBy: UniqueIdentifiers, in workspace: Int32, _ connection: Connection
    ) throws {
        guard !uniqueBy.isEmpty else { throw SettingsError.nothingUnique }
        try connection.execute(
            "SELECT pg_advisory_xact_lock(\(Workspace.settingsLock), \(workspace))")
        for (identifier, column) in UniqueIdentifiers.columns where uniqueBy.contains(identifier) {
            try checkUnique(column, in: workspace, connection)
        }
        var parameters = Parameters()
        parameters.append(int32: workspace)
        parameters.append(int16: uniqueBy.rawValue)
        _ = try connection.query(
            "UPDATE contacts SET unique_by = $2 WHERE workspace_id = $1 AND unique_by <> $2",
            parameters)
        _ = try connection.query(
            "UPDATE workspaces SET unique_by = $2 WHERE id = $1", parameters)
    }

    private static func checkUnique(
        _ column: String, in workspace: Int32, _ connection: Connection
    ) throws {
        var parameters = Parameters()
        parameters.append(int32: workspace)
        let found = try connection.query(
            """
            SELECT count(*), max(n) FROM (
                SELECT count(*) AS n FROM contacts
                WHERE workspace_id = $1 AND \(column) IS NOT NULL
                GROUP BY \(column) HAVING count(*) > 1
            ) shared
            """, parameters)
        guard let count = found.int64(0, 0), count > 0 else { return }
        throw SettingsError.notUnique(
            identifier: column, values: count, contacts: found.int64(0, 1) ?? 0)
    }
}

extension UniqueIdentifiers {
    /// Each identifier with its column, in the order in which they are named.
    static let columns: [(UniqueIdentifiers, String)] = [
        (.email, "email"), (.phone, "phone"), (.externalID, "external_id"),
    ]

    /// The list that `init(list:)` reads.
    package var list: String {
        Self.columns.filter { contains($0.0) }.map(\.1).joined(separator: ",")
    }
}

/// Why settings were not changed. Holds no data of a contact.
package enum SettingsError: Error, Equatable, CustomStringConvertible {
    /// There is none of the name.
    case unknownWorkspace
    /// Contacts could not be told apart.
    case nothingUnique
    /// Contacts share values of the identifier: so many values, one of them by so many contacts.
    case notUnique(identifier: String, values: Int64, contacts: Int64)

    package var description: String {
        switch self {
        case .unknownWorkspace: "there is no workspace of the name"
        case .nothingUnique: "at least one identifier must be unique"
        case .notUnique(let identifier, let values, let contacts):
            """
            \(identifier) is not unique: \(values) of its values belong to more than one contact, \
            one of them to \(contacts) contacts; nothing was changed
            """
        }
    }
}
