// Keys as they stand in the database. In: a connection. Out: records, made, listed, revoked, loaded.
// Any thread that may block.
//
// Whoever writes to the table notifies `channel`, by a trigger, so that servers look at once. A
// change has a number; servers show the last that they have read in their connection's
// `application_name`, where whoever made a change waits for it.

package import Postgres

/// What somebody may do, and how much of it.
package struct KeySettings: Sendable, Equatable {
    package var name: String
    package var rights: Rights
    /// After so long the key ends; `nil`: never.
    package var lifetime: Duration?
    /// Contacts that one server takes with the key; `nil`: as many as it can.
    package var contactsPerSecond: Int32?
    /// Calls that may be open at once with the key on one server; `nil`: any number.
    package var streams: Int32?
    /// A name in a client's certificate that stands for the key. Such a key has no text.
    package var certificateName: String?

    package init(
        name: String, rights: Rights, lifetime: Duration? = nil,
        contactsPerSecond: Int32? = nil, streams: Int32? = nil, certificateName: String? = nil
    ) {
        self.name = name
        self.rights = rights
        self.lifetime = lifetime
        self.contactsPerSecond = contactsPerSecond
        self.streams = streams
        self.certificateName = certificateName
    }
}

/// A key as it is listed: everything but its hash.
package struct KeyRecord: Sendable {
    package let id: String
    package let workspace: String
    package let settings: KeySettings
    /// ISO 8601, UTC.
    package let created: String
    package let expires: String?
    package let state: String
}

/// A key that is good now, as a server keeps it.
struct LoadedKey: Sendable, Equatable {
    let id: String
    let workspace: String
    let hash: [UInt8]?
    let certificateName: String?
    let rights: Rights
    /// Seconds since 1970; nil: never.
    let expires: Int64?
    let contactsPerSecond: Int32?
    let streams: Int32?
}

/// Why a key was not made or revoked.
package enum KeyError: Error, Equatable, CustomStringConvertible {
    case unknownWorkspace(String)
    case nameTaken(String)
    case certificateTaken(String)
    case noneRevoked

    package var description: String {
        switch self {
        case .unknownWorkspace(let name):
            "there is no workspace \"\(name)\"; make it with \"contactsd workspace create\""
        case .nameTaken(let name):
            "the workspace has a key of the name \"\(name)\"; revoke it first, or take another name"
        case .certificateTaken(let name):
            "the certificate name \"\(name)\" belongs to a key already; revoke that first"
        case .noneRevoked:
            "there is no such key that is not revoked; \"contactsd key list\" shows all"
        }
    }
}

