// In: what happens to one call, seen from the client. Out: what must be done about it.
// On which thread: the connection's event loop. A pure machine: no I/O, no clock.

import HTTP2

///   response:  waiting ──headers──▶ streaming ──trailers──▶ known ──all pulled──▶ ended
///                 └──────────────trailers-only───────────────┘
///   request:   open ──halfClose──▶ halfClosed
///
/// Cancelling, the deadline, a reset and a lost connection lead to `ended` from everywhere but
/// `known`: a status that the server has sent stands.
struct ClientCallState {
    private enum Response {
        case waiting
        case streaming
        /// The status has come; messages before it may not have been pulled yet.
        case known(RPCStatus)
        case ended
    }

    private var response = Response.waiting
    private(set) var isHalfClosed = false

    var isEnded: Bool {
        if case .ended = response { true } else { false }
    }

    /// The server's status, when the handler has yet to be told of it.
    var knownStatus: RPCStatus? {
        if case .known(let status) = response { status } else { nil }
    }

    enum OnHead { case started, wait, fail(RPCStatus), ignore }

    mutating func head(_ headers: Headers, endStream: Bool) -> OnHead {
        guard case .waiting = response else { return .ignore }
        let httpStatus = headers[":status"] ?? ""
        // Interim responses announce another head (RFC 9113 section 8.1).
        if httpStatus.hasPrefix("1") { return .wait }
        if headers.isTruncated {
            return .fail(RPCStatus(.resourceExhausted, "the response's headers are too large"))
        }
        if endStream {
            response = .known(RPCStatus.read(headers) ?? RPCStatus.forHTTP(status: httpStatus))
            return .wait
        }
        guard httpStatus == "200" else { return .fail(.forHTTP(status: httpStatus)) }
        guard RequestHead.isGRPC(headers["content-type"] ?? "") else {
            return .fail(RPCStatus(.unknown, "the response's content-type is not gRPC's"))
        }
        if let encoding = headers["grpc-encoding"], encoding != "identity" {
            return .fail(RPCStatus(.internal, "the response has the grpc-encoding \(encoding)"))
        }
        response = .streaming
        return .started
    }

    mutating func trailers(_ headers: Headers) {
        guard case .streaming = response else { return }
        let missing = RPCStatus(.unknown, "the response's trailers have no grpc-status")
        response = .known(RPCStatus.read(headers) ?? missing)
    }

    mutating func endOfStream() {
        switch response {
        case .waiting, .streaming:
            response = .known(RPCStatus(.unknown, "the response ended without trailers"))
        case .known, .ended: break
        }
    }

    /// Answers false when nothing may be sent any more.
    var canSend: Bool {
        switch response {
        case .waiting, .streaming: !isHalfClosed
        case .known, .ended: false
        }
    }

    mutating func halfClose() { isHalfClosed = true }

    /// The stream is gone. Answers whether that is how the call ends.
    var endsWithStream: Bool {
        switch response {
        case .waiting, .streaming: true
        case .known, .ended: false
        }
    }

    mutating func end() { response = .ended }
}
