// `contactsd key`: keys, made, listed and revoked beside a running server or without one.

import Access
import ArgumentParser
import Foundation
import Ingest
import Logging
import Postgres

struct KeyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "key", abstract: "Manages the keys by which callers are known.",
        subcommands: [Create.self, List.self, Revoke.self])

    /// A server reads changes once a second, should it not have heard of one.
    private static let patience = Duration.seconds(5)

    fileprivate static func awaitServers(_ connection: Connection) throws {
        guard try !KeyRecords.awaitServers(atMost: patience, connection) else { return }
        let note = "note: a running server has not read the change yet; it will when it can\n"
        try FileHandle.standardError.write(contentsOf: Array(note.utf8))
    }

    struct Create: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Makes a key and prints it, alone, on standard output.",
            discussion: """
                It is shown this once: only a hash is stored. Callers give it in the metadata \
                authorization ("Bearer KEY"), apikey or autopilotapikey. Running servers know it \
                when the command ends.
                """)

        @Option(help: "Whose contacts it opens.")
        var workspace = Workspace.defaultName

        @Option(help: "What it is called in lists, 1 to 128 bytes.")
        var name: String

        @Option(help: "What it may do: write, read, admin (all of it), separated by commas.")
        var rights = "write,read"

        @Option(
            help: ArgumentHelp(
                "When it ends by itself: a number and s, m, h or d, such as 90d. Else never.",
                valueName: "duration"))
        var expiresIn: RetentionArgument?

        @Option(
            help: ArgumentHelp(
                """
                How many contacts a second one server takes with it. Open streams are slowed to \
                that; new calls are refused while it is exceeded. Else no limit.
                """, valueName: "n"))
        var contactsPerSecond: Int32?

        @Option(
            help: ArgumentHelp(
                "How many calls may be open at once with it on one server. Else no limit.",
                valueName: "n"))
        var streams: Int32?

        @Option(
            help: ArgumentHelp(
                """
                Make no key, but let a client's certificate with this name stand for one: a URI or \
                DNS name of its subject alternative names, else its common name.
                """, valueName: "name"))
        var certificateName: String?

        @OptionGroup var database: DatabaseOptions

        func validate() throws {
            guard (1...128).contains(name.utf8.count), !name.utf8.contains(where: { $0 < 0x20 })
            else { throw ValidationError("--name: give 1 to 128 bytes without control characters") }
            guard Rights(list: rights) != nil else {
                throw ValidationError(
                    "--rights: \"\(rights)\" is not a list of write, read and admin")
            }
            for (option, value) in [
                ("--contacts-per-second", contactsPerSecond), ("--streams", streams),
            ] {
                if let value, value < 1 { throw ValidationError("\(option): give 1 or more") }
            }
            if certificateName?.isEmpty == true {
                throw ValidationError("--certificate-name: give the name")
            }
        }

        func run() throws {
            let settings = KeySettings(
                name: name, rights: Rights(list: rights) ?? [], lifetime: expiresIn?.duration,
                contactsPerSecond: contactsPerSecond, streams: streams,
                certificateName: certificateName)
            try ShortCommand.run(on: database, as: "contactsd key") { connection in
                do {
                    let key = try KeyRecords.create(settings, in: workspace, connection)
                    try KeyCommand.awaitServers(connection)
                    if let key { print(key.text) }
                } catch let error as KeyError {
                    throw ValidationError("\(error)")
                }
            }
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lists all keys, revoked ones too. The keys themselves are not known.")

        @Option(help: "Only those of this workspace.")
        var workspace: String?

        @OptionGroup var database: DatabaseOptions

        func run() throws {
            try ShortCommand.run(on: database, as: "contactsd key") { connection in
                let rows = try KeyRecords.all(of: workspace, connection).map { key in
                    let settings = key.settings
                    return [
                        key.id, key.workspace, settings.rights.list, key.state, key.created,
                        key.expires ?? "never",
                        settings.contactsPerSecond.map { "\($0)" } ?? "-",
                        settings.streams.map { "\($0)" } ?? "-",
                        settings.certificateName ?? "-", settings.name,
                    ]
                }
                let head = [
                    "id", "workspace", "rights", "state", "created", "expires", "contacts/s",
                    "streams", "certificate", "name",
                ]
                for line in TextTable.aligned([head] + rows) { print(line) }
            }
        }
    }

    struct Revoke: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Ends a key for good.",
            discussion: """
                Once the command ends, running servers take no new call with it and have ended \
                its open ones; what those had sent may be committed.
                """)

        @Argument(help: "Its id, as \"contactsd key list\" has it. Else give --name.")
        var id: String?

        @Option(help: "The workspace that it belongs to; needed with --name.")
        var workspace: String?

        @Option(help: "Its name.")
        var name: String?

        @OptionGroup var database: DatabaseOptions

        func validate() throws {
            guard (id != nil) != (name != nil) else {
                throw ValidationError("give the key's id, or its --name and --workspace")
            }
            if let id, id.contains("_") {
                throw ValidationError(
                    "give the key's id, the 16 digits behind ck_, and not the key itself")
            }
            if name != nil, workspace == nil { throw ValidationError("--name needs --workspace") }
        }

        func run() throws {
            try ShortCommand.run(on: database, as: "contactsd key") { connection in
                do {
                    try KeyRecords.revoke(id: id, name: name, in: workspace, connection)
                    try KeyCommand.awaitServers(connection)
                } catch let error as KeyError {
                    throw ValidationError("\(error)")
                }
                print("key \(id ?? name ?? "") is revoked")
            }
        }
    }
}
