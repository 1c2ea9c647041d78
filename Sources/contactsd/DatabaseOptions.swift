// Which database a command works on: one that is named, or a private cluster in a directory.
//
// Flags win over the environment. The cluster is started by the command and stopped with it; beside
// a running server its cluster is used as it is.

import ArgumentParser
import Foundation
import Logging
import Postgres

struct DatabaseOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The database, as a URL or as libpq's keywords.",
            discussion: """
                Else DATABASE_URL, else libpq's PG* variables if PGHOST, PGSERVICE or PGDATABASE is \
                set, else a private PostgreSQL in the data directory.
                """, valueName: "url"))
    var databaseURL: String?

    @Option(
        help: ArgumentHelp(
            "The directory of the private PostgreSQL.",
            discussion: """
                Else CONTACTS_DATA_DIR, else /var/lib/contacts for root and \
                ~/.local/share/contacts for anybody else.
                """, valueName: "dir"))
    var dataDir: String?

    /// A database that is reached, and the cluster to be stopped afterwards if it is ours.
    struct Opened {
        let conninfo: String
        let cluster: PrivateCluster?
    }

    /// The database named by flag or environment; `nil`: a private one.
    private var namedDatabase: String? {
        if let databaseURL { return databaseURL }
        if dataDir != nil { return nil }
        let environment = ProcessInfo.processInfo.environment
        if let url = environment["DATABASE_URL"], !url.isEmpty { return url }
        let hasVariables = ["PGHOST", "PGSERVICE", "PGDATABASE"].contains { environment[$0] != nil }
        return hasVariables ? "" : nil
    }

    private var directory: String {
        if let dataDir { return dataDir }
        let environment = ProcessInfo.processInfo.environment
        if let directory = environment["CONTACTS_DATA_DIR"], !directory.isEmpty { return directory }
        return geteuid() == 0
            ? "/var/lib/contacts" : NSHomeDirectory() + "/.local/share/contacts"
    }

    func validate() throws {
        if databaseURL != nil && dataDir != nil {
            throw ValidationError("give either --database-url or --data-dir, not both")
        }
        hideURL()
    }

    /// A URL may hold a password, and every user of the machine sees a process's arguments. Its own
    /// copy was taken.
    private func hideURL() {
        guard let databaseURL else { return }
        for index in 1..<max(1, Int(CommandLine.argc)) {
            guard let argument = CommandLine.unsafeArgv[index],
                let value = strstr(argument, databaseURL), strcmp(value, databaseURL) == 0
            else { continue }
            memset(value, Int32(UInt8(ascii: "x")), strlen(value))
        }
    }

    /// Opens the database for a server, which owns its cluster.
    func open(_ logger: Logger) throws -> Opened {
        if let namedDatabase { return Opened(conninfo: namedDatabase, cluster: nil) }
        logger.info("starting a private PostgreSQL", metadata: ["directory": "\(directory)"])
        let cluster = try PrivateCluster.start(settings)
        return Opened(conninfo: cluster.conninfo, cluster: cluster)
    }

    /// Opens the database for a short command, beside a server or without one.
    func openBriefly(_ logger: Logger) throws -> Opened {
        if let conninfo = try runningConninfo() { return Opened(conninfo: conninfo, cluster: nil) }
        return try open(logger)
    }

    /// Reaches the private cluster if one runs; `nil` also when a database is named.
    func runningConninfo() throws -> String? {
        namedDatabase == nil ? try PrivateCluster.conninfoOfRunning(settings) : nil
    }

    private var settings: ClusterSettings {
        ClusterSettings(directory: directory, database: "contacts")
    }
}
