// Why a call failed, as the caller sees it.

internal import RPC

/// A call that ended with a status other than OK, or a connection that could not be made.
public struct ClientError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The gRPC status code, 1 to 16.
    public let code: Int
    /// Its name, such as `UNAVAILABLE`.
    public let codeName: String
    /// The server's words, or ours when there was no server.
    public let message: String
    /// How long the server asks to wait before the next call; `nil` when it does not say.
    public let retryDelay: Duration?

    init(_ status: RPCStatus) {
        code = status.code.rawValue
        codeName = status.code.name
        message = status.message
        retryDelay = RetryHint.delay(status)
    }

    static func unavailable(_ message: String) -> ClientError {
        ClientError(RPCStatus(.unavailable, message))
    }

    static var malformed: ClientError {
        ClientError(RPCStatus(.internal, "the server's message is malformed"))
    }

    static var cancelledByCaller: ClientError {
        ClientError(RPCStatus(.cancelled, "the call was cancelled by its caller"))
    }

    /// Whether the same call may succeed later: the server, or what it needs, is away, or it asks to
    /// come back later.
    var isPassing: Bool {
        isUnavailable || code == RPCCode.resourceExhausted.rawValue && retryDelay != nil
    }

    /// The server, or what it needs, is away.
    public var isUnavailable: Bool { code == RPCCode.unavailable.rawValue }

    public var description: String { "\(codeName): \(message)" }
}

extension RPCCode {
    /// The name that the gRPC documents use.
    fileprivate var name: String {
        switch self {
        case .ok: "OK"
        case .cancelled: "CANCELLED"
        case .unknown: "UNKNOWN"
        case .invalidArgument: "INVALID_ARGUMENT"
        case .deadlineExceeded: "DEADLINE_EXCEEDED"
        case .notFound: "NOT_FOUND"
        case .alreadyExists: "ALREADY_EXISTS"
        case .permissionDenied: "PERMISSION_DENIED"
        case .resourceExhausted: "RESOURCE_EXHAUSTED"
        case .failedPrecondition: "FAILED_PRECONDITION"
        case .aborted: "ABORTED"
        case .outOfRange: "OUT_OF_RANGE"
        case .unimplemented: "UNIMPLEMENTED"
        case .internal: "INTERNAL"
        case .unavailable: "UNAVAILABLE"
        case .dataLoss: "DATA_LOSS"
        case .unauthenticated: "UNAUTHENTICATED"
        }
    }
}
