// What the short commands share: a database with its schema up to date, and tables to print.

import Ingest
import Logging
import Postgres

enum ShortCommand {
    /// A change of what is unique reads and rewrites all contacts of the workspace.
    private static let patience = Duration.seconds(24 * 3600)

    /// Runs a command on the database.
    ///
    /// - Parameter name: For the server's list of connections.
    static func run(
        on database: DatabaseOptions, as name: String, _ body: (Connection) throws -> Void
    ) throws {
        let logger = Log.make()
        let opened = try database.openBriefly(logger)
        defer { opened.cluster?.stop() }
        try Migrate.migrate(opened.conninfo, logger)
        let connection = try Connection(conninfo: opened.conninfo, applicationName: name)
        defer { connection.close() }
        connection.statementDeadline = patience
        try body(connection)
    }
}

enum TextTable {
    /// Columns as wide as their longest entry, two spaces apart.
    static func aligned(_ rows: [[String]]) -> [String] {
        let widths = (rows.first ?? []).indices.map { column in
            rows.map { $0[column].count }.max() ?? 0
        }
        return rows.map { row in
            let padded = zip(row.dropLast(), widths).map { entry, width in
                entry + String(repeating: " ", count: width - entry.count)
            }
            return (padded + row.suffix(1)).joined(separator: "  ")
        }
    }
}
