// Whether each id that was acknowledged is the one in the table. In: the ids as they came, the run's
// database. Out: nothing, or an error that names a contact. Blocks; any thread.

import Contacts
import Postgres

enum IDCheck {
    /// - Parameters:
    ///   - ids: By stream, in the order of its contacts.
    static func check(
        _ ids: [[ContactID]], _ deal: Deal, _ workload: Workload, _ contacts: BenchContacts,
        _ connection: Connection
    ) throws {
        let first = workload.kind == .new ? workload.firstNumber : 0
        var expected = Array(repeating: ContactID.none, count: workload.numberLimit - first)
        for (stream, ids) in ids.enumerated() {
            for (offset, id) in ids.enumerated() {
                let item = workload.item(deal.index(stream: stream, offset: offset))
                if item.isBad { continue }
                let known = expected[item.number - first]
                guard id != .none, known == .none || known == id else {
                    throw BenchError(
                        "contact \(contacts.email(item.number)) was given the ids \(known), \(id)")
                }
                expected[item.number - first] = id
            }
        }
        try compare(expected, first: first, contacts, connection)
    }

    /// - Parameters:
    ///   - acknowledged: By number, from `first` on; `.none` where nothing was acknowledged.
    static func compare(
        _ acknowledged: [ContactID], first: Int = 0, _ contacts: BenchContacts,
        _ connection: Connection
    ) throws {
        var expected = acknowledged
        try connection.execute(
            "BEGIN; DECLARE ids NO SCROLL CURSOR FOR SELECT email, id FROM contacts")
        while true {
            let page = try connection.query("FETCH 20000 FROM ids")
            if page.rowCount == 0 { break }
            for row in 0..<page.rowCount {
                guard let email = page.text(row, 0), let uuid = page.uuid(row, 1),
                    let number = contacts.number(email: email)
                else { throw BenchError("the table has a contact that nobody sent") }
                guard expected.indices.contains(number - first) else { continue }
                let due = expected[number - first]
                let found = ContactID(
                    high: UInt64(truncatingIfNeeded: uuid >> 64),
                    low: UInt64(truncatingIfNeeded: uuid))
                guard due == .none || due == found else {
                    throw BenchError("\(email) has id \(found), and \(due) was acknowledged")
                }
                expected[number - first] = .none
            }
        }
        try connection.execute("COMMIT")
        if let missing = expected.firstIndex(where: { $0 != .none }) {
            throw BenchError(
                "\(contacts.email(first + missing)) was acknowledged and is not in the table")
        }
    }
}
