// Workspaces: whose contacts they are, and which identifiers are unique among them.
//
// In: a name. Out: the workspace as it stands in the database. Any thread.

package import Contacts
package import Postgres

/// The identifiers that are unique in a workspace.
package struct UniqueIdentifiers: OptionSet, Sendable, Hashable {
    package let rawValue: Int16

    package init(rawValue: Int16) { self.rawValue = rawValue }

    package static let email = UniqueIdentifiers(rawValue: 1)
    package static let phone = UniqueIdentifiers(rawValue: 2)
    package static let externalID = UniqueIdentifiers(rawValue: 4)

    /// Reads a list such as `email,phone`; `nil` if it is empty or has another word.
    package init?(list: String) {
        var identifiers: UniqueIdentifiers = []
        for word in list.split(separator: ",", omittingEmptySubsequences: false) {
            switch word {
            case "email": identifiers.insert(.email)
            case "phone": identifiers.insert(.phone)
            case "external_id": identifiers.insert(.externalID)
            default: return nil
            }
        }
        self = identifiers
    }

    package func contains(_ field: TextField) -> Bool {
        field.rawValue < Identifier.settable.count && rawValue & (1 << field.rawValue) != 0
    }

    func contains(_ identifier: Identifier) -> Bool {
        identifier == .id || rawValue & (1 << identifier.rawValue) != 0
    }

    /// The number of identifiers that are unique.
    var count: Int { rawValue.nonzeroBitCount }
}

/// A workspace.
package struct Workspace: Sendable, Hashable {
    package let id: Int32
    package let uniqueBy: UniqueIdentifiers

    package init(id: Int32, uniqueBy: UniqueIdentifiers) {
        self.id = id
        self.uniqueBy = uniqueBy
    }

    /// The workspace that always exists.
    package static let defaultName = "default"

    /// Finds a workspace; `nil` if there is none of the name.
    package static func find(_ name: String, _ connection: Connection) throws -> Workspace? {
        var parameters = Parameters()
        parameters.append(text: name)
        let result = try connection.query(
            "SELECT id, unique_by FROM workspaces WHERE name = $1", parameters)
        guard result.rowCount == 1, let id = result.int32(0, 0), let unique = result.int16(0, 1)
        else { return nil }
        return Workspace(id: id, uniqueBy: UniqueIdentifiers(rawValue: unique))
    }

    /// How long events are kept in a workspace that does not say otherwise.
    package static let usualEventRetention = Duration.seconds(7 * 86_400)

    /// How long an import is known after its last progress, in such a workspace.
    package static let usualImportRetention = Duration.seconds(7 * 86_400)

    /// Makes a workspace; `nil` if the name is taken.
    package static func create(
        _ name: String, uniqueBy: UniqueIdentifiers,
        eventRetention: Duration = usualEventRetention,
        importRetention: Duration = usualImportRetention, _ connection: Connection
    ) throws -> Workspace? {
        var parameters = Parameters()
        parameters.append(text: name)
        parameters.append(int16: uniqueBy.rawValue)
        parameters.append(int64: eventRetention.components.seconds)
        parameters.append(int64: importRetention.components.seconds)
        let result = try connection.query(
            """
            INSERT INTO workspaces (name, unique_by, event_retention, import_retention)
            VALUES ($1, $2, $3 * interval '1 second', $4 * interval '1 second')
            ON CONFLICT (name) DO NOTHING RETURNING id
            """, parameters)
        guard result.rowCount == 1, let id = result.int32(0, 0) else { return nil }
        return Workspace(id: id, uniqueBy: uniqueBy)
    }
}

extension Workspace {
    /// The first key of the advisory lock on a workspace's settings; the second is its id.
    /// Transactions that write contacts hold it shared, and whoever changes which identifiers are
    /// unique holds it alone (PostgreSQL, 13.3.5). "cont" in ASCII.
    static let settingsLock: Int32 = 0x636F_6E74
}
