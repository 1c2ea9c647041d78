// `contactsd workspace`: workspaces, made, listed and changed beside a running server or without
// one.

import ArgumentParser
import Ingest
import Logging
import Postgres

struct WorkspaceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "workspace", abstract: "Manages workspaces.",
        subcommands: [Create.self, List.self, Set.self])

    fileprivate static func identifiers(_ list: String) throws -> UniqueIdentifiers {
        guard !list.isEmpty else {
            throw ValidationError("--unique: at least one identifier must be unique")
        }
        guard let identifiers = UniqueIdentifiers(list: list) else {
            throw ValidationError(
                "--unique: \"\(list)\" is not a list of email, phone and external_id")
        }
        return identifiers
    }

    struct Create: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Makes a workspace.",
            discussion: """
                Contacts can be matched by an identifier only if it is unique. "contactsd \
                workspace set" changes it later.
                """)

        @Argument(
            help: "Its name, 1 to 128 bytes; calls give it in the metadata contacts-workspace.")
        var name: String

        @Option(help: "Which of email, phone and external_id are unique, separated by commas.")
        var unique = "email"

        @Option(help: .eventRetention)
        var eventRetention = RetentionArgument(Workspace.usualEventRetention)

        @Option(help: .importRetention)
        var importRetention = RetentionArgument(Workspace.usualImportRetention)

        @OptionGroup var database: DatabaseOptions

        func validate() throws {
            guard (1...128).contains(name.utf8.count),
                name.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
            else {
                throw ValidationError(
                    "the name travels as gRPC metadata: give 1 to 128 printable ASCII characters "
                        + "without spaces")
            }
            _ = try WorkspaceCommand.identifiers(unique)
        }

        func run() throws {
            let identifiers = try WorkspaceCommand.identifiers(unique)
            try ShortCommand.run(on: database, as: "contactsd workspace") { connection in
                let workspace = try Workspace.create(
                    name, uniqueBy: identifiers, eventRetention: eventRetention.duration,
                    importRetention: importRetention.duration, connection)
                guard let workspace else {
                    throw ValidationError("a workspace of the name \"\(name)\" exists")
                }
                print("workspace \(name) has id \(workspace.id); unique: \(unique)")
            }
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lists all workspaces: id, name, what is unique, how long what is kept.")

        @OptionGroup var database: DatabaseOptions

        func run() throws {
            try ShortCommand.run(on: database, as: "contactsd workspace") { connection in
                let rows = try WorkspaceSettings.all(connection).map { workspace in
                    [
                        "\(workspace.id)", workspace.name, workspace.uniqueBy.list,
                        RetentionArgument(workspace.eventRetention).text,
                        RetentionArgument(workspace.importRetention).text,
                    ]
                }
                let head = ["id", "name", "unique", "event-retention", "import-retention"]
                for line in TextTable.aligned([head] + rows) { print(line) }
            }
        }
    }

    struct Set: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Changes a workspace, also one in use.",
            discussion: """
                What becomes unique must be so already; else nothing is changed. While it is \
                checked, writes to the workspace wait.
                """)

        @Argument(help: "Its name.")
        var name: String

        @Option(help: "Which of email, phone and external_id are unique, separated by commas.")
        var unique: String?

        @Option(help: .eventRetention)
        var eventRetention: RetentionArgument?

        @Option(help: .importRetention)
        var importRetention: RetentionArgument?

        @OptionGroup var database: DatabaseOptions

        func validate() throws {
            guard unique != nil || eventRetention != nil || importRetention != nil else {
                throw ValidationError(
                    "nothing to change: give --unique, --event-retention or --import-retention")
            }
            _ = try unique.map(WorkspaceCommand.identifiers)
        }

        func run() throws {
            let identifiers = try unique.map(WorkspaceCommand.identifiers)
            try ShortCommand.run(on: database, as: "contactsd workspace") { connection in
                do {
                    try WorkspaceSettings.change(
                        name, uniqueBy: identifiers, eventRetention: eventRetention?.duration,
                        importRetention: importRetention?.duration, connection)
                } catch let error as SettingsError {
                    throw ValidationError("workspace \"\(name)\": \(error)")
                }
                print("workspace \(name) is changed")
            }
        }
    }
}

extension ArgumentHelp {
    fileprivate static let eventRetention = ArgumentHelp(
        "How long events are kept: a number and s, m, h or d, such as 12h; at least 1s.",
        valueName: "duration")
    fileprivate static let importRetention = ArgumentHelp(
        """
        How long after its last progress an import can be gone on with: a number and s, m, h or d; \
        at least 1s.
        """,
        valueName: "duration")
}
