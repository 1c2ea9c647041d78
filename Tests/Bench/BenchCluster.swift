// The PostgreSQL of the bench: a private cluster with commits on disk, and the databases in it.
//
//   bench_empty      the schema, the workspaces, no contacts
//   bench_base       the same with contacts 0..<count, version 0
//   bench_run        a copy of one of these, made for each run
//   bench_reference  the contents that tables must have in the end
//
// In: a directory. Out: databases in a known state, caches warm, nothing left to write. Blocks; any
// thread.

import Foundation
import Ingest
import NIOConcurrencyHelpers
import Postgres

final class BenchCluster: Sendable {
    static let run = "bench_run"
    static let reference = "bench_reference"
    private static let patience = Duration.seconds(1800)

    private let cluster: PrivateCluster
    /// Also for files beside the cluster's own.
    let directory: String
    private let isStopped = NIOLockedValueBox(false)

    /// - Parameter directory: `nil`: the first of some places that PostgreSQL's user can enter.
    init(directory: String?) throws {
        let directory = BenchFiles.absolute(try directory ?? Self.usualDirectory())
        self.directory = directory
        var settings = ClusterSettings(
            directory: directory + "/postgres", database: "bench",
            sharedBuffersMegabytes: Self.sharedBuffersMegabytes, maxConnections: 100)
        settings.serverSettings = [
            // Log files are kept and used again, so that no run pays for making them.
            ("min_wal_size", "4GB"),
            // No run has its work by chance.
            ("autovacuum", "off"),
        ]
        try BenchFiles.make(directory)
        try Self.lock(directory)
        try Self.removeRemains(settings)
        cluster = try PrivateCluster.start(settings)
    }

    /// Ends the server and removes all its files. Others wait until that is done.
    func stop() {
        isStopped.withLockedValue { isStopped in
            guard !isStopped else { return }
            cluster.stop()
            BenchFiles.remove(directory)
            isStopped = true
        }
    }

    /// Keeps other benches out of the directory until this process ends.
    private static func lock(_ directory: String) throws {
        let descriptor = open(directory + "/lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0, flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            throw BenchError("another bench works in \(directory); give another --directory")
        }
    }

    /// What a bench has left that was killed. Its server, which dies with it, may take a while.
    private static func removeRemains(_ settings: ClusterSettings) throws {
        let deadline = ContinuousClock.now + .seconds(60)
        while try PrivateCluster.conninfoOfRunning(settings) != nil {
            guard ContinuousClock.now < deadline else {
                throw BenchError("a PostgreSQL still runs in \(settings.directory)")
            }
            usleep(100_000)
        }
        BenchFiles.remove(settings.directory)
    }

    var processID: Int32 { cluster.processID }

    func conninfo(_ database: String) -> String { cluster.conninfo(database: database) }

    func connect(_ database: String) throws -> Connection {
        let connection = try Connection(conninfo: conninfo(database), applicationName: "bench")
        connection.statementDeadline = Self.patience
        return connection
    }

    func with<Value>(_ database: String, _ body: (Connection) throws -> Value) throws -> Value {
        let connection = try connect(database)
        defer { connection.close() }
        return try body(connection)
    }

    func version() throws -> String {
        try with("bench") {
            try $0.query("SELECT current_setting('server_version')").text(0, 0) ?? ""
        }
    }

    /// What of PostgreSQL's settings matters for speed.
    func settings() throws -> [String: String] {
        try with("bench") { connection in
            let found = try connection.query(
                """
                SELECT name, current_setting(name) FROM pg_settings WHERE name IN (
                    'fsync', 'synchronous_commit', 'full_page_writes', 'wal_compression', 'jit',
                    'shared_buffers', 'max_wal_size', 'max_connections', 'autovacuum')
                """)
            let settings = (0..<found.rowCount).map { row in
                (found.text(row, 0) ?? "", found.text(row, 1) ?? "")
            }
            return Dictionary(settings) { first, _ in first }
        }
    }

