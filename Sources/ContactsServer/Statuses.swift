// The one place where errors become gRPC statuses. Messages to callers hold no SQL, no host name,
// no value of a contact.

internal import Contacts
internal import Ingest
internal import NIOCore
internal import RPC

extension RPCStatus {
    init(_ error: DecodeError, message name: String) {
        switch error {
        case .malformed:
            self = .malformed(name)
        case .tooComplex:
            self = .invalid(
                .messageTooComplex, field: "",
                """
                the message unpacks to many times its size; send fewer contacts or custom fields \
                in each message
                """)
        case .tooManyContacts(let count):
            self = .tooManyContacts(count, limit: RequestDecoder.contactLimit, in: "message")
        case .invalid(let field, let description):
            self = .invalid(.argumentInvalid, field: field, description)
        }
    }

    init(_ failure: IngestFailure) {
        switch failure {
        case .databaseAway:
            self.init(
                .unavailable, .databaseAway,
                """
                the database is away; contacts without a result may be stored or not, send them \
                again
                """, retryAfter: RetryPause.database)
        case .outcomeUnknown:
            self.init(
                .unavailable, .outcomeUnknown,
                """
                the database went away while it committed; contacts without a result may be \
                stored or not, send them again
                """, retryAfter: RetryPause.database)
        case .databaseRefuses(let sqlstate):
            self.init(
                .unavailable, .databaseRefuses,
                """
                the database takes no contacts (SQLSTATE \(sqlstate)); those without a result may \
                be stored or not
                """, metadata: ["sqlstate": sqlstate], retryAfter: RetryPause.database)
        case .takenOver:
            self.init(
                .aborted, .importTakenOver,
                "IMPORT_TAKEN_OVER: another call goes on with this import")
        case .settingsChanged:
            self.init(
                .aborted, .settingsChanged,
                """
                the workspace's settings have changed; contacts without a result may be stored or \
                not, send them again
                """)
        case .dryRunLost:
            self.init(
                .unavailable, .dryRunLost,
                "the database went away and with it what the dry run had seen; begin again",
                retryAfter: RetryPause.database)
        }
    }

    init(_ error: ReaderError) {
        switch error {
        case .databaseAway:
            self.init(
                .unavailable, .databaseAway, "the database is away; try again",
                retryAfter: RetryPause.database)
        case .refused(let sqlstate):
            self.init(
                .unavailable, .databaseRefuses,
                "the database refuses the call (SQLSTATE \(sqlstate))",
                metadata: ["sqlstate": sqlstate], retryAfter: RetryPause.database)
        case .outcomeUnknown:
            self.init(
                .unavailable, .outcomeUnknown,
                """
                the database went away while it committed; the change may have been made or not
                """, retryAfter: RetryPause.database)
        case .tooLarge:
            self.init(
                .resourceExhausted, .lookUpTooLarge,
                """
                the contacts have more than \(LookupTooLarge.byteLimit) bytes together; ask for \
                fewer at once
                """)
        case .overloaded:
            self.init(
                .resourceExhausted, .lookUpsTooMany, "too many look-ups wait; try again",
                retryAfter: RetryPause.others)
        }
    }

    static var databaseNotReached: RPCStatus {
        RPCStatus(
            .unavailable, .databaseAway,
            "the server has not reached its database yet; try again",
            retryAfter: RetryPause.database)
    }

    static func malformed(_ message: String) -> RPCStatus {
        .invalid(
            .messageMalformed, field: "",
            "the message is not a valid \(message); was it encoded from another proto?")
    }

    static let unknownService = RPCStatus(
        .notFound, .serviceUnknown, "there is no such service")

    static let answersUnread = RPCStatus(
        .resourceExhausted, "answers to earlier questions on this connection are not read")

    static let noReflectionQuestion = RPCStatus.invalid(
        .argumentInvalid, field: "message_request", "it is none that this server knows")

    static func unknownWorkspace(_ name: String) -> RPCStatus {
        RPCStatus(
            .notFound, .workspaceUnknown,
            """
            there is no workspace \(name.prefix(128)); make it with \
            "contactsd workspace create", or mend the metadata contacts-workspace
            """, metadata: ["workspace": String(name.prefix(128))])
    }

    init(_ refusal: ImportRefusal) {
        switch refusal {
        case .otherOption(let option):
            self.init(
                .failedPrecondition, .importOptionsDiffer,
                """
                \(option): the import was begun with another value; go on with the same, or name a \
                new import
                """, metadata: ["option": "\(option)"])
        }
    }

    static func unknownImport(_ importID: String) -> RPCStatus {
        RPCStatus(
            .notFound, .importUnknown,
            "import_id: the workspace has no import \(importID)", metadata: ["import_id": importID])
    }

    static let wrongPageToken = RPCStatus.invalid(
        .argumentInvalid, field: "page_token",
        "it is none that this server gave; begin without one")

    static var importBusy: RPCStatus {
        RPCStatus(
            .unavailable, .importBusy,
            "import_id: an earlier call of the import is still being written; try again",
            retryAfter: RetryPause.others)
    }

