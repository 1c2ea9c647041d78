// A contact's columns, as they are selected and as they are read. In: a row. Out: a record. Any
// thread.

internal import Contacts
internal import Postgres

/// The order of the columns is that of `columns`; a table or subquery `c` has them.
enum ContactRow {
    static let columns = """
        c.id, c.email, c.phone, c.external_id, c.name, c.first_name, c.last_name,
        c.fields, c.field_kinds,
        (extract(epoch FROM c.created_at) * 1000000)::int8,
        (extract(epoch FROM c.updated_at) * 1000000)::int8
        """

    /// The number of columns.
    static let count = 11

    /// The bytes of a row about, without reading what is stored beside it: custom fields are not
    /// compressed.
    static let byteCount = """
        (coalesce(pg_column_size(c.fields), 0) + coalesce(pg_column_size(c.field_kinds), 0)
            + coalesce(octet_length(c.email), 0) + coalesce(octet_length(c.phone), 0)
            + coalesce(octet_length(c.external_id), 0) + coalesce(octet_length(c.name), 0)
            + coalesce(octet_length(c.first_name), 0) + coalesce(octet_length(c.last_name), 0)
            + 100)
        """

    static func record(_ found: QueryResult, _ row: Int) -> ContactRecord? {
        guard let uuid = found.uuid(row, 0) else { return nil }
        let contact = Contact(
            email: found.text(row, 1), phone: found.text(row, 2), externalID: found.text(row, 3),
            id: ContactID(uuid).description, name: found.text(row, 4),
            firstName: found.text(row, 5), lastName: found.text(row, 6),
            fields: fields(found.bytes(row, 7), kinds: found.bytes(row, 8)))
        return ContactRecord(
            contact: contact, createdAt: Timestamp(microseconds: found.int64(row, 9) ?? 0),
            updatedAt: Timestamp(microseconds: found.int64(row, 10) ?? 0))
    }

    /// Both without the version byte of jsonb.
    private static func fields(_ stored: [UInt8]?, kinds: [UInt8]?) -> [CustomField] {
        let stored = Array((stored ?? []).dropFirst())
        let kinds = Array((kinds ?? []).dropFirst())
        return CustomFieldsReader.read(fields: stored.span, kinds: kinds.span)
    }
}

extension Timestamp {
    /// - Parameter microseconds: Since 1970.
    init(microseconds: Int64) {
        let (seconds, rest) = microseconds.quotientAndRemainder(dividingBy: 1_000_000)
        let below: Int64 = rest < 0 ? 1 : 0
        self.init(
            seconds: seconds - below, nanoseconds: Int32(rest + below * 1_000_000) * 1000)
    }
}
