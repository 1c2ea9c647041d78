// The tables that must result, each made once. In: the versions that must stand in the end. Out:
// nothing, or an error that shows what differs. Blocks; one task.

import Postgres

final class References {
    private let cluster: BenchCluster
    private var digests: [String: TableDigest] = [:]

    init(_ cluster: BenchCluster) {
        self.cluster = cluster
    }

    /// Makes the table of a name, if it is not there yet.
    ///
    /// - Parameters:
    ///   - versions: Of the contacts from number `first` on; -1: no such contact.
    func make(
        _ name: String, first: Int = 0, _ contacts: BenchContacts,
        _ workspace: BenchWorkspace = .byEmail, versions: () -> [Int32]
    ) throws {
        guard digests[name] == nil else { return }
        digests[name] = try cluster.with(BenchCluster.reference) { connection in
            try connection.execute(
                "CREATE UNLOGGED TABLE \(name) (LIKE contacts INCLUDING DEFAULTS)")
            try TableContent.fill(name, versions(), first: first, contacts, workspace, connection)
            return try TableContent.digest(name, connection)
        }
    }

    func drop(_ name: String) throws {
        guard digests.removeValue(forKey: name) != nil else { return }
        try cluster.with(BenchCluster.reference) { try $0.execute("DROP TABLE \(name)") }
    }

    /// Compares the contacts of the run's database with those of some tables together.
    func check(_ names: String..., after what: String) throws {
        let expected = names.compactMap { digests[$0] }
            .reduce(TableDigest(count: 0, sum: 0), +)
        try cluster.with(BenchCluster.run) { connection in
            let found = try TableContent.digest("contacts", connection)
            guard found != expected else { return }
            let tables = names.map { "TABLE \($0)" }.joined(separator: " UNION ALL ")
            let differences = try cluster.with(BenchCluster.reference) {
                try TableContent.differences("contacts", connection, from: "(\(tables)) t", $0)
            }
            throw BenchError(
                "after \(what) the table has \(found.count) contacts, must have "
                    + "\(expected.count), and they differ:\n\(differences)")
        }
    }
}
