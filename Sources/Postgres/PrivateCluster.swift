// A PostgreSQL cluster of our own. In: a directory. Out: a running server in it, reached by a unix
// socket that only its owner may use, and a connection string. The first start makes the cluster;
// later ones keep its data. Blocks; any thread. One cluster has one owner: a directory whose server
// still runs is refused after a short wait, never adopted, since nobody would know when to stop it.
// The server dies with this process, by a signal of the kernel if need be.
// https://www.postgresql.org/docs/15/server-shutdown.html

import Glibc
import NIOConcurrencyHelpers

package final class PrivateCluster: Sendable {
    private let settings: ClusterSettings
    private let files: ClusterFiles
    private let socketDirectory: String
    private let server: ChildProcess
    /// -1 once stopped.
    private let lock: NIOLockedValueBox<CInt>

    /// Starts the cluster and waits until it takes connections and its database exists.
    package static func start(_ settings: ClusterSettings) throws(PostgresError) -> PrivateCluster {
        var settings = settings
        settings.directory = try absolute(settings.directory)
        let files = ClusterFiles(directory: settings.directory, owner: try ClusterOwner.find())
        if let obstacle = files.owner.obstacle(on: settings.directory) {
            throw PostgresError(
                .cluster,
                "the user \(files.owner.name) cannot enter \(obstacle), on the way to "
                    + "\(settings.directory): give it \"x\" for others, or take another directory")
        }
        try files.take()
        let lock = try files.lock()
        let cluster: PrivateCluster
        do throws(PostgresError) {
            cluster = try PrivateCluster(settings, files, lock)
        } catch {
            close(lock)
            throw error
        }
        // From here on the lock is the cluster's to close.
        try cluster.becomeReady()
        return cluster
    }

    /// What keeps the user that runs the server from entering a directory; nil when nothing does.
    package static func obstacle(on directory: String) throws(PostgresError) -> String? {
        try ClusterOwner.find().obstacle(on: absolute(directory))
    }

    /// Reaches the database of a cluster that another process runs in the directory; nil when none
    /// does. For short commands beside a server.
    package static func conninfoOfRunning(
        _ settings: ClusterSettings
    ) throws(PostgresError) -> String? {
        let files = ClusterFiles(
            directory: try absolute(settings.directory), owner: try ClusterOwner.find())
        guard files.isInitialized, files.livingPostmaster() != nil else { return nil }
        return conninfo(try files.socketDirectory(), database: settings.database)
    }

    private init(
        _ settings: ClusterSettings, _ files: ClusterFiles, _ lock: CInt
    ) throws(PostgresError) {
        self.settings = settings
        self.files = files
        try files.prepare()
        try Self.awaitPredecessor(files, settings.predecessorTimeoutSeconds)
        let programs = try ClusterPrograms(dataVersion: files.dataVersion, owner: files.owner)
        if !files.isInitialized { try Self.initialize(settings, files, programs) }
        let compression = Self.hasFastCompression(files, programs) ? "lz4" : "on"
        socketDirectory = try files.socketDirectory()
        // SIGINT: without its clients the server shuts down at once, and the next start needs no
        // recovery.
        server = try ChildProcess(
            arguments: programs.command(
                "postgres",
                settings.serverArguments(
                    dataDirectory: files.data, socketDirectory: socketDirectory,
                    walCompression: compression),
                deathSignal: "INT"),
            environment: programs.environment, log: files.log)
        self.lock = NIOLockedValueBox(lock)
    }

    deinit {
        stop()
    }

    /// Reaches the cluster's database.
    package var conninfo: String { conninfo(database: settings.database) }

    package func conninfo(database: String) -> String {
        Self.conninfo(socketDirectory, database: database)
    }

    private static func conninfo(_ socketDirectory: String, database: String) -> String {
        func quoted(_ text: String) -> String {
            let escaped = text.flatMap { $0 == "'" || $0 == "\\" ? ["\\", $0] : [$0] }
            return "'" + String(escaped) + "'"
        }
        return "host=\(quoted(socketDirectory)) port=\(ClusterSettings.port) "
            + "user=\(ClusterSettings.superuser) dbname=\(quoted(database))"
    }

    package var isRunning: Bool { server.isRunning }
    package var processID: Int32 { server.processID }
    package var logPath: String { files.log }

    /// Fast shutdown: clients are cut off, a checkpoint is written. A server that takes too long is
    /// stopped hard and recovers at the next start. Does nothing the second time.
    package func stop() {
        lock.withLockedValue { lock in
            guard lock >= 0 else { return }
            let steps = [(SIGINT, settings.stopTimeoutSeconds), (SIGQUIT, 10), (SIGKILL, 10)]
            for (signal, seconds) in steps where server.isRunning {
                server.signal(signal)
                _ = server.waitForExit(Deadline(after: .seconds(seconds)))
            }
            files.removeStandIn(socketDirectory)
            close(lock)
            lock = -1
        }
    }

    /// A predecessor that was killed leaves a server in its shutdown.
    private static func awaitPredecessor(
        _ files: ClusterFiles, _ timeoutSeconds: Int
    ) throws(PostgresError) {
        let deadline = Deadline(after: .seconds(timeoutSeconds))
        while let processID = files.livingPostmaster() {
            guard !deadline.isOver else {
                throw PostgresError(
                    .cluster,
                    "a PostgreSQL server (process \(processID)) already runs in \(files.data)")
            }
            usleep(50_000)
        }
    }

    /// Into a directory of another name first: half a cluster never looks like a whole one.
    private static func initialize(
        _ settings: ClusterSettings, _ files: ClusterFiles, _ programs: ClusterPrograms
    ) throws(PostgresError) {
        for locale in ["C.UTF-8", "C"] {
            try files.make(files.partialData)
            let initdb = try ChildProcess(
                arguments: programs.command(
                    "initdb",
                    settings.initdbArguments(dataDirectory: files.partialData, locale: locale),
                    deathSignal: "KILL"),
                environment: programs.environment, log: files.log)
            let deadline = Deadline(after: .seconds(settings.startTimeoutSeconds))
            if initdb.waitForExit(deadline) == 0 {
                guard rename(files.partialData, files.data) == 0 else {
                    throw ClusterFiles.failure("rename", files.partialData)
                }
                return
            }
            initdb.signal(SIGKILL)
        }
        throw PostgresError(.cluster, "initdb failed; the end of its log:\n\(files.logTail)")
    }

    /// Whether this build of the server has LZ4, which packs full page images several times faster
    /// than PostgreSQL's own method. Only the server knows: it refuses the value or prints it.
    private static func hasFastCompression(
        _ files: ClusterFiles, _ programs: ClusterPrograms
    ) -> Bool {
        let question = ["-D", files.data, "-C", "wal_compression", "-c", "wal_compression=lz4"]
        let answer = try? ChildProcess(
            arguments: programs.command("postgres", question, deathSignal: "KILL"),
            environment: programs.environment, log: "/dev/null")
        return answer?.waitForExit(Deadline(after: .seconds(10))) == 0
    }

    private func becomeReady() throws(PostgresError) {
        do throws(PostgresError) {
            let connection = try firstConnection()
            var name = Parameters()
            name.append(text: settings.database)
            let found = try connection.query(
                "SELECT 1 FROM pg_database WHERE datname = $1", name)
            if found.rowCount == 0 {
                let escaped = settings.database.flatMap { $0 == "\"" ? [$0, $0] : [$0] }
                try connection.execute("CREATE DATABASE \"\(String(escaped))\"")
            }
        } catch {
            let tail = files.logTail
            stop()
            throw PostgresError(
                .cluster, "the server did not start: \(error); the end of its log:\n\(tail)")
        }
    }

    /// Tries until the server takes connections, ends, or the time is up.
    private func firstConnection() throws(PostgresError) -> Connection {
        let deadline = Deadline(after: .seconds(settings.startTimeoutSeconds))
        while true {
            let failure: PostgresError
            do throws(PostgresError) {
                return try Connection(
                    conninfo: conninfo(database: "postgres"), applicationName: "private cluster")
            } catch {
                failure = error
            }
            if let code = server.waitForExit(Deadline(after: .milliseconds(20))) {
                throw PostgresError(.cluster, "it exited with code \(code)")
            }
            if deadline.isOver || !failure.isConnectionLoss { throw failure }
        }
    }

    private static func absolute(_ path: String) throws(PostgresError) -> String {
        if mkdir(path, 0o700) != 0, errno != EEXIST { throw ClusterFiles.failure("make", path) }
        guard let resolved = realpath(path, nil) else { throw ClusterFiles.failure("find", path) }
        defer { free(resolved) }
        return String(cString: resolved)
    }
}