    // MARK: Databases

    /// Makes the databases that runs start from.
    ///
    /// - Parameter baseCount: Contacts of the base; 0: it is not needed.
    func makeTemplates(_ contacts: BenchContacts, baseCount: Int) throws {
        try create("bench_empty", from: "template0")
        try with("bench_empty") { connection in
            try Schema.migrate(connection)
            for workspace in [BenchWorkspace.byAll, .warmUp] {
                let made = try Workspace.create(
                    workspace.name, uniqueBy: .init(rawValue: Int16(workspace.uniqueBy)),
                    connection)
                guard made?.id == Int32(workspace.id) else {
                    throw BenchError("workspace \(workspace.name) is not number \(workspace.id)")
                }
            }
            let found = try connection.query(
                "SELECT 1 FROM pg_available_extensions WHERE name = 'pg_prewarm'")
            if found.rowCount > 0 { try connection.execute("CREATE EXTENSION pg_prewarm") }
            try connection.execute("VACUUM (FREEZE, ANALYZE)")
        }
        try create(Self.reference, from: "bench_empty")
        guard baseCount > 0 else { return }
        Note.print("making a base of \(baseCount) contacts")
        try create("bench_base", from: "bench_empty")
        try with("bench_base") { connection in
            let base = Workload(.unchanged, count: baseCount)
            try connection.execute(
                """
                CREATE UNLOGGED TABLE filled (LIKE contacts INCLUDING DEFAULTS);
                ALTER TABLE filled ADD COLUMN number bigserial
                """)
            try TableContent.fill("filled", base.versionsAfter, contacts, .byEmail, connection)
            // As psql's staged transactions leave the table, which the service's resemble.
            try connection.execute(
                """
                INSERT INTO contacts (workspace_id, unique_by, \(contacts.columns))
                SELECT workspace_id, unique_by, \(contacts.columns) FROM filled
                ORDER BY (number - 1) / \(PsqlScript.rowsPerTransaction), email;
                DROP TABLE filled
                """)
            try connection.execute("VACUUM (FREEZE, ANALYZE)")
        }
    }

    /// Makes the database of a run, warms it, and has all that was written before on disk.
    func makeRun(fromBase: Bool) throws {
        try create(Self.run, from: fromBase ? "bench_base" : "bench_empty")
        try with(Self.run) { connection in
            let found = try connection.query(
                "SELECT 1 FROM pg_extension WHERE extname = 'pg_prewarm'")
            if found.rowCount > 0 {
                _ = try connection.query(
                    """
                    SELECT pg_prewarm(oid) FROM pg_class
                    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i')
                    """)
            } else {
                _ = try connection.query("SELECT count(*) FROM contacts WHERE name IS NOT NULL")
                _ = try connection.query("SELECT count(email) FROM contacts")
            }
            try connection.execute("CHECKPOINT")
        }
    }

    private func create(_ database: String, from template: String) throws {
        try with("postgres") { connection in
            try connection.execute("DROP DATABASE IF EXISTS \(database) WITH (FORCE)")
            // Copying files writes no log that a checkpoint would have to follow.
            let strategy = connection.serverVersion >= 150_000 ? "STRATEGY FILE_COPY" : ""
            try connection.execute("CREATE DATABASE \(database) TEMPLATE \(template) \(strategy)")
        }
    }

    // MARK: Machine

    /// A gigabyte, or a quarter of a small machine's memory.
    static var sharedBuffersMegabytes: Int {
        min(1024, max(64, Int(ProcessInfo.processInfo.physicalMemory >> 20) / 4))
    }

    private static func usualDirectory() throws -> String {
        let here = FileManager.default.currentDirectoryPath + "/.build/bench/work"
        for directory in [here, "/var/lib/contacts-bench"] {
            try BenchFiles.make(directory)
            if try PrivateCluster.obstacle(on: directory) == nil { return directory }
            BenchFiles.remove(directory)
        }
        return "/tmp/contacts-bench"
    }
}
