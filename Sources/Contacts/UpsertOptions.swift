// The options of one import, with the defaults of the contract.

/// The identifier that finds an existing contact.
public enum MatchBy: UInt8, Sendable, CaseIterable {
    /// By email; the default.
    case email = 1
    /// By phone.
    case phone = 2
    /// By the caller's own identifier.
    case externalID = 3
    /// By the service's id; nothing is created.
    case id = 4
}

/// What happens to the fields that a contact leaves out.
public enum WriteMode: UInt8, Sendable, CaseIterable {
    /// They keep their value; the default.
    case merge = 1
    /// They are cleared, custom ones included.
    case replace = 2
}

/// What to do when the contact is there, or is not.
public enum Existence: UInt8, Sendable, CaseIterable {
    /// Create what is missing, update what is there; the default.
    case upsert = 1
    /// A contact that is there fails.
    case createOnly = 2
    /// A contact that is not there fails.
    case updateOnly = 3
}

/// Which results come back.
public enum ResultMode: UInt8, Sendable, CaseIterable {
    /// One for each contact; the default.
    case all = 1
    /// Those of failed contacts.
    case failures = 2
    /// None, the summary only.
    case summary = 3
}

/// How large the labels of an import may be: notes for people and tools, not data.
package enum LabelLimits {
    package static let count = 32
    package static let nameBytes = 64
    package static let valueBytes = 256
}

/// The options of one import.
public struct UpsertOptions: Sendable, Equatable {
    /// Names an import that can be resumed; empty: the server makes one.
    public var importID = ""
    /// The identifier that finds an existing contact.
    public var matchBy = MatchBy.email
    /// What happens to absent fields.
    public var writeMode = WriteMode.merge
    /// What to do when the contact is (not) there.
    public var existence = Existence.upsert
    /// Prefixed to phone numbers without a country code: digits only.
    public var defaultDialCode = ""
    /// Lists that every contact joins.
    public var listIDs: [Int64] = []
    /// Write an event for each change.
    public var runWorkflow = false
    /// Dry run.
    public var validateOnly = false
    /// Which results come back.
    public var results = ResultMode.all
    /// Stop once so many contacts have failed; 0: never.
    public var maxFailures: UInt64 = 0
    /// Kept with the import.
    public var labels: [String: String] = [:]

    /// The defaults.
    public init() {}
}
