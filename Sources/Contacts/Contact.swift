// A contact and its custom fields as values: what the client library takes and what reading back
// gives. The server's hot path does not build them; it goes from wire bytes to rows.

/// A contact as a caller sends it or reads it back.
///
/// `nil` means absent. When contacts are merged, an absent field keeps the stored value, the empty
/// string clears it, and any other value replaces it.
public struct Contact: Sendable, Equatable {
    /// At most 254 bytes after normalisation.
    public var email: String?
    /// Any common way to write a number; kept as E.164.
    public var phone: String?
    /// The caller's own identifier, at most 255 bytes.
    public var externalID: String?
    /// The service's id, a UUID; in a request only when matching by id.
    public var id: String?
    /// The full name, at most 1,024 bytes.
    public var name: String?
    /// The given name, at most 1,024 bytes.
    public var firstName: String?
    /// The family name, at most 1,024 bytes.
    public var lastName: String?
    /// Lists to join.
    public var listIDs: [Int64]
    /// Custom fields; of a name that comes twice the last one stands.
    public var fields: [CustomField]

    /// Makes a contact; everything left out is absent.
    public init(
        email: String? = nil, phone: String? = nil, externalID: String? = nil, id: String? = nil,
        name: String? = nil, firstName: String? = nil, lastName: String? = nil,
        listIDs: [Int64] = [], fields: [CustomField] = []
    ) {
        self.email = email
        self.phone = phone
        self.externalID = externalID
        self.id = id
        self.name = name
        self.firstName = firstName
        self.lastName = lastName
        self.listIDs = listIDs
        self.fields = fields
    }
}

/// A custom field: a name and a typed value.
public struct CustomField: Sendable, Equatable {
    /// What a custom field can hold.
    public enum Value: Sendable, Equatable {
        /// Text, without NUL.
        case string(String)
        /// A whole number, kept exactly.
        case integer(Int64)
        /// A finite number, kept to the last bit.
        case number(Double)
        /// True or false.
        case boolean(Bool)
        /// A point in time, kept to the microsecond.
        case timestamp(Timestamp)
        /// Removes the field.
        case null
    }

    /// 1 to 150 bytes of UTF-8.
    public var name: String
    /// The value.
    public var value: Value

    /// Makes a field.
    public init(_ name: String, _ value: Value) {
        self.name = name
        self.value = value
    }
}

/// A point in time as `google.protobuf.Timestamp` has it: seconds since 1970 in UTC, leap seconds
/// smeared, and nanoseconds that count forward from it.
public struct Timestamp: Sendable, Equatable {
    /// From 0001-01-01 to 9999-12-31.
    public var seconds: Int64
    /// 0 to 999,999,999.
    public var nanoseconds: Int32

    /// Makes a point in time.
    public init(seconds: Int64, nanoseconds: Int32 = 0) {
        self.seconds = seconds
        self.nanoseconds = nanoseconds
    }
}

/// Names a contact by one of its identifiers.
public enum ContactKey: Sendable, Equatable {
    /// The service's id.
    case id(String)
    /// The email, in any form that an upsert accepts.
    case email(String)
    /// The phone number, in any form that an upsert accepts.
    case phone(String)
    /// The caller's own identifier.
    case externalID(String)
}

/// A contact as it stands in the database.
public struct ContactRecord: Sendable, Equatable {
    /// The contact, with its id.
    public var contact: Contact
    /// When it was created.
    public var createdAt: Timestamp
    /// When it was last changed.
    public var updatedAt: Timestamp

    /// Makes a record.
    public init(contact: Contact, createdAt: Timestamp, updatedAt: Timestamp) {
        self.contact = contact
        self.createdAt = createdAt
        self.updatedAt = updatedAt
    }
}
