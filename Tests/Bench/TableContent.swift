// What a table must hold in the end, and whether it does. In: the versions that must stand, by
// number; connections. Out: nothing, or an error that shows what differs. Blocks; any thread.
//
// What must stand is copied to a table of its own, straight from the contacts' numbers, so that
// neither the service nor psql's upsert has had a part in it.

import Contacts
import Postgres

/// The count of a table's rows and a sum of their hashes: the same for the same rows in any order.
struct TableDigest: Equatable {
    var count: Int64
    var sum: Int128

    /// Of the rows of both.
    static func + (left: TableDigest, right: TableDigest) -> TableDigest {
        TableDigest(count: left.count + right.count, sum: left.sum + right.sum)
    }
}

enum TableContent {
    /// All of a row but what each run makes anew: id and times.
    private static let row = """
        ROW(workspace_id, unique_by, email, phone, external_id, name, first_name, last_name,
            fields, field_kinds)::text
        """
    private static let differencesShown: Int64 = 5

    /// Copies contacts to a table that has the columns of `contacts`.
    ///
    /// - Parameters:
    ///   - versions: Of the contacts from number `first` on; -1: no such contact.
    static func fill(
        _ table: String, _ versions: [Int32], first: Int = 0, _ contacts: BenchContacts,
        _ workspace: BenchWorkspace, _ connection: Connection
    ) throws {
        var copy = try connection.copyIn(
            "COPY \(table) (workspace_id, unique_by, \(contacts.columns)) FROM STDIN")
        var ids = BenchIDs()
        var bytes: [UInt8] = []
        for (place, version) in versions.enumerated() where version >= 0 {
            bytes.append(contentsOf: "\(workspace.id)\t\(workspace.uniqueBy)\t".utf8)
            contacts.appendRow(
                first + place, version: Int(version), id: ids.next(), to: &bytes)
            bytes.append(UInt8(ascii: "\n"))
            if bytes.count > CopyIn.chunkByteLimit {
                try copy.write(bytes)
                bytes.removeAll(keepingCapacity: true)
            }
        }
        try copy.write(bytes)
        _ = try copy.finish()
    }

    static func digest(_ table: String, _ connection: Connection) throws -> TableDigest {
        let found = try connection.query(
            "SELECT count(*), coalesce(sum(hashtextextended(\(row), 0)), 0)::text FROM \(table)")
        return TableDigest(
            count: found.int64(0, 0) ?? -1, sum: Int128(found.text(0, 1) ?? "") ?? -1)
    }

    /// Some rows that are in one of two tables and not in the other.
    static func differences(
        _ table: String, _ connection: Connection, from reference: String,
        _ referenceConnection: Connection
    ) throws -> String {
        var found = try Rows(table, connection)
        var expected = try Rows(reference, referenceConnection)
        var lines: [String] = []
        while lines.count < differencesShown, found.current != nil || expected.current != nil {
            let there = found.current
            let meant = expected.current
            if there == meant {
                try found.advance()
                try expected.advance()
            } else if let there, there.key <= meant?.key ?? there.key {
                lines.append("is there: \(there.text)")
                try found.advance()
            } else if let meant {
                lines.append("must be there: \(meant.text)")
                try expected.advance()
            }
        }
        return lines.joined(separator: "\n")
    }

    /// A table's rows in the order of their emails.
    private struct Rows {
        struct Row: Equatable {
            var key: String
            var text: String
        }

        private let connection: Connection
        private var page: QueryResult
        private var place = 0
        private(set) var current: Row?

        init(_ table: String, _ connection: Connection) throws {
            self.connection = connection
            try connection.execute(
                """
                BEGIN; DECLARE compared CURSOR FOR
                SELECT coalesce(email, ''), \(row) FROM \(table) ORDER BY 1, 2
                """)
            page = try connection.query("FETCH 10000 FROM compared")
            current = nil
            load()
        }

        mutating func advance() throws {
            place += 1
            if place >= page.rowCount {
                page = try connection.query("FETCH 10000 FROM compared")
                place = 0
            }
            load()
        }

        private mutating func load() {
            current =
                place < page.rowCount
                ? Row(key: page.text(place, 0) ?? "", text: page.text(place, 1) ?? "") : nil
        }
    }
}
