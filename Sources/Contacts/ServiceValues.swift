// Lists, imports and events as values: what the calls beside the upsert give back.

/// A contact list.
public struct ContactList: Sendable, Equatable {
    /// Above 0, never given again.
    public var id: Int64
    /// Unique in the workspace.
    public var name: String
    /// When it was made.
    public var createdAt: Timestamp

    /// Makes a list.
    public init(id: Int64, name: String, createdAt: Timestamp) {
        self.id = id
        self.name = name
        self.createdAt = createdAt
    }
}

/// Where an import stands.
public enum ImportState: UInt8, Sendable, CaseIterable {
    /// A call is alive.
    case running = 1
    /// The last call broke off before the end.
    case interrupted = 2
    /// The last call was half-closed and all of it is committed.
    case finished = 3
}

/// What is known of one import.
public struct Import: Sendable, Equatable {
    /// The import's id.
    public var importID: String
    /// Where it stands.
    public var state: ImportState
    /// Its counts over all calls.
    public var summary: UpsertSummary
    /// Its options, those of the latest call.
    public var options: UpsertOptions
    /// When its first call began.
    public var createdAt: Timestamp
    /// When it last made progress.
    public var updatedAt: Timestamp

    /// Makes a record of an import.
    public init(
        importID: String, state: ImportState, summary: UpsertSummary, options: UpsertOptions,
        createdAt: Timestamp, updatedAt: Timestamp
    ) {
        self.importID = importID
        self.state = state
        self.summary = summary
        self.options = options
        self.createdAt = createdAt
        self.updatedAt = updatedAt
    }
}

/// What happened to a contact.
public enum EventType: UInt8, Sendable, CaseIterable {
    /// It was created.
    case created = 1
    /// It was updated.
    case updated = 2
}

/// One change of one contact.
public struct ContactEvent: Sendable, Equatable {
    /// Grows within a workspace, not necessarily by one.
    public var offset: UInt64
    /// What happened.
    public var type: EventType
    /// The contact as committed, with its id.
    public var record: ContactRecord
    /// The import that changed it.
    public var importID: String
    /// When.
    public var occurredAt: Timestamp

    /// Makes an event.
    public init(
        offset: UInt64, type: EventType, record: ContactRecord, importID: String,
        occurredAt: Timestamp
    ) {
        self.offset = offset
        self.type = type
        self.record = record
        self.importID = importID
        self.occurredAt = occurredAt
    }
}
