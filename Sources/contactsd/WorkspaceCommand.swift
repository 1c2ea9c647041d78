// `contactsd workspace`: workspaces, made beside a running server or without one.

import ArgumentParser
import Ingest
import Logging
import Postgres

struct WorkspaceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "workspace", abstract: "Manages workspaces.", subcommands: [Create.self])

    struct Create: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Makes a workspace.",
            discussion: """
                Contacts can be matched by an identifier only if it is unique, and what is unique \
                cannot be changed later.
                """)

        @Argument(
            help: "Its name, 1 to 128 bytes; calls give it in the metadata contacts-workspace.")
        var name: String

        @Option(help: "Which of email, phone and external_id are unique, separated by commas.")
        var unique = "email"

        @OptionGroup var database: DatabaseOptions

        func validate() throws {
            guard (1...128).contains(name.utf8.count),
                name.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
            else {
                throw ValidationError(
                    "the name travels as gRPC metadata: give 1 to 128 printable ASCII characters "
                        + "without spaces")
            }
            guard UniqueIdentifiers(list: unique) != nil else {
                throw ValidationError(
                    "--unique: \"\(unique)\" is not a list of email, phone and external_id")
            }
        }

        func run() throws {
            guard let identifiers = UniqueIdentifiers(list: unique) else { return }
            let logger = Log.make()
            let opened = try database.openBriefly(logger)
            defer { opened.cluster?.stop() }
            try Migrate.migrate(opened.conninfo, logger)
            let connection = try Connection(
                conninfo: opened.conninfo, applicationName: "contactsd workspace")
            defer { connection.close() }
            let workspace = try Workspace.create(name, uniqueBy: identifiers, connection)
            guard let workspace else {
                throw ValidationError("a workspace of the name \"\(name)\" exists")
            }
            print("workspace \(name) has id \(workspace.id); unique: \(unique)")
        }
    }
}