package enum KeyRecords {
    /// Told of each change.
    static let channel = "contacts_keys"

    /// Makes a key.
    ///
    /// - Returns: The key, which is stored nowhere; `nil` for one that a certificate stands for.
    package static func create(
        _ settings: KeySettings, in workspace: String, _ connection: Connection
    ) throws -> AccessKey? {
        let key = AccessKey()
        var parameters = Parameters()
        parameters.append(text: workspace)
        parameters.append(text: key.id)
        parameters.append(text: settings.name)
        if settings.certificateName == nil {
            parameters.append(binary: key.hash)
        } else {
            parameters.appendNull()
        }
        parameters.append(optional: settings.certificateName)
        parameters.append(int16: settings.rights.rawValue)
        parameters.append(optional: settings.lifetime.map { $0.components.seconds })
        parameters.append(optional: settings.contactsPerSecond.map(Int64.init))
        parameters.append(optional: settings.streams.map(Int64.init))
        try change(connection) {
            if let name = settings.certificateName {
                try checkFree(certificateName: name, connection)
            }
            guard try insert(parameters, settings, connection) > 0 else {
                throw KeyError.unknownWorkspace(workspace)
            }
        }
        return settings.certificateName == nil ? key : nil
    }

    /// - Returns: How many rows were made.
    private static func insert(
        _ parameters: Parameters, _ settings: KeySettings, _ connection: Connection
    ) throws -> Int {
        do {
            return try connection.query(
                """
                INSERT INTO access_keys (workspace_id, id, name, hash, certificate_name, rights,
                    expires_at, contacts_per_second, streams, change)
                SELECT w.id, $2, $3, $4::bytea, $5, $6, now() + $7 * interval '1 second',
                    $8::int4, $9::int4, (SELECT coalesce(max(change), 0) + 1 FROM access_keys)
                FROM workspaces w WHERE w.name = $1
                RETURNING 1
                """, parameters
            ).rowCount
        } catch {
            switch error.constraint {
            case "access_keys_name_key": throw KeyError.nameTaken(settings.name)
            case "access_keys_certificate_key":
                throw KeyError.certificateTaken(settings.certificateName ?? "")
            default: throw error
            }
        }
    }

    /// A certificate must not stand for two workspaces.
    private static func checkFree(
        certificateName: String, _ connection: Connection
    ) throws {
        var parameters = Parameters()
        parameters.append(text: certificateName)
        let found = try connection.query(
            """
            SELECT FROM access_keys WHERE certificate_name = $1 AND revoked_at IS NULL
                AND coalesce(expires_at > now(), true)
            """, parameters)
        if found.rowCount > 0 { throw KeyError.certificateTaken(certificateName) }
    }

    /// All keys of a workspace, or of all of them, revoked ones too.
    package static func all(
        of workspace: String?, _ connection: Connection
    ) throws -> [KeyRecord] {
        var parameters = Parameters()
        parameters.append(optional: workspace)
        let found = try connection.query(
            """
            SELECT k.id, w.name, k.name, k.rights, k.certificate_name, k.contacts_per_second,
                k.streams,
                to_char(k.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                to_char(k.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                CASE WHEN k.revoked_at IS NOT NULL THEN 'revoked'
                    WHEN k.expires_at <= now() THEN 'expired' ELSE 'good' END
            FROM access_keys k JOIN workspaces w ON w.id = k.workspace_id
            WHERE $1::text IS NULL OR w.name = $1
            ORDER BY w.name, k.created_at, k.id
            """, parameters)
        return (0..<found.rowCount).map { row in
            KeyRecord(
                id: found.text(row, 0) ?? "", workspace: found.text(row, 1) ?? "",
                settings: KeySettings(
                    name: found.text(row, 2) ?? "",
                    rights: Rights(rawValue: found.int16(row, 3) ?? 0),
                    contactsPerSecond: found.int32(row, 5), streams: found.int32(row, 6),
                    certificateName: found.text(row, 4)),
                created: found.text(row, 7) ?? "", expires: found.text(row, 8),
                state: found.text(row, 9) ?? "")
        }
    }

    /// Revokes a key, by its id or by its name in a workspace.
    ///
    /// - Throws: `KeyError.noneRevoked` when there is none, or it is revoked already.
    package static func revoke(
        id: String?, name: String?, in workspace: String?, _ connection: Connection
    ) throws {
        var parameters = Parameters()
        parameters.append(optional: id)
        parameters.append(optional: name)
        parameters.append(optional: workspace)
        try change(connection) {
            let revoked = try connection.query(revocation, parameters)
            guard revoked.rowCount > 0 else { throw KeyError.noneRevoked }
        }
    }

    private static let revocation =
        """
            UPDATE access_keys k SET revoked_at = now(),
                change = (SELECT max(change) + 1 FROM access_keys)
            FROM workspaces w
            WHERE w.id = k.workspace_id AND k.revoked_at IS NULL
                AND ($1::text IS NULL OR k.id = $1) AND ($2::text IS NULL OR k.name = $2)
                AND ($3::text IS NULL OR w.name = $3)
            RETURNING 1
        """

    /// Runs a change as one transaction, with the table to itself so that changes are numbered in
    /// the order of their COMMITs.
    private static func change(_ connection: Connection, _ body: () throws -> Void) throws {
        try connection.execute("BEGIN; LOCK TABLE access_keys IN SHARE ROW EXCLUSIVE MODE")
        do {
            try body()
            try connection.execute("COMMIT")
        } catch {
            try? connection.execute("ROLLBACK")
            throw error
        }
    }

    /// The beginning of the `application_name` of servers that follow the keys.
    static let follower = "contactsd keys"

    /// Waits until all running servers know of the changes made so far.
    ///
    /// - Returns: Whether they do; `false` when the time is over.
    package static func awaitServers(
        atMost limit: Duration, _ connection: Connection
    ) throws -> Bool {
        let deadline = ContinuousClock.now + limit
        while true {
            let behind = try connection.query(
                """
                SELECT EXISTS (
                    SELECT FROM pg_stat_activity
                    WHERE datname = current_database() AND application_name LIKE '\(follower)%'
                        AND coalesce(substring(application_name FROM '[0-9]+$')::int8, 0)
                            < (SELECT coalesce(max(change), 0) FROM access_keys))
                """
            ).bool(0, 0)
            if behind != true { return true }
            guard ContinuousClock.now < deadline else { return false }
            _ = try connection.query("SELECT pg_sleep(0.01)")
        }
    }

    /// The keys that are good now, and the number of the last change before; 0: none was ever made.
    static func load(
        _ connection: Connection
    ) throws(PostgresError) -> (keys: [LoadedKey], change: Int64) {
        // Asked first: what comes between the two is read, and read again.
        let change = try connection.query("SELECT coalesce(max(change), 0) FROM access_keys")
        let found = try connection.query(
            """
            SELECT k.id, w.name, k.hash, k.certificate_name, k.rights,
                ceil(extract(epoch FROM k.expires_at))::int8, k.contacts_per_second, k.streams
            FROM access_keys k JOIN workspaces w ON w.id = k.workspace_id
            WHERE k.revoked_at IS NULL AND coalesce(k.expires_at > now(), true)
            """)
        let keys = (0..<found.rowCount).map { row in
            LoadedKey(
                id: found.text(row, 0) ?? "", workspace: found.text(row, 1) ?? "",
                hash: found.bytes(row, 2), certificateName: found.text(row, 3),
                rights: Rights(rawValue: found.int16(row, 4) ?? 0), expires: found.int64(row, 5),
                contactsPerSecond: found.int32(row, 6), streams: found.int32(row, 7))
        }
        return (keys, change.int64(0, 0) ?? 0)
    }
}

extension Parameters {
    fileprivate mutating func append(optional value: String?) {
        if let value { append(text: value) } else { appendNull() }
    }

    fileprivate mutating func append(optional value: Int64?) {
        if let value { append(int64: value) } else { appendNull() }
    }
}
