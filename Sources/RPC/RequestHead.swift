// In: the header block of a request. Out: a call's path, deadline and metadata, or the refusal.
// On which thread: plain values, any thread.

import HTTP2
package import NIOCore

/// What a call's headers say (gRPC PROTOCOL-HTTP2, "Requests").
package struct RequestHead: Sendable {
    /// `/package.Service/Method`, case-sensitive.
    package private(set) var path: String
    /// What the client gives the call; nil: for ever.
    package let timeout: TimeAmount?
    /// Echoed to the client, which may tell `+proto` from other sub-formats.
    let contentType: String
    /// The request's messages may be compressed with gzip.
    let isCompressed: Bool
    private var headers: Headers

    /// The first value of that name. For names ending in `-bin` use `binaryMetadata`.
    package func metadata(_ name: String) -> String? { headers[name] }

    package func metadataValues(_ name: String) -> [String] { headers.values(name) }

    /// The first value of a field whose name ends in `-bin`.
    package func binaryMetadata(_ name: String) -> [UInt8]? { binaryMetadataValues(name).first }

    /// All values of a field whose name ends in `-bin`, whether each has its own field or they are
    /// joined by commas.
    package func binaryMetadataValues(_ name: String) -> [[UInt8]] {
        headers.values(name).flatMap { Metadata.binaryValues($0) ?? [] }
    }

    /// Lets path and metadata go: by size they are most of what an idle call would keep.
    mutating func drop() {
        path = ""
        headers = Headers()
    }

    /// The client takes messages that are compressed with gzip (gRPC "compression.md").
    var acceptsGzip: Bool {
        headers.values("grpc-accept-encoding").contains { value in
            value.split(separator: ",").contains { $0.filter { $0 != " " } == Gzip.name }
        }
    }

    /// What the server takes, for `grpc-accept-encoding`.
    static let acceptedEncodings = "identity,gzip"

    enum OnHeaders {
        case accepted(RequestHead)
        /// Not gRPC.
        case refusedByHTTP(HTTPAnswer)
        case refused(RPCStatus)
    }

    private static let contentType = "application/grpc"
    /// A longer content type is not worth keeping for an answer.
    private static let maxEchoedByteCount = 64

    /// `te: trailers` is expected from clients but not demanded: nghttp2 refuses any other value,
    /// and proxies drop the field.
    static func read(_ headers: Headers) -> OnHeaders {
        if headers.isTruncated {
            // Fields that would tell whether it is gRPC may be among those that were not taken.
            return headers[":method"].map { $0 == "POST" } ?? true
                ? .refused(RPCStatus(.resourceExhausted, "the request's headers are too large"))
                : .refusedByHTTP(.headersTooLarge)
        }
        guard headers[":method"] == "POST" else { return .refusedByHTTP(.methodNotAllowed) }
        guard let contentType = headers["content-type"], isGRPC(contentType) else {
            return .refusedByHTTP(.unsupportedMediaType)
        }
        let encoding = headers["grpc-encoding"] ?? "identity"
        guard encoding == "identity" || encoding == Gzip.name else {
            return .refused(
                RPCStatus(
                    .unimplemented, "the grpc-encoding \(encoding.prefix(64)) is not supported",
                    metadata: Headers([("grpc-accept-encoding", acceptedEncodings)])))
        }
        if let name = Metadata.firstMalformed(of: headers) {
            return .refused(RPCStatus(.internal, "the metadata \(name.prefix(64)) is malformed"))
        }
        var timeout: TimeAmount?
        if let text = headers["grpc-timeout"] {
            timeout = Timeout.parse(text)
            // grpc-go answers so; C-core ignores the field, which would lose the deadline.
            if timeout == nil {
                return .refused(RPCStatus(.internal, "the grpc-timeout is malformed"))
            }
        }
        return .accepted(
            RequestHead(
                path: headers[":path"] ?? "", timeout: timeout,
                contentType: contentType.utf8.count <= maxEchoedByteCount
                    ? contentType : Self.contentType,
                isCompressed: encoding == Gzip.name, headers: headers))
    }

    /// `application/grpc`, then the end, a sub-format or a parameter; `application/grpc-web` is
    /// another protocol. Case does not matter, nor space before a parameter (RFC 9110 section 8.3.1).
    static func isGRPC(_ value: String) -> Bool {
        guard value.prefix(contentType.count).lowercased() == contentType else { return false }
        let rest = value.dropFirst(contentType.count)
        switch rest.first {
        case nil, "+", ";": return true
        default: return rest.drop { $0 == " " || $0 == "\t" }.first == ";"
        }
    }
}
