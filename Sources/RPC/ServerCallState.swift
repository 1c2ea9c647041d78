// In: what happens to one call, seen from the server. Out: what must be done about it.
// On which thread: the connection's event loop. A pure machine: no I/O, no clock.

///   response:  idle ──send──▶ streaming ──finish──▶ finished
///                └───────────────finish─────────────────┘
///   request:   open ──END_STREAM──▶ halfClosed
///
/// The stream's end, whenever it comes, makes the call `finished`.
struct ServerCallState {
    private enum Response { case idle, streaming, finished }

    private var response = Response.idle
    private(set) var isHalfClosed = false

    var isFinished: Bool { response == .finished }

    enum OnSend { case sendHeadersFirst, send, drop }

    mutating func send() -> OnSend {
        switch response {
        case .idle:
            response = .streaming
            return .sendHeadersFirst
        case .streaming:
            return .send
        case .finished:
            return .drop
        }
    }

    enum OnFinish { case sendTrailersOnly, sendTrailers, ignore }

    mutating func finish() -> OnFinish {
        defer { response = .finished }
        switch response {
        case .idle: return .sendTrailersOnly
        case .streaming: return .sendTrailers
        case .finished: return .ignore
        }
    }

    mutating func halfClose() { isHalfClosed = true }

    /// Answers whether the handler must be told: it has not finished the call.
    mutating func streamClosed() -> Bool {
        defer { response = .finished }
        return response != .finished
    }
}