    static func tooManyDryRuns(_ limit: Int) -> RPCStatus {
        RPCStatus(
            .resourceExhausted, .dryRunsTooMany,
            "validate_only: \(limit) dry runs are under way, which is the limit; try again later",
            metadata: ["limit": "\(limit)"], retryAfter: RetryPause.others)
    }

    static func numberMissing(committedThrough: UInt64) -> RPCStatus {
        .invalid(
            .sequenceMissing, field: "first_sequence",
            """
            the import is known and decided up to \(committedThrough); the first message with \
            contacts has to say its number, from 1 to \(committedThrough + 1)
            """)
    }

    static func wrongNumber(_ number: UInt64, expected: UInt64) -> RPCStatus {
        RPCStatus(
            .outOfRange, .sequenceWrong,
            "first_sequence: \(number) is not the next contact's number, which is \(expected)",
            metadata: ["first_sequence": "\(number)", "expected": "\(expected)"])
    }

    static func unknownList(_ id: Int64, field: String = "list_id") -> RPCStatus {
        RPCStatus(
            .notFound, .listUnknown, "\(field): the workspace has no list \(id)",
            metadata: ["list_id": "\(id)"])
    }

    static func tooManyKeys(_ count: Int, limit: Int) -> RPCStatus {
        .invalid(
            .keysTooMany, field: "keys", "the call has \(count); the limit is \(limit)")
    }

    static func tooManyContacts(
        _ count: Int, limit: Int, in what: String, _ advice: String = ""
    ) -> RPCStatus {
        .invalid(
            .contactsTooMany, field: "contacts",
            "the \(what) has \(count); the limit is \(limit)\(advice)")
    }

    static let lateOptions = RPCStatus.invalid(
        .argumentInvalid, field: "options", "they belong in the first message only")

    static let listNameTaken = RPCStatus(
        .alreadyExists, .listNameTaken, "name: a list of the name exists")

    static func tooManyLists(_ limit: Int) -> RPCStatus {
        RPCStatus(
            .resourceExhausted, .listsTooMany,
            "the workspace has \(limit) lists, which is the limit; delete some",
            metadata: ["limit": "\(limit)"])
    }

    static let exportedListGone = RPCStatus(
        .notFound, .listUnknown, "list_id: the list was deleted while it was exported")

    static var exportCutOff: RPCStatus {
        RPCStatus(
            .unavailable, .shuttingDown,
            "the server shuts down and the export is not complete; call again",
            retryAfter: RetryPause.shutDown)
    }

    static func eventsRemoved(oldest: Int64?) -> RPCStatus {
        let kept = oldest.map { "the oldest event kept has offset \($0)" } ?? "none is kept now"
        return RPCStatus(
            .outOfRange, .eventsRemoved,
            """
            after_offset: some events after it are no longer kept; \(kept); \
            call with after_offset 0 to begin with the oldest
            """)
    }

    static func eventsBeyond(last: Int64) -> RPCStatus {
        RPCStatus(
            .outOfRange, .offsetUnknown,
            "after_offset: it was not given to any event yet; the last offset is \(last)",
            metadata: ["last_offset": "\(last)"])
    }

    static func tooManyFailures(_ count: UInt64) -> RPCStatus {
        RPCStatus(
            .failedPrecondition, .maxFailuresReached,
            "max_failures: \(count) contacts have failed", metadata: ["failed": "\(count)"])
    }

    static var shuttingDown: RPCStatus {
        RPCStatus(
            .unavailable, .shuttingDown,
            "the server shuts down; call again and go on after the last result",
            retryAfter: RetryPause.shutDown)
    }
}

extension ServerCall {
    /// What to tell of a message that could not be decoded, which is counted.
    func status(
        of error: DecodeError, in message: ReceivedMessage, named name: String
    ) -> RPCStatus {
        switch error {
        case .malformed: refused(.malformedMessage)
        case .tooComplex, .tooManyContacts: refused(.complexMessage)
        case .invalid: break
        }
        refusedMessage(byteCount: message.bytes.readableBytes)
        return RPCStatus(error, message: name)
    }
}

/// Checks of the options that need no database. All of them come before anything is written.
enum OptionRules {
    /// Options that contradict each other.
    static func refusal(_ options: UpsertOptions) -> RPCStatus? {
        guard options.matchBy == .id, options.existence == .createOnly else { return nil }
        return .invalid(
            .argumentInvalid, field: "existence",
            "EXISTENCE_CREATE_ONLY contradicts MATCH_BY_ID, by which nothing is created")
    }

    static func refusal(_ options: UpsertOptions, in workspace: Workspace) -> RPCStatus? {
        guard let field = options.matchBy.textField, !workspace.uniqueBy.contains(field) else {
            return nil
        }
        return RPCStatus(
            .failedPrecondition, .matchByNotUnique,
            """
            match_by: \(field.wireName) is not unique in this workspace; match by an identifier \
            that is, or make a workspace with --unique \(field.wireName)
            """)
    }
}
