// Who calls: the key behind a call's metadata or certificate, and what it allows.
//
// In: the head of a request. Out: the caller, or the status that refuses the call; nothing is asked
// of the database. Event loop thread.

internal import Access
internal import Ingest
internal import NIOCore
internal import RPC

/// Whoever makes a call, once it may be answered.
struct Caller {
    /// Whose contacts the call is about.
    let workspaceName: String
    /// `nil`: no key is demanded, and none was presented.
    private let key: KeyUse?

    init(workspaceName: String, key: KeyUse?) {
        self.workspaceName = workspaceName
        self.key = key
    }

    /// How long no contact may be taken, by the rate of the key.
    var delay: TimeAmount { key.map { TimeAmount($0.delay) } ?? .zero }

    /// Contacts were taken.
    func took(_ count: Int) { key?.took(count) }
}

/// Holds a call's contacts back while its key's rate is used up. On the call's event loop.
final class RateGate {
    private let caller: Caller
    /// A look is scheduled.
    private(set) var isWaiting = false

    init(_ caller: Caller) { self.caller = caller }

    /// Whether contacts may be taken now. Else the messages stay as they came with their credit, which
    /// slows the client, and `onOpen` is called when it is time to look again.
    func isOpen(for call: ServerCall, _ onOpen: @escaping () -> Void) -> Bool {
        let delay = caller.delay
        guard delay > .zero else { return true }
        guard !isWaiting else { return false }
        isWaiting = true
        call.later(delay) {
            self.isWaiting = false
            onOpen()
        }
        return false
    }
}

/// What is checked of every call before its handler is made.
struct Authentication: Sendable {
    /// `nil`: there are no keys.
    let keys: KeyTable?

    /// The caller of a call that takes something of some rights.
    ///
    /// - Parameters:
    ///   - rights: Any of them will do.
    ///   - takesContacts: Whether the call counts in the key's rate.
    func caller(
        of call: ServerCall, needing rights: Rights, takesContacts: Bool
    ) throws(RPCStatus) -> Caller {
        let asked = call.head.metadata("contacts-workspace")
        guard let key = try key(of: call) else {
            return Caller(workspaceName: asked ?? Workspace.defaultName, key: nil)
        }
        // One and the same answer for what is not there and what is another's.
        if let asked, asked != key.workspaceName {
            call.refused(.workspaceUnknown)
            throw .unknownWorkspace(asked)
        }
        guard key.rights.allow(rights) else {
            call.refused(.rightMissing)
            throw .missingRight(rights)
        }
        do throws(KeyUse.Refusal) {
            let loop = call.eventLoop
            let bound = NIOLoopBound(WeakCall(call), eventLoop: loop)
            call.lease = try key.begin(takesContacts: takesContacts) {
                loop.execute {
                    guard let call = bound.value.call else { return }
                    call.wasEnded(for: .keyEnded)
                    call.abort(.unauthenticated)
                }
            }
        } catch {
            call.refused(Refusal(error))
            throw RPCStatus(error)
        }
        return Caller(workspaceName: key.workspaceName, key: key)
    }

    /// The key that a call presents; `nil` if none is presented nor demanded. Missing, unknown,
    /// expired and revoked keys all have the same answer.
    private func key(of call: ServerCall) throws(RPCStatus) -> KeyUse? {
        guard let keys else { return nil }
        let presented = Self.presentedKeys(call.head)
        guard let text = presented.first else {
            if let key = keys.find(certificateNames: call.peerIdentities) { return key }
            guard keys.isDemanded else { return nil }
            call.refused(.keyMissing)
            throw .unauthenticated
        }
        guard presented.allSatisfy({ $0 == text }), let key = keys.find(text) else {
            call.refused(.keyInvalid)
            throw .unauthenticated
        }
        return key
    }

    private static let bearer = "bearer "

    /// Every key in the metadata that callers are used to put one into.
    private static func presentedKeys(_ head: RequestHead) -> [String] {
        // The scheme's case does not matter (RFC 9110 section 11.1). Another scheme's credentials
        // are no key of ours, and are presented all the same.
        let bearers = head.metadataValues("authorization").map { value in
            value.lowercased().hasPrefix(bearer)
                ? String(value.dropFirst(bearer.count).drop { $0 == " " }) : ""
        }
        return bearers + head.metadataValues("apikey") + head.metadataValues("autopilotapikey")
    }

    /// Keys outlive calls, so they must not hold them.
    private struct WeakCall {
        weak var call: ServerCall?

        init(_ call: ServerCall) { self.call = call }
    }
}

extension Refusal {
    fileprivate init(_ refusal: KeyUse.Refusal) {
        self =
            switch refusal {
            case .ended: .keyEnded
            case .tooManyStreams: .keyStreams
            case .tooFast: .keyRate
            }
    }
}

extension RPCStatus {
    static let unauthenticated = RPCStatus(
        .unauthenticated, .keyInvalid,
        """
        a key is needed: give one that is good in the metadata authorization ("Bearer KEY") or apikey
        """)

    static func missingRight(_ rights: Rights) -> RPCStatus {
        RPCStatus(
            .permissionDenied, .rightMissing,
            "the key lacks the right for this call: \(rights.list)")
    }

    init(_ refusal: KeyUse.Refusal) {
        switch refusal {
        case .ended:
            self = .unauthenticated
        case .tooManyStreams(let limit):
            self.init(
                .resourceExhausted, .keyStreamsTooMany,
                "the key has \(limit) calls open, which is its limit; try again when one has ended",
                metadata: ["limit": "\(limit)"], retryAfter: RetryPause.others)
        case .tooFast(let wait):
            // Not before the rate is made up for: who comes back as told must not be refused again.
            self.init(
                .resourceExhausted, .keyRateExceeded,
                "the key has taken more contacts than its rate allows; try again later",
                retryAfter: max(wait, RetryPause.others))
        }
    }
}
