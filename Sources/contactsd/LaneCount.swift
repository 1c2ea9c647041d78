// How many lanes a server has that was not told. In: the cores of this machine, what the database
// has connections for. Out: a number. The main thread, while the server starts.

import Foundation
import Postgres

enum LaneCount {
    /// With one, a transaction's fsync would keep the others waiting.
    static let least = 2
    /// More gain nothing that was measured: rows of one table share locks in the database.
    static let most = 64
    /// Connections of a server beside its lanes: readers, the feed, the sweeper, the monitor, dry
    /// runs.
    private static let othersPerServer = 14

    /// Of a database that cannot be asked: PostgreSQL's default, less those kept for superusers.
    private static let usualConnections = 97

    /// One lane for each core, since PostgreSQL works on one core for each, as far as half of the
    /// database's connections go; the other half is for a second server and for people.
    ///
    /// - Parameter connection: `nil` while the database cannot be reached.
    static func usual(_ connection: Connection?) throws(PostgresError) -> Int {
        let cores = ProcessInfo.processInfo.activeProcessorCount
        guard let connection else { return fitting(cores: cores, connections: usualConnections) }
        let found = try connection.query(
            """
            SELECT current_setting('max_connections')::int8
                - current_setting('superuser_reserved_connections')::int8
            """)
        return fitting(cores: cores, connections: Int(found.int64(0, 0) ?? 0))
    }

    static func fitting(cores: Int, connections: Int) -> Int {
        let available = connections / 2 - othersPerServer
        return max(least, min(cores, available, most))
    }
}
