// In: the outcome of a call, here or at the peer. Out: the fields `grpc-status`, `grpc-message` and
// `grpc-status-details-bin` of its trailers, and back; codes for HTTP statuses and RST_STREAM codes.
// On which thread: plain values, any thread.

package import HTTP2

/// The codes of a call's end (gRPC "statuscodes").
package enum RPCCode: Int, Sendable {
    case ok = 0
    case cancelled = 1
    case unknown = 2
    case invalidArgument = 3
    case deadlineExceeded = 4
    case notFound = 5
    case alreadyExists = 6
    case permissionDenied = 7
    case resourceExhausted = 8
    case failedPrecondition = 9
    case aborted = 10
    case outOfRange = 11
    case unimplemented = 12
    case `internal` = 13
    case unavailable = 14
    case dataLoss = 15
    case unauthenticated = 16
}

/// How a call ended.
package struct RPCStatus: Error, Sendable, Equatable {
    package var code: RPCCode
    package var message: String
    /// A serialised `google.rpc.Status`.
    package var details: [UInt8]?
    /// Further fields of the trailers. Names are lower case; those ending in `-bin` hold base64.
    package var metadata: Headers

    package init(
        _ code: RPCCode, _ message: String = "", details: [UInt8]? = nil,
        metadata: Headers = Headers()
    ) {
        self.code = code
        self.message = message
        self.details = details
        self.metadata = metadata
    }

    package static let ok = RPCStatus(.ok)

    /// Adds the status to trailers, or to headers that are trailers as well.
    func add(to headers: inout Headers) {
        headers.add("grpc-status", String(code.rawValue))
        if !message.isEmpty { headers.add("grpc-message", StatusMessage.encode(message)) }
        if let details { headers.add("grpc-status-details-bin", Base64.encode(details)) }
        for field in metadata.pairs { headers.add(field.name, field.value) }
    }

    /// The status in trailers; nil without a `grpc-status`. A number that is none of the codes is
    /// UNKNOWN, as the gRPC libraries have it.
    static func read(_ trailers: Headers) -> RPCStatus? {
        guard let text = trailers["grpc-status"] else { return nil }
        return RPCStatus(
            Int(text).flatMap(RPCCode.init(rawValue:)) ?? .unknown,
            StatusMessage.decode(trailers["grpc-message"] ?? ""),
            details: trailers["grpc-status-details-bin"].flatMap(Base64.decode),
            metadata: trailers)
    }

    /// For a response without `grpc-status` (gRPC "http-grpc-status-mapping").
    static func forHTTP(status: String) -> RPCStatus {
        let code: RPCCode =
            switch status {
            case "400": .internal
            case "401": .unauthenticated
            case "403": .permissionDenied
            case "404": .unimplemented
            case "429", "502", "503", "504": .unavailable
            default: .unknown
            }
        return RPCStatus(code, "the response is not gRPC: HTTP status \(status)")
    }

    /// For a stream that was reset (gRPC PROTOCOL-HTTP2, "Errors").
    static func forReset(_ code: ErrorCode) -> RPCStatus {
        let rpcCode: RPCCode =
            switch code {
            case .refusedStream: .unavailable
            case .cancel: .cancelled
            case .enhanceYourCalm: .resourceExhausted
            case .inadequateSecurity: .permissionDenied
            default: .internal
            }
        return RPCStatus(rpcCode, "the stream was reset with HTTP/2 error code \(code.rawValue)")
    }
}
