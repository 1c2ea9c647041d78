// The server's command line: what an operator types. Each command is a file of its own.

import ArgumentParser

@main
struct Contactsd: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "contactsd",
        abstract: "Stores contacts in PostgreSQL and answers for each, over gRPC.",
        version: "0.1.0",
        subcommands: [
            Serve.self, Migrate.self, WorkspaceCommand.self, KeyCommand.self, ConninfoCommand.self,
        ])
}
