// What the service is compared with: upserts as one would write them for psql. In: a workload. Out:
// the scripts of psql's connections, each with half of the contacts in transactions of 10,000 rows.
//
// A transaction copies its rows to a temporary table and upserts from there in the order of the
// index, so that the index is walked once from left to right. Rows that stand as they are are not
// written. Bad contacts are left out: one would fail its transaction.

import Contacts

enum PsqlScript {
    static let connectionCount = 2
    /// Rows of one transaction.
    static let rowsPerTransaction = 10_000
    /// Scripts wait for this lock once they are ready, and go on when the bench lets it go.
    static let gate: Int64 = 0x6761_7465

    /// - Returns: How many rows the scripts have.
    static func write(
        _ workload: Workload, _ contacts: BenchContacts, _ workspace: BenchWorkspace,
        to paths: [String]
    ) throws -> Int {
        let halves = [0..<workload.middle, workload.middle..<workload.count]
        var rowCount = 0
        for (path, half) in zip(paths, halves) {
            rowCount += try write(workload, half, contacts, workspace, to: path)
        }
        return rowCount
    }

    private static func write(
        _ workload: Workload, _ indices: Range<Int>, _ contacts: BenchContacts,
        _ workspace: BenchWorkspace, to path: String
    ) throws -> Int {
        var file = try FileWriter(path: path)
        var ids = BenchIDs()
        let upsert = upsert(workspace, contacts, repeatsKeys: workload.repeatsKeys)
        let copied = workload.repeatsKeys ? "place, \(contacts.columns)" : contacts.columns
        file.append(preparation(contacts, repeatsKeys: workload.repeatsKeys))
        var rowCount = 0
        for index in indices {
            let item = workload.item(index)
            if item.isBad { continue }
            if rowCount % Self.rowsPerTransaction == 0 {
                if rowCount > 0 { file.append("\\.\n\(upsert);\nCOMMIT;\n") }
                file.append("BEGIN;\nCOPY staged (\(copied)) FROM STDIN;\n")
            }
            if workload.repeatsKeys { file.append("\(rowCount % Self.rowsPerTransaction)\t") }
            contacts.appendRow(
                item.number, version: item.version, id: ids.next(), to: &file.bytes)
            file.append("\n")
            try file.flushIfFull()
            rowCount += 1
        }
        if rowCount > 0 { file.append("\\.\n\(upsert);\nCOMMIT;\n") }
        try file.finish()
        return rowCount
    }

    /// What stands in front of the clock. A sort of one transaction's rows has room in work_mem.
    private static func preparation(_ contacts: BenchContacts, repeatsKeys: Bool) -> String {
        """
        SET client_min_messages = warning;
        SET synchronous_commit = on;
        SET jit = off;
        SET work_mem = '64MB';
        CREATE TEMPORARY TABLE staged (
            \(repeatsKeys ? "place integer, " : "")id uuid, email text COLLATE "C",
            \(contacts.hasPhone ? "phone text COLLATE \"C\", " : "")external_id text COLLATE "C",
            first_name text, last_name text, fields jsonb
        ) ON COMMIT DELETE ROWS;
        DO $$BEGIN PERFORM pg_advisory_xact_lock_shared(\(gate)); END$$;

        """
    }

    /// Of rows that repeat a key the last one stands.
    private static func upsert(
        _ workspace: BenchWorkspace, _ contacts: BenchContacts, repeatsKeys: Bool
    ) -> String {
        let columns = contacts.columns
        return """
            INSERT INTO contacts (workspace_id, unique_by, \(columns))
            SELECT \(repeatsKeys ? "DISTINCT ON (email) " : "")\(workspace.id), \
            \(workspace.uniqueBy), \(columns)
            FROM staged ORDER BY email\(repeatsKeys ? ", place DESC" : "")
            \(conflict(contacts))
            """
    }

    /// What happens to a row whose email is there.
    static func conflict(_ contacts: BenchContacts) -> String {
        let columns = contacts.columns.split(separator: ", ").dropFirst(2)
        let assignments = columns.map { "\($0) = EXCLUDED.\($0)" }
        return """
            ON CONFLICT (workspace_id, email) WHERE unique_by & 1 <> 0 AND email IS NOT NULL
            DO UPDATE SET \(assignments.joined(separator: ", ")), updated_at = now()
            WHERE (\(columns.map { "contacts.\($0)" }.joined(separator: ", ")))
                IS DISTINCT FROM (\(columns.map { "EXCLUDED.\($0)" }.joined(separator: ", ")))
            """
    }
}

/// A workspace of the bench's databases.
struct BenchWorkspace: Sendable {
    let name: String
    let id: Int
    let uniqueBy: Int

    /// The email is unique.
    static let byEmail = BenchWorkspace(name: "default", id: 1, uniqueBy: 1)
    /// So are the phone number and the external id.
    static let byAll = BenchWorkspace(name: "three", id: 2, uniqueBy: 7)
    /// Where the server's lanes are woken, so that they learn nothing of the workspace that counts.
    static let warmUp = BenchWorkspace(name: "warm-up", id: 3, uniqueBy: 1)

    var hasPhone: Bool { uniqueBy & 2 != 0 }
}

/// Ids as a client would make them beforehand, in the order of their making.
struct BenchIDs {
    /// 2025-01-01.
    private static let start: UInt64 = 1_735_689_600_000

    private var generator = ContactIDGenerator()
    private var count: UInt64 = 0

    mutating func next() -> ContactID {
        generator.advance(to: Self.start + count / 100)
        count += 1
        return generator.next()
    }
}
