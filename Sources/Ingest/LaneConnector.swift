// A lane's connection, prepared for what it does.
//
// In: where the database is. Out: a connection with its statements. One lane's thread.

internal import Contacts
internal import Postgres

/// A lane's connection and what was prepared on it.
struct LaneConnection {
    let connection: Connection
    let session: LaneSession
    let security: RowSecurity
    let begin: TransactionBegin
    let store: any BatchStore
    /// Of the table only.
    let ledgers: LedgerWriter?
    let events: EventWriter?
}

/// How a lane reaches its database.
struct LaneConnector: Sendable {
    /// The last statement of each transaction.
    static let commit = "commit"

    /// A COMMIT rarely takes that long, and callers wait for its answer.
    private static let silence = Duration.seconds(3)
    private static let connectTimeout = Duration.seconds(3)

    let conninfo: String
    let isDryRun: Bool
    let paths: PathCounters

    func connect(lane: Int) throws(PostgresError) -> LaneConnection {
        let connection = try Connection(
            conninfo: conninfo,
            applicationName: isDryRun ? "contactsd dry run" : "contactsd lane \(lane)",
            settings: ContactUpsert.settings,
            connectTimeout: Self.connectTimeout)
        // Longer than statement_timeout: the server's word is clearer than our silence.
        connection.statementDeadline = .seconds(62)
        let session = try LaneSession(of: connection)
        connection.silence = Connection.Silence(Self.silence) { isLost(session) }
        let security = try RowSecurity(connection)
        try connection.prepare(Self.commit, "COMMIT")
        let begin = try TransactionBegin(connection)
        guard !isDryRun else {
            return LaneConnection(
                connection: connection, session: session, security: security, begin: begin,
                store: try DryRunUpsert(connection, begin), ledgers: nil, events: nil)
        }
        return LaneConnection(
            connection: connection, session: session, security: security, begin: begin,
            store: try ContactUpsert(connection, security, begin, paths),
            ledgers: try LedgerWriter(connection, lane: lane),
            events: try EventWriter(connection, security))
    }

    /// Whether the line to a session is dead, though nobody has closed it.
    private func isLost(_ session: LaneSession) -> Bool {
        do throws(PostgresError) {
            let connection = try Connection(
                conninfo: conninfo, applicationName: "contactsd lane's second look",
                connectTimeout: Self.connectTimeout)
            defer { connection.close() }
            connection.statementDeadline = Self.connectTimeout
            return try session.isOverOrIdle(connection)
        } catch {
            // 53300: too many connections; the one that we have may be as good as ever.
            return error.sqlstate != "53300"
        }
    }
}
