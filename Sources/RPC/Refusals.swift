// In: what the server did not do for a peer. Out: how often, by kind, for the operator's eyes.
// On which thread: any; shared by all event loops.

package import HTTP2
import NIOConcurrencyHelpers

/// What is refused though its connection goes on, or before there is one.
package enum Refusal: String, CaseIterable, Sendable {
    case connections
    case connectionsPerAddress = "connections_per_address"
    case connectionRate = "connection_rate"
    /// Calls beyond `ConnectionLimits.maxConcurrentStreams`.
    case concurrentStreams = "concurrent_streams"
    /// A stream that broke a rule of HTTP/2, and was reset.
    case malformedStream = "malformed_stream"
    /// Calls begun faster than `ServerOptions.streamsPerSecond`.
    case streamRate = "stream_rate"
    /// Calls beyond `ServerOptions.openCalls`.
    case streams
    /// A request's header block with too many fields or bytes.
    case headers
    /// A request that is not gRPC, which HTTP answers.
    case noRPC = "no_rpc"
    /// A request whose timeout, encoding or metadata is none of gRPC's.
    case malformedRequest = "malformed_request"
    case unknownMethod = "unknown_method"
    /// A unary call with no message or more than one.
    case messageCount = "message_count"
    /// A message over the limit or without the form of one, known by its prefix.
    case envelope
    /// The beginnings of messages take too much memory.
    case unfinishedMessages = "unfinished_messages"
    /// A message's end did not come in time.
    case lateMessage = "late_message"
    /// A finished call was reset whose answer nobody took.
    case unreadAnswer = "unread_answer"
    /// A message that is none of its type.
    case malformedMessage = "malformed_message"
    /// A message that unpacks to more than one may.
    case complexMessage = "complex_message"
    case keyMissing = "key_missing"
    /// A key that is unknown, wrong, expired or revoked.
    case keyInvalid = "key_invalid"
    /// A call was open when its key expired or was revoked.
    case keyEnded = "key_ended"
    case rightMissing = "right_missing"
    /// A key's call that names another workspace than the key's.
    case workspaceUnknown = "workspace_unknown"
    /// A call that would bring contacts while its key's rate is used up.
    case keyRate = "key_rate"
    /// A call beyond those that its key may have open.
    case keyStreams = "key_streams"
}

/// A count for each kind of refusal and of connections that were ended.
package final class Refusals: Sendable {
    // Refusals are rare, or cost the peer more than they cost here: a lock does.
    private let counts = NIOLockedValueBox<[String: Int]>([:])

    package init() {}

    package func add(_ refusal: Refusal) { add(refusal.rawValue) }
    package func add(_ fault: ConnectionFault) { add(fault.rawValue) }

    private func add(_ kind: String) { counts.withLockedValue { $0[kind, default: 0] += 1 } }

    /// Every kind, in the order of their declaration, those that never came too.
    package var all: [(kind: String, count: Int)] {
        let kinds = Refusal.allCases.map(\.rawValue) + ConnectionFault.allCases.map(\.rawValue)
        return counts.withLockedValue { counts in kinds.map { ($0, counts[$0] ?? 0) } }
    }
}
