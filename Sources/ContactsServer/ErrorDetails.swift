// What a program can make out of a call's failure: `grpc-status-details-bin`, a `google.rpc.Status`
// whose code and message are those of the trailers (gRPC, "Richer error model"; AIP-193).
//
// In: a code, a reason and a text. Out: a status with its details. Any thread.

internal import RPC

/// Why a call failed, as `ErrorInfo.reason`. Once given a name stays: programs compare them.
enum ErrorReason: String {
    case argumentInvalid = "ARGUMENT_INVALID"
    case contactsTooMany = "CONTACTS_TOO_MANY"
    case databaseAway = "DATABASE_AWAY"
    case databaseRefuses = "DATABASE_REFUSES"
    case dryRunLost = "DRY_RUN_LOST"
    case dryRunsTooMany = "DRY_RUNS_TOO_MANY"
    case eventsRemoved = "EVENTS_REMOVED"
    case importBusy = "IMPORT_BUSY"
    case importOptionsDiffer = "IMPORT_OPTIONS_DIFFER"
    case importTakenOver = "IMPORT_TAKEN_OVER"
    case importUnknown = "IMPORT_UNKNOWN"
    case keyInvalid = "KEY_INVALID"
    case keyRateExceeded = "KEY_RATE_EXCEEDED"
    case keyStreamsTooMany = "KEY_STREAMS_TOO_MANY"
    case keysTooMany = "KEYS_TOO_MANY"
    case listNameTaken = "LIST_NAME_TAKEN"
    case listUnknown = "LIST_UNKNOWN"
    case listsTooMany = "LISTS_TOO_MANY"
    case lookUpTooLarge = "LOOK_UP_TOO_LARGE"
    case lookUpsTooMany = "LOOK_UPS_TOO_MANY"
    case matchByNotUnique = "MATCH_BY_NOT_UNIQUE"
    case maxFailuresReached = "MAX_FAILURES_REACHED"
    case messageMalformed = "MESSAGE_MALFORMED"
    case messageTooComplex = "MESSAGE_TOO_COMPLEX"
    case offsetUnknown = "OFFSET_UNKNOWN"
    case outcomeUnknown = "OUTCOME_UNKNOWN"
    case rightMissing = "RIGHT_MISSING"
    case sequenceMissing = "SEQUENCE_MISSING"
    case sequenceWrong = "SEQUENCE_WRONG"
    case serviceUnknown = "SERVICE_UNKNOWN"
    case settingsChanged = "SETTINGS_CHANGED"
    case shuttingDown = "SHUTTING_DOWN"
    case workspaceUnknown = "WORKSPACE_UNKNOWN"

    /// `ErrorInfo.domain`: whose reasons these are.
    static let domain = "contacts.v1"
}

/// How long a caller should wait before it calls again. What is told lies between this and twice
/// this, at random, so that those who were sent away together do not come back together.
enum RetryPause {
    /// Another server may be up already.
    static let shutDown = Duration.milliseconds(100)
    /// The database is looked for four times a second.
    static let database = Duration.milliseconds(500)
    /// Others' calls have to end first.
    static let others = Duration.seconds(1)
}

extension RPCStatus {
    /// - Parameters:
    ///   - metadata: What the message's text holds of numbers and names, for programs.
    ///   - retryAfter: Set where the same call may succeed later.
    init(
        _ code: RPCCode, _ reason: ErrorReason, _ message: String,
        metadata: KeyValuePairs<String, String> = [:], retryAfter: Duration? = nil
    ) {
        self.init(code, reason, message, metadata, retryAfter, violation: nil)
    }

    /// INVALID_ARGUMENT with a `BadRequest`.
    ///
    /// - Parameter field: The path of what is wrong, from the request message; empty: all of it.
    static func invalid(
        _ reason: ErrorReason, field: String, _ description: String
    ) -> RPCStatus {
        RPCStatus(
            .invalidArgument, reason, field.isEmpty ? description : "\(field): \(description)",
            [:], nil, violation: (field, description))
    }

    private init(
        _ code: RPCCode, _ reason: ErrorReason, _ message: String,
        _ metadata: KeyValuePairs<String, String>, _ retryAfter: Duration?,
        violation: (field: String, description: String)?
    ) {
        var status = WireWriter()
        status.number(1, UInt64(code.rawValue))
        status.text(2, message)
        status.detail("ErrorInfo") { info in
            info.text(1, reason.rawValue)
            info.text(2, ErrorReason.domain)
            for (name, value) in metadata {
                info.message(3) { entry in
                    entry.text(1, name)
                    entry.text(2, value)
                }
            }
        }
        if let violation {
            status.detail("BadRequest") { request in
                request.message(1) { found in
                    if !violation.field.isEmpty { found.text(1, violation.field) }
                    found.text(2, violation.description)
                }
            }
        }
        if let retryAfter {
            status.detail("RetryInfo") { $0.message(1) { $0.duration(retryAfter.spread) } }
        }
        self.init(code, message, details: status.bytes)
    }
}

extension Duration {
    fileprivate var spread: Duration { self * Double.random(in: 1...2) }
}

extension WireWriter {
    /// `google.rpc.Status.details`: a `google.protobuf.Any`.
    fileprivate mutating func detail(_ name: String, _ write: (inout WireWriter) -> Void) {
        message(3) { any in
            any.text(1, "type.googleapis.com/google.rpc.\(name)")
            any.message(2, write)
        }
    }

    /// The fields of a `google.protobuf.Duration`, whole milliseconds.
    fileprivate mutating func duration(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        let milliseconds = UInt64(attoseconds / 1_000_000_000_000_000)
        if seconds > 0 { number(1, UInt64(seconds)) }
        if milliseconds > 0 { number(2, milliseconds * 1_000_000) }
    }
}
