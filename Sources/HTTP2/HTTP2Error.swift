// In: return codes of nghttp2. Out: the one error type of this module; each ends the connection.
// Faults of a single stream are not errors but events (`closed` with a code).
// On which thread: plain values, any thread.

/// Why a connection cannot go on.
package enum HTTP2Error: Error, Equatable, Sendable {
    /// The peer does what ends its connection.
    case fault(ConnectionFault)
    /// No more stream numbers, or the peer is going away: open a new connection.
    case noMoreStreams
    /// nghttp2 refused; the code is one of its NGHTTP2_ERR_ values.
    case library(code: Int32, operation: String)
}

/// Error codes of RST_STREAM and GOAWAY (RFC 9113 section 7).
package struct ErrorCode: RawRepresentable, Hashable, Sendable {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }

    package static let noError = ErrorCode(rawValue: 0x0)
    package static let protocolError = ErrorCode(rawValue: 0x1)
    package static let internalError = ErrorCode(rawValue: 0x2)
    package static let flowControlError = ErrorCode(rawValue: 0x3)
    package static let streamClosed = ErrorCode(rawValue: 0x5)
    package static let refusedStream = ErrorCode(rawValue: 0x7)
    package static let cancel = ErrorCode(rawValue: 0x8)
    package static let enhanceYourCalm = ErrorCode(rawValue: 0xb)
    package static let inadequateSecurity = ErrorCode(rawValue: 0xc)

    /// Resets with these that we send are nothing which the peer has provoked: an answer that came
    /// before the request's end, a stream that it may try again (counted apart), and our own choice.
    static let unprovoked = [noError, refusedStream, cancel].map(\.rawValue)
}
