// `contactsd conninfo`: how to reach the private PostgreSQL of a running server, for psql.

import ArgumentParser
import Postgres

struct ConninfoCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "conninfo",
        abstract: "Prints how to reach a running server's private PostgreSQL.",
        discussion: "psql \"$(contactsd conninfo)\"")

    @OptionGroup var database: DatabaseOptions

    func run() throws {
        guard let conninfo = try database.runningConninfo() else {
            throw ValidationError("no private PostgreSQL runs there; start one by contactsd serve")
        }
        print(conninfo)
    }
}
