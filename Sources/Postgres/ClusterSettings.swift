// What a private cluster is told: where it lives, how durable it is, how it is tuned. In: the
// caller's wishes and the machine's memory. Out: the arguments of initdb and postgres. Pure but for
// reading the machine's memory; any thread.
// https://www.postgresql.org/docs/15/runtime-config.html

import Glibc

package struct ClusterSettings: Sendable {
    /// Owned by the cluster: it holds `data`, the log, the socket's directory and a lock.
    package var directory: String
    /// Made on first use.
    package var database: String
    /// False for tests: nothing is forced to the disk, and a crash of the machine loses the data.
    package var durable: Bool
    package var sharedBuffersMegabytes: Int
    package var maxConnections: Int
    /// Includes crash recovery, which replays up to `max_wal_size` of log.
    package var startTimeoutSeconds = 120
    /// How long a server that is still in the directory, of an owner that was killed, may take to
    /// finish its shutdown.
    package var predecessorTimeoutSeconds = 15
    /// How long SIGINT (fast shutdown, with its checkpoint) may take before SIGQUIT.
    package var stopTimeoutSeconds = 60
    /// Further `name=value` settings of the server; they win over ours.
    package var serverSettings: [(String, String)] = []

    package init(
        directory: String, database: String = "contacts", durable: Bool = true,
        sharedBuffersMegabytes: Int? = nil, maxConnections: Int = 50
    ) {
        self.directory = directory
        self.database = database
        self.durable = durable
        self.sharedBuffersMegabytes =
            sharedBuffersMegabytes ?? min(256, max(16, Self.memoryMegabytes() / 4))
        self.maxConnections = maxConnections
    }

    static let superuser = "postgres"
    static let port = 5432

    /// The C collation compares bytes, which sorts keys fastest; C.UTF-8 lets upper() and lower()
    /// know letters. `locale` is C where the system has no C.UTF-8.
    func initdbArguments(dataDirectory: String, locale: String) -> [String] {
        [
            "--pgdata=\(dataDirectory)", "--username=\(Self.superuser)", "--auth=trust",
            "--encoding=UTF8", "--locale=\(locale)", "--lc-collate=C", "--no-instructions",
        ] + (durable ? [] : ["--no-sync"])
    }

    /// Trust is safe here: there is no TCP, and the socket's directory admits only its owner.
    func serverArguments(
        dataDirectory: String, socketDirectory: String, walCompression: String
    ) -> [String] {
        var values = [
            ("listen_addresses", ""), ("port", String(Self.port)),
            ("unix_socket_directories", socketDirectory), ("unix_socket_permissions", "0700"),
            ("shared_buffers", "\(sharedBuffersMegabytes)MB"),
            ("max_connections", String(maxConnections)),
            // Bulk loading writes much log: rare checkpoints mean few full page images.
            ("max_wal_size", "4GB"), ("checkpoint_timeout", "15min"),
            ("wal_compression", walCompression),
            // Compiling a plan costs more than these short statements gain.
            ("jit", "off"),
            ("timezone", "UTC"), ("log_timezone", "UTC"), ("logging_collector", "off"),
            ("log_line_prefix", "%m [%p] %a "),
            // Neither statements nor DETAIL: they hold rows.
            ("log_min_error_statement", "panic"), ("log_error_verbosity", "terse"),
        ]
        if !durable {
            values += [
                ("fsync", "off"), ("full_page_writes", "off"), ("synchronous_commit", "off"),
            ]
        }
        values += serverSettings
        return ["-D", dataDirectory] + values.flatMap { ["-c", "\($0.0)=\($0.1)"] }
    }

    /// The machine's memory, or the container's share of it (cgroup v2).
    private static func memoryMegabytes() -> Int {
        let megabyte = 1024 * 1024
        let machine = sysconf(CInt(_SC_PHYS_PAGES)) * sysconf(CInt(_SC_PAGESIZE)) / megabyte
        let limit = ClusterFiles.read("/sys/fs/cgroup/memory.max", lastBytes: 32)
        guard let share = limit.flatMap({ Int($0.filter(\.isNumber)) }) else { return machine }
        return min(machine, share / megabyte)
    }
}
