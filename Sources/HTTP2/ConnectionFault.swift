// In: nothing. Out: the words for why we end a connection, the same in the GOAWAY's debug data, in
// counters and in logs. They tell of frames only, never of what was in them.
// On which thread: plain values, any thread.

/// Why a connection is ended though its peer has not asked for it.
package enum ConnectionFault: String, CaseIterable, Sendable {
    /// The first bytes are not the client connection preface (RFC 9113 section 3.4).
    case badPreface = "bad_preface"
    /// The client's preface, SETTINGS included, did not come in time.
    case latePreface = "late_preface"
    /// A header block was begun and not ended in time.
    case lateHeaders = "late_headers"
    /// More frames that cost the peer nothing than `ConnectionLimits` allows.
    case uselessFrames = "useless_frames"
    /// PINGs without anything to keep alive; the word is the one that gRPC clients look for.
    case tooManyPings = "too_many_pings"
    /// Streams that the peer opened to reset them (CVE-2023-44487).
    case tooManyResets = "too_many_resets"
    /// Streams that the peer made us reset (CVE-2025-8671).
    case provokedResets = "provoked_resets"
    /// Far more header fields than are taken: bytes on the wire that are many times as large here.
    case oversizedHeaders = "oversized_headers"
    /// A header block in too many pieces (CVE-2024-28182).
    case tooManyContinuations = "too_many_continuations"
    /// The peer has more acknowledgements, or other frames, made than it reads.
    case unreadAcknowledgements = "unread_acknowledgements"
    /// A PING was not answered.
    case silence
    /// nghttp2 found a connection error (RFC 9113 section 5.4.1) and says which in its GOAWAY.
    case protocolError = "protocol_error"
    /// nghttp2 failed.
    case library

    /// What the GOAWAY says; nil: none is sent, nobody there would understand or hear it.
    var goAwayCode: ErrorCode? {
        switch self {
        case .badPreface, .silence, .library: nil
        // nghttp2 has sent it.
        case .protocolError: nil
        case .latePreface, .lateHeaders, .uselessFrames, .tooManyPings, .tooManyResets,
            .provokedResets, .oversizedHeaders, .tooManyContinuations, .unreadAcknowledgements:
            .enhanceYourCalm
        }
    }
}
