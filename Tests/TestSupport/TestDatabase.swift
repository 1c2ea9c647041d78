// A fresh, empty database for a test. In: nothing. Out: its connection string. Any thread, in
// parallel. One private cluster serves all tests of the process: started by the first, stopped at
// exit with its directory removed; the kernel stops it if the process is killed.

import Foundation
package import Postgres
import Synchronization

package final class TestDatabase: Sendable {
    package let conninfo: String
    private let name: String
    private static let counter = Atomic<Int>(0)

    /// `let database = try TestDatabase.create()`: dropped with the last reference to it.
    package static func create() throws -> TestDatabase {
        let cluster = try TestCluster.shared.get()
        let number = counter.add(1, ordering: .relaxed).newValue
        let name = "test_\(number)"
        let connection = try Connection(
            conninfo: cluster.conninfo, applicationName: "test support")
        try connection.execute("CREATE DATABASE \(name)")
        return TestDatabase(name: name, conninfo: cluster.conninfo(database: name))
    }

    private init(name: String, conninfo: String) {
        self.name = name
        self.conninfo = conninfo
    }

    deinit {
        guard let cluster = try? TestCluster.shared.get(), cluster.isRunning,
            let connection = try? Connection(
                conninfo: cluster.conninfo, applicationName: "test support")
        else { return }
        try? connection.execute("DROP DATABASE IF EXISTS \(name) WITH (FORCE)")
    }

    /// A new connection to this database.
    package func connect(settings: [(String, String)] = []) throws(PostgresError) -> Connection {
        try Connection(conninfo: conninfo, applicationName: "test", settings: settings)
    }
}

private enum TestCluster {
    static let shared: Result<PrivateCluster, any Error> = Result {
        let directory = try TemporaryDirectory.make("contacts-tests")
        var settings = ClusterSettings(
            directory: directory, database: "tests", durable: false, sharedBuffersMegabytes: 64,
            maxConnections: 100)
        settings.stopTimeoutSeconds = 10
        let cluster = try PrivateCluster.start(settings)
        atexit { TestCluster.stop() }
        return cluster
    }

    private static func stop() {
        guard let cluster = try? shared.get() else { return }
        cluster.stop()
        TemporaryDirectory.remove((cluster.logPath as NSString).deletingLastPathComponent)
    }
}
