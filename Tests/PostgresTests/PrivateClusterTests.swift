// The life of a cluster: first start, restart, the wrong starts, and its death with its owner.

import Foundation
import Postgres
import TestSupport
import Testing

@Suite struct PrivateClusterTests {
    private func settings(_ directory: String) -> ClusterSettings {
        ClusterSettings(
            directory: directory, database: "contacts", durable: false, sharedBuffersMegabytes: 16,
            maxConnections: 10)
    }

    private func connect(_ cluster: PrivateCluster) throws -> Connection {
        try Connection(conninfo: cluster.conninfo, applicationName: "test")
    }

    @Test func `a restart keeps the data, and two starts at once are one too many`() throws {
        let directory = try TemporaryDirectory.make("cluster")
        defer { TemporaryDirectory.remove(directory) }
        let first = try PrivateCluster.start(settings(directory))
        try connect(first).execute("CREATE TABLE t AS SELECT 42 AS a")

        let again = #expect(throws: PostgresError.self) {
            _ = try PrivateCluster.start(settings(directory))
        }
        #expect(again?.kind == .cluster && again?.message.contains("in use") == true)
        #expect(first.isRunning)

        first.stop()
        first.stop()
        #expect(!first.isRunning)
        #expect(throws: PostgresError.self) { _ = try connect(first) }

        let second = try PrivateCluster.start(settings(directory))
        #expect(try connect(second).query("SELECT a FROM t").int32(0, 0) == 42)
        second.stop()
    }

    @Test func `only the unix socket is open, and durability is on unless switched off`() throws {
        let directory = try TemporaryDirectory.make("cluster")
        defer { TemporaryDirectory.remove(directory) }
        var wanted = settings(directory)
        wanted.durable = true
        wanted.serverSettings = [("work_mem", "8MB")]
        let cluster = try PrivateCluster.start(wanted)
        defer { cluster.stop() }
        let connection = try connect(cluster)
        func value(_ name: String) throws -> String? {
            try connection.query("SELECT current_setting('\(name)')").text(0, 0)
        }
        #expect(try value("listen_addresses") == "")
        for name in ["fsync", "full_page_writes", "synchronous_commit"] {
            #expect(try value(name) == "on", "\(name)")
        }
        #expect(try value("jit") == "off")
        #expect(try value("work_mem") == "8MB")
        let methods = try connection.query(
            "SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'wal_compression'")
        #expect(try value("wal_compression") == (methods.bool(0, 0) == true ? "lz4" : "pglz"))
        #expect(try value("server_encoding") == "UTF8")
        #expect(try value("lc_collate") == "C")
        #expect(try value("TimeZone") == "UTC")
        let mode = try FileManager.default.attributesOfItem(atPath: directory + "/s")
        #expect(mode[.posixPermissions] as? Int == 0o700)
    }

    @Test func `a path too long for a socket gets a short stand-in, removed at the end`() throws {
        let top = try TemporaryDirectory.make("cluster")
        defer { TemporaryDirectory.remove(top) }
        #expect(chmod(top, 0o711) == 0)
        let directory = top + "/" + String(repeating: "long", count: 30)
        let cluster = try PrivateCluster.start(settings(directory))
        let note = try String(contentsOfFile: directory + "/socket", encoding: .utf8)
        #expect(note.hasPrefix("/tmp/pg-") && cluster.conninfo.contains(note))
        #expect(try connect(cluster).query("SELECT 1").rowCount == 1)
        cluster.stop()
        #expect(!FileManager.default.fileExists(atPath: note))
        #expect(!FileManager.default.fileExists(atPath: directory + "/socket"))
    }

    @Test func `a directory that the server's user cannot reach is named`() throws {
        guard geteuid() == 0 else { return }
        let top = try TemporaryDirectory.make("cluster")
        defer { TemporaryDirectory.remove(top) }
        let error = #expect(throws: PostgresError.self) {
            _ = try PrivateCluster.start(settings(top + "/below"))
        }
        #expect(error?.message.contains("cannot enter \(top)") == true)
    }

    @Test func `a directory with other files is left alone`() throws {
        let directory = try TemporaryDirectory.make("cluster")
        defer { TemporaryDirectory.remove(directory) }
        try "mine".write(toFile: directory + "/letter", atomically: false, encoding: .utf8)
        let error = #expect(throws: PostgresError.self) {
            _ = try PrivateCluster.start(settings(directory))
        }
        #expect(error?.message.contains("other files") == true)
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == ["letter"])
        #expect(ClusterSettings(directory: directory).durable)
    }

    @Test func `a server that cannot start says why`() throws {
        let directory = try TemporaryDirectory.make("cluster")
        defer { TemporaryDirectory.remove(directory) }
        var wanted = settings(directory)
        wanted.serverSettings = [("work_mem", "a lot")]
        let error = #expect(throws: PostgresError.self) { _ = try PrivateCluster.start(wanted) }
        #expect(error?.message.contains("work_mem") == true, "\(String(describing: error))")
        let second = try PrivateCluster.start(settings(directory))
        second.stop()
    }

    @Test func `what a crash leaves behind does not keep it from starting`() throws {
        let directory = try TemporaryDirectory.make("cluster")
        defer { TemporaryDirectory.remove(directory) }
        let first = try PrivateCluster.start(settings(directory))
        try connect(first).execute("CREATE TABLE t AS SELECT 42 AS a")
        try connect(first).execute("CHECKPOINT")
        kill(first.processID, SIGKILL)
        while first.isRunning { usleep(10_000) }
        first.stop()
        // As if another program had got the dead server's id.
        let file = directory + "/data/postmaster.pid"
        let text = try String(contentsOfFile: file, encoding: .utf8)
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).dropFirst()
        let stale = (["\(getppid())"] + lines.map(String.init)).joined(separator: "\n")
        try stale.write(toFile: file, atomically: false, encoding: .utf8)
        try FileManager.default.createDirectory(
            atPath: directory + "/data.partial/x", withIntermediateDirectories: true)

        let second = try PrivateCluster.start(settings(directory))
        #expect(try connect(second).query("SELECT a FROM t").int32(0, 0) == 42)
        #expect(!FileManager.default.fileExists(atPath: directory + "/data.partial"))
        second.stop()
    }

    @Test func `a server that somebody else runs in the directory is not adopted`() throws {
        let directory = try TemporaryDirectory.make("cluster")
        defer { TemporaryDirectory.remove(directory) }
        let cluster = try PrivateCluster.start(settings(directory))
        defer { cluster.stop() }
        // Without the lock, as a foreign start would be.
        #expect(unlink(directory + "/cluster.lock") == 0)
        try Data().write(to: URL(fileURLWithPath: directory + "/cluster.lock"))
        var wanted = settings(directory)
        wanted.predecessorTimeoutSeconds = 1
        let error = #expect(throws: PostgresError.self) { _ = try PrivateCluster.start(wanted) }
        #expect(error?.message.contains("process \(cluster.processID)") == true)
        #expect(cluster.isRunning)
    }

    @Test func `the server is in a process group of its own and ends with its clients`() throws {
        let directory = try TemporaryDirectory.make("cluster")
        defer { TemporaryDirectory.remove(directory) }
        let cluster = try PrivateCluster.start(settings(directory))
        #expect(getpgid(cluster.processID) == cluster.processID)
        let connection = try connect(cluster)
        try connection.execute("BEGIN")
        cluster.stop()
        let error = #expect(throws: PostgresError.self) { try connection.execute("COMMIT") }
        #expect(error?.isConnectionLoss == true)
    }
}
