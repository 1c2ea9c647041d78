// What became of a contact, as values: what the client library gives back.

/// What became of one contact.
public enum UpsertStatus: UInt8, Sendable, CaseIterable {
    /// It was not there and is now.
    case created = 1
    /// It was there and something differed.
    case updated = 2
    /// It was there and nothing differed; nothing was written.
    case unchanged = 3
    /// It was refused; its neighbours are not affected.
    case failed = 4
    /// An earlier call of the same import had committed it.
    case replayed = 5
}

/// Why a contact is refused. The raw value is the stable word on the wire.
public enum Reason: String, Sendable, CaseIterable {
    /// The identifier to match by is absent or empty.
    case keyMissing = "KEY_MISSING"
    /// The email breaks a rule.
    case emailInvalid = "EMAIL_INVALID"
    /// The phone number breaks a rule.
    case phoneInvalid = "PHONE_INVALID"
    /// A text is not UTF-8, or holds a NUL.
    case invalidUTF8 = "INVALID_UTF8"
    /// A text is too long.
    case valueTooLong = "VALUE_TOO_LONG"
    /// A custom field, or a field that has no place here.
    case fieldInvalid = "FIELD_INVALID"
    /// The contact as a whole is too large.
    case contactTooLarge = "CONTACT_TOO_LARGE"
    /// A list does not exist.
    case listUnknown = "LIST_UNKNOWN"
    /// Create only, and the contact is there.
    case alreadyExists = "ALREADY_EXISTS"
    /// Update only or by id, and the contact is not there.
    case notFound = "NOT_FOUND"
    /// Another contact of the workspace has an identifier that must be unique.
    case identifierTaken = "IDENTIFIER_TAKEN"
    /// A constraint or trigger of the database's owner refused the contact.
    case databaseRejected = "DATABASE_REJECTED"
}

/// Why one contact failed.
public struct ContactError: Error, Sendable, Equatable {
    /// The stable word; a word this library does not know is kept in `reasonText` alone.
    public var reason: Reason? { Reason(rawValue: reasonText) }
    /// The stable word as it came.
    public var reasonText: String
    /// The field at fault, as the proto names it; empty when it is the contact as a whole.
    public var field: String
    /// The reason in words.
    public var message: String
    /// Whether the same contact may succeed later without being changed.
    public var retryable: Bool
    /// The id of the other contact, when there is one; else empty.
    public var conflictingID: String

    /// Makes an error.
    public init(
        reasonText: String, field: String, message: String, retryable: Bool = false,
        conflictingID: String = ""
    ) {
        self.reasonText = reasonText
        self.field = field
        self.message = message
        self.retryable = retryable
        self.conflictingID = conflictingID
    }
}

/// The answer for one contact.
public struct ContactResult: Sendable, Equatable {
    /// Few results have an error; a reference keeps the others small.
    private final class Failure: Sendable {
        let error: ContactError

        init(_ error: ContactError) { self.error = error }
    }

    /// The contact's number in the import, from 1.
    public var sequence: UInt64
    /// The id in 16 bytes, so that a result without an error owns no memory.
    package var contactID: ContactID?
    /// What became of it.
    public var status: UpsertStatus
    private var failure: Failure?
    /// The contact's id, a UUID in lower case; empty when it failed.
    public var id: String { contactID?.description ?? "" }
    /// Why it failed, when it did.
    public var error: ContactError? {
        get { failure?.error }
        set { failure = newValue.map { Failure($0) } }
    }

    package init(
        sequence: UInt64, status: UpsertStatus, contactID: ContactID?, error: ContactError? = nil
    ) {
        self.sequence = sequence
        self.contactID = contactID
        self.status = status
        failure = error.map { Failure($0) }
    }

    /// A result of a contact that did not fail.
    @inline(__always)
    init(sequence: UInt64, status: UpsertStatus, id: ContactID?) {
        self.sequence = sequence
        contactID = id
        self.status = status
        failure = nil
    }

    public static func == (one: ContactResult, other: ContactResult) -> Bool {
        one.sequence == other.sequence && one.status == other.status
            && one.contactID == other.contactID && one.error == other.error
    }

    /// Makes a result; an `id` that is no UUID is left empty.
    public init(sequence: UInt64, status: UpsertStatus, id: String, error: ContactError? = nil) {
        self.init(sequence: sequence, status: status, contactID: ContactID(id), error: error)
    }
}

/// The counts of one call.
public struct UpsertSummary: Sendable, Equatable {
    /// All contacts that were answered.
    public var total: UInt64 = 0
    /// Of these, created.
    public var created: UInt64 = 0
    /// Of these, updated.
    public var updated: UInt64 = 0
    /// Of these, unchanged.
    public var unchanged: UInt64 = 0
    /// Of these, committed by an earlier call.
    public var replayed: UInt64 = 0
    /// Of these, failed.
    public var failed: UInt64 = 0
    /// The failed ones by reason.
    public var failedByReason: [String: UInt64] = [:]
    /// All contacts up to this number are decided.
    public var committedThrough: UInt64 = 0

    /// All zero.
    public init() {}
}

/// What the server accepts; each is told in `started`.
public struct Limits: Sendable, Equatable {
    /// The longest request message.
    public var maxMessageBytes: UInt64
    /// The most contacts in one message.
    public var maxContactsPerMessage: UInt64
    /// The most bytes of one contact on the wire.
    public var maxContactBytes: UInt64
    /// The most bytes of a name.
    public var maxTextBytes: UInt64
    /// The most custom fields of one contact.
    public var maxFields: UInt64
    /// The most contacts of a call without a result.
    public var maxUnacknowledgedContacts: UInt64

    /// Makes a set of limits.
    public init(
        maxMessageBytes: UInt64, maxContactsPerMessage: UInt64, maxContactBytes: UInt64,
        maxTextBytes: UInt64, maxFields: UInt64, maxUnacknowledgedContacts: UInt64
    ) {
        self.maxMessageBytes = maxMessageBytes
        self.maxContactsPerMessage = maxContactsPerMessage
        self.maxContactBytes = maxContactBytes
        self.maxTextBytes = maxTextBytes
        self.maxFields = maxFields
        self.maxUnacknowledgedContacts = maxUnacknowledgedContacts
    }
}

/// The first answer of a call.
public struct UpsertStarted: Sendable, Equatable {
    /// The import's id.
    public var importID: String
    /// Whether the import was known before.
    public var resumed: Bool
    /// Go on after this number.
    public var committedThrough: UInt64
    /// The options in force.
    public var options: UpsertOptions
    /// The limits in force.
    public var limits: Limits

    /// Makes a first answer.
    public init(
        importID: String, resumed: Bool, committedThrough: UInt64, options: UpsertOptions,
        limits: Limits
    ) {
        self.importID = importID
        self.resumed = resumed
        self.committedThrough = committedThrough
        self.options = options
        self.limits = limits
    }
}
