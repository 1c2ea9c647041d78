// In: nothing. Out: what a service implements to answer calls, and why a call can end early.
// On which thread: all methods are called on the call's event loop, never re-entrantly from `send`,
// `finish` or `returnCredit`; only `nextMessage` may call `ended`.

package import HTTP2

/// Answers one call. The call keeps its handler until it ended, so the handler may keep the call.
package protocol CallHandler: AnyObject {
    /// Messages may be there: pull with `nextMessage` until it gives nil. Called once per read of
    /// the socket with all that it brought, and at half-close. A handler that stops pulling pulls
    /// again when it is ready to, it is not called for what it left.
    func messagesAvailable(_ call: ServerCall)
    /// The call's unsent bytes fell to `ConnectionLimits.outboundLowWaterByteCount`.
    func writable(_ call: ServerCall)
    /// The call is over though the handler did not call `finish`. Nothing that is sent now goes
    /// out. Credit of messages still at work is returned as ever, for the shared budget.
    func ended(_ call: ServerCall, by cause: CallEnd)
    /// The server will go away: finish soon, with UNAVAILABLE what cannot end by itself.
    func draining(_ call: ServerCall)
}

/// Why a call ended before the handler finished it.
package enum CallEnd: Sendable, Equatable {
    /// The client cancelled, or HTTP/2 rules were broken.
    case reset(ErrorCode)
    /// DEADLINE_EXCEEDED was sent.
    case deadline
    case connectionLost
    /// `ServerCall.abort` was called.
    case aborted
    /// The request's body is not what gRPC prescribes; this status was sent.
    case protocolError(RPCStatus)
}

/// Chooses who answers a call.
package protocol CallRouter: Sendable {
    /// Called on the loop when the request's headers came; the handler keeps of the metadata what it
    /// needs later. nil: the call is answered UNIMPLEMENTED, unless the router has finished it with
    /// another status.
    func handler(for head: RequestHead, call: ServerCall) -> (any CallHandler)?
    /// Whether an RPC is at the path. Asked when a request is not gRPC.
    func isKnown(_ path: String) -> Bool
}

extension CallRouter {
    /// A router that does not tell is taken to have an RPC everywhere.
    package func isKnown(_ path: String) -> Bool { true }
}
