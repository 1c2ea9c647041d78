// One contact that passed the rules, in memory that is reused for the next.
//
// In: the values that the rules write, back to back. Out: ranges of bytes, from which the ingest
// side writes a row. Event loop thread.

/// The identifiers and names of a contact, in the order of the table's columns.
package enum TextField: Int, CaseIterable, Sendable {
    case email = 0
    case phone
    case externalID
    case name
    case firstName
    case lastName

    /// The name on the wire.
    package var wireName: String {
        switch self {
        case .email: "email"
        case .phone: "phone"
        case .externalID: "external_id"
        case .name: "name"
        case .firstName: "first_name"
        case .lastName: "last_name"
        }
    }
}

package struct NormalizedContact {
    /// Where a value stands in `bytes`. A length of 0 is a value to clear.
    package struct Location {
        package var offset: Int32 = 0
        package var length: Int32 = -1

        package var isAbsent: Bool { length < 0 }
        package var range: Range<Int> { Int(offset)..<Int(offset + max(length, 0)) }
    }

    /// All values, back to back.
    package internal(set) var bytes: [UInt8] = []
    package internal(set) var texts: InlineArray<6, Location> = .init(repeating: Location())
    /// Custom fields as a JSON object in the form that PostgreSQL prints; `null` removes a field.
    package internal(set) var fields = Location()
    /// Which of them are timestamps, as a JSON object; empty when none is.
    package internal(set) var fieldKinds: [UInt8] = []
    /// Whether `fields` holds a `null`.
    package internal(set) var removesFields = false
    /// The id to match by.
    package internal(set) var id: ContactID?
    /// Lists to join, as they came but for 0.
    package internal(set) var lists: [Int64] = []

    /// Makes the custom fields; its memory too is reused.
    var fieldsEncoder = CustomFieldsEncoder()

    package init() {}

    /// Forgets the contact and keeps the memory.
    mutating func reset() {
        bytes.removeAll(keepingCapacity: true)
        texts = .init(repeating: Location())
        fields = Location()
        // Emptying an array that is empty is not free.
        if !fieldKinds.isEmpty { fieldKinds.removeAll(keepingCapacity: true) }
        removesFields = false
        id = nil
        if !lists.isEmpty { lists.removeAll(keepingCapacity: true) }
    }
}
