// psql's staged upsert, run and measured. In: the scripts. Out: a record. Blocks; any thread.

import Foundation
import Postgres

struct Baseline {
    private static let limit = Duration.seconds(1800)

    let cluster: BenchCluster
    let psql: String

    /// Runs one psql for each script at the same time on the run's database. The clock starts when
    /// all have connected and made their temporary tables, and stops when all have ended.
    func run(_ scripts: [String], rowCount: Int) throws -> RunRecord {
        let connection = try cluster.connect(BenchCluster.run)
        defer { connection.close() }
        _ = try connection.query("SELECT pg_advisory_lock(\(PsqlScript.gate))")
        let log = cluster.directory + "/psql.log"
        BenchFiles.remove(log)
        let children = try scripts.map { script in
            try ChildProcess(
                arguments: ServerProcess.dyingWithUs([
                    psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", script,
                    cluster.conninfo(BenchCluster.run),
                ]), environment: ServerProcess.environment, log: log)
        }
        defer { for child in children { child.signal(SIGKILL) } }
        try awaitReady(children, connection, log)
        let meter = Meter(
            postmaster: cluster.processID, server: nil, client: .children, connection: connection)
        let before = try meter.read()
        let start = ContinuousClock.now
        _ = try connection.query("SELECT pg_advisory_unlock(\(PsqlScript.gate))")
        for child in children {
            guard child.waitForExit(within: Self.limit) == 0 else {
                throw BenchError("psql failed:\n\(BenchFiles.text(log))")
            }
        }
        let seconds = (ContinuousClock.now - start).inSeconds
        let after = try meter.read()
        return RunRecord(
            side: .psql, contacts: rowCount, seconds: seconds, from: before, to: after)
    }

    private func awaitReady(
        _ children: [ChildProcess], _ connection: Connection, _ log: String
    ) throws {
        while true {
            let found = try connection.query(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            if found.int64(0, 0) == Int64(children.count) { return }
            guard children.allSatisfy(\.isRunning) else {
                throw BenchError("psql did not start:\n\(BenchFiles.text(log))")
            }
            usleep(2000)
        }
    }
}
