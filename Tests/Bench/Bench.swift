// The bench's command line. In: flags. Out: progress on standard error, a table on standard output,
// JSON and a plot in files. Exit code: 0; 1 for a wrong answer, a failure, or, if targets were
// demanded, a missed one; 130 when interrupted.

import ArgumentParser

@main
struct Bench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measures the service against psql, on a PostgreSQL of its own.",
        subcommands: [RunCommand.self, PlotCommand.self, DiscardServerCommand.self],
        defaultSubcommand: RunCommand.self)
}
