// The one place where errors become gRPC statuses. Messages to callers hold no SQL, no host name,
// no value of a contact.

internal import Contacts
internal import Ingest
internal import RPC

extension RPCStatus {
    init(_ error: DecodeError, message name: String) {
        switch error {
        case .malformed:
            self.init(
                .invalidArgument,
                "the message is not a valid \(name); was it encoded from another proto?")
        case .tooComplex:
            self.init(
                .invalidArgument,
                """
                the message unpacks to more than \(RequestDecoder.unpackedByteLimit) bytes; send \
                fewer contacts or custom fields in each message
                """)
        case .invalid(let field, let description):
            self.init(.invalidArgument, "\(field): \(description)")
        }
    }

    init(_ failure: IngestFailure) {
        switch failure {
        case .databaseAway:
            self.init(
                .unavailable,
                """
                the database is away; contacts without a result may be stored or not, send them \
                again
                """)
        case .outcomeUnknown:
            self.init(
                .unavailable,
                """
                the database went away while it committed; contacts without a result may be \
                stored or not, send them again
                """)
        case .databaseRefuses(let sqlstate):
            self.init(
                .unavailable,
                """
                the database takes no contacts (SQLSTATE \(sqlstate)); those without a result may \
                be stored or not
                """)
        case .takenOver:
            self.init(
                .aborted, "IMPORT_TAKEN_OVER: another call goes on with this import")
        case .settingsChanged:
            self.init(
                .aborted,
                """
                the workspace's settings have changed; contacts without a result may be stored or \
                not, send them again
                """)
        case .dryRunLost:
            self.init(
                .unavailable,
                "the database went away and with it what the dry run had seen; begin again")
        }
    }

    init(_ error: ReaderError) {
        switch error {
        case .databaseAway:
            self.init(.unavailable, "the database is away; try again")
        case .refused(let sqlstate):
            self.init(.unavailable, "the database refuses the call (SQLSTATE \(sqlstate))")
        case .outcomeUnknown:
            self.init(
                .unavailable,
                """
                the database went away while it committed; the change may have been made or not
                """)
        case .tooLarge:
            self.init(
                .resourceExhausted,
                """
                the contacts have more than \(LookupTooLarge.byteLimit) bytes together; ask for \
                fewer at once
                """)
        case .overloaded:
            self.init(.resourceExhausted, "too many look-ups wait; try again")
        }
    }

    static var databaseNotReached: RPCStatus {
        RPCStatus(.unavailable, "the server has not reached its database yet; try again")
    }

    static func unknownWorkspace(_ name: String) -> RPCStatus {
        RPCStatus(
            .notFound,
            """
            there is no workspace \(name.prefix(128)); make it with \
            "contactsd workspace create", or mend the metadata contacts-workspace
            """)
    }

    init(_ refusal: ImportRefusal) {
        switch refusal {
        case .otherOption(let option):
            self.init(
                .failedPrecondition,
                """
                \(option): the import was begun with another value; go on with the same, or name a \
                new import
                """)
        }
    }

    static func unknownImport(_ importID: String) -> RPCStatus {
        RPCStatus(
            .notFound, "import_id: the workspace has no import \(importID.prefix(128))")
    }

    static let wrongPageToken = RPCStatus(
        .invalidArgument, "page_token: it is none that this server gave; begin without one")

    static let importBusy = RPCStatus(
        .unavailable,
        "import_id: an earlier call of the import is still being written; try again")

    static func tooManyDryRuns(_ limit: Int) -> RPCStatus {
        RPCStatus(
            .resourceExhausted,
            "validate_only: \(limit) dry runs are under way, which is the limit; try again later")
    }

    static func numberMissing(committedThrough: UInt64) -> RPCStatus {
        RPCStatus(
            .invalidArgument,
            """
            first_sequence: the import is known and decided up to \(committedThrough); the first \
            message with contacts has to say its number, from 1 to \(committedThrough + 1)
            """)
    }

    static func wrongNumber(_ number: UInt64, expected: UInt64) -> RPCStatus {
        RPCStatus(
            .outOfRange,
            """
            first_sequence: \(number) is not the next contact's number, which is \(expected)
            """)
    }

    static func unknownList(_ id: Int64, field: String = "list_id") -> RPCStatus {
        RPCStatus(.notFound, "\(field): the workspace has no list \(id)")
    }

    static func tooManyKeys(_ count: Int, limit: Int) -> RPCStatus {
        RPCStatus(.invalidArgument, "keys: the call has \(count); the limit is \(limit)")
    }

    static let listNameTaken = RPCStatus(.alreadyExists, "name: a list of the name exists")

    static func tooManyLists(_ limit: Int) -> RPCStatus {
        RPCStatus(
            .resourceExhausted, "the workspace has \(limit) lists, which is the limit; delete some")
    }

    static let exportedListGone = RPCStatus(
        .notFound, "list_id: the list was deleted while it was exported")

    static let exportCutOff = RPCStatus(
        .unavailable, "the server shuts down and the export is not complete; call again")

    static func eventsRemoved(oldest: Int64?) -> RPCStatus {
        let kept = oldest.map { "the oldest event kept has offset \($0)" } ?? "none is kept now"
        return RPCStatus(
            .outOfRange,
            """
            after_offset: some events after it are no longer kept; \(kept); \
            call with after_offset 0 to begin with the oldest
            """)
    }

    static func eventsBeyond(last: Int64) -> RPCStatus {
        RPCStatus(
            .outOfRange,
            "after_offset: it was not given to any event yet; the last offset is \(last)")
    }

    static func tooManyFailures(_ count: UInt64) -> RPCStatus {
        RPCStatus(.failedPrecondition, "max_failures: \(count) contacts have failed")
    }

    static let shuttingDown = RPCStatus(
        .unavailable, "the server shuts down; call again and go on after the last result")
}

/// Checks of the options that need no database. All of them come before anything is written.
enum OptionRules {
    /// Options that contradict each other.
    static func refusal(_ options: UpsertOptions) -> RPCStatus? {
        guard options.matchBy == .id, options.existence == .createOnly else { return nil }
        return RPCStatus(
            .invalidArgument,
            """
            existence: EXISTENCE_CREATE_ONLY contradicts MATCH_BY_ID, by which nothing is created
            """)
    }

    static func refusal(_ options: UpsertOptions, in workspace: Workspace) -> RPCStatus? {
        guard let field = options.matchBy.textField, !workspace.uniqueBy.contains(field) else {
            return nil
        }
        return RPCStatus(
            .failedPrecondition,
            """
            match_by: \(field.wireName) is not unique in this workspace; match by an identifier \
            that is, or make a workspace with --unique \(field.wireName)
            """)
    }
}
