// A lane's connection, prepared for what it does.
//
// In: where the database is. Out: a connection with its statements. One lane's thread.

internal import Contacts
internal import Postgres

/// A lane's connection and what was prepared on it.
struct LaneConnection {
    let connection: Connection
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

    let conninfo: String
    let isDryRun: Bool
    let paths: PathCounters

    func connect(lane: Int) throws(PostgresError) -> LaneConnection {
        let connection = try Connection(
            conninfo: conninfo,
            applicationName: isDryRun ? "contactsd dry run" : "contactsd lane \(lane)",
            settings: ContactUpsert.settings)
        // Longer than statement_timeout: the server's word is clearer than our silence.
        connection.statementDeadline = .seconds(65)
        try connection.prepare(Self.commit, "COMMIT")
        let begin = try TransactionBegin(connection)
        guard !isDryRun else {
            return LaneConnection(
                connection: connection, begin: begin, store: try DryRunUpsert(connection, begin),
                ledgers: nil, events: nil)
        }
        return LaneConnection(
            connection: connection, begin: begin,
            store: try ContactUpsert(connection, begin, paths),
            ledgers: try LedgerWriter(connection, lane: lane), events: try EventWriter(connection))
    }
}
