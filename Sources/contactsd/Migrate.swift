// `contactsd migrate`: the schema, brought up to date.

import ArgumentParser
import Ingest
import Logging
import Postgres

struct Migrate: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Brings the database's schema up to date; `serve` does it too.")

    @OptionGroup var database: DatabaseOptions

    func run() throws {
        let logger = Log.make()
        let opened = try database.openBriefly(logger)
        defer { opened.cluster?.stop() }
        try Self.migrate(opened.conninfo, logger)
    }

    static func migrate(_ conninfo: String, _ logger: Logger) throws {
        let connection = try Connection(conninfo: conninfo, applicationName: "contactsd migrate")
        defer { connection.close() }
        try migrate(connection, logger)
    }

    static func migrate(_ connection: Connection, _ logger: Logger) throws {
        let applied = try Schema.migrate(connection)
        logger.info(
            "schema is up to date",
            metadata: [
                "version": "\(Schema.version)",
                "applied": "\(applied.map { "\($0.lowerBound)...\($0.upperBound)" } ?? "nothing")",
            ])
        if try !Schema.isSecured(connection) { warnOfRowSecurity(logger) }
    }

    static func warnOfRowSecurity(_ logger: Logger) {
        logger.warning(
            """
            row security is off, since the database's user may not make roles: make the role \
            contacts_service, grant it to the user, and migrate again
            """)
    }
}
