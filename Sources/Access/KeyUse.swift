// What a key's callers take together on this server: open calls and contacts a second.
//
// In: calls that begin and end, contacts. Out: whether a call may begin, and how long to wait. Any
// thread.

internal import NIOConcurrencyHelpers

/// One key in use. It stays the same object while the key is good.
package final class KeyUse: Sendable {
    /// What may be taken at once after a pause: this many seconds' worth.
    private static let burstSeconds = 1.0

    private struct State {
        var key: LoadedKey
        var isEnded = false
        var lastToken: UInt64 = 0
        /// How open calls are told that the key is no good any more.
        var calls: [UInt64: @Sendable () -> Void] = [:]
        /// Contacts that may be taken; negative after a message that had more.
        var allowance: Double
        var lastRefill = ContinuousClock.now
    }

    /// Why a call may not begin.
    package enum Refusal: Error {
        /// The key was revoked, or has expired.
        case ended
        case tooManyStreams(limit: Int)
        /// More contacts than the rate allows were taken; it is made up for after so long.
        case tooFast(Duration)
    }

    private let state: NIOLockedValueBox<State>

    init(_ key: LoadedKey) {
        state = NIOLockedValueBox(State(key: key, allowance: Self.burst(key)))
    }

    private static func burst(_ key: LoadedKey) -> Double {
        Double(key.contactsPerSecond ?? 0) * burstSeconds
    }

    var key: LoadedKey { state.withLockedValue { $0.key } }

    package var workspaceName: String { state.withLockedValue { $0.key.workspace } }

    package var rights: Rights { state.withLockedValue { $0.key.rights } }

    /// Begins a call.
    ///
    /// - Parameters:
    ///   - takesContacts: Whether the call counts in the rate.
    ///   - onEnd: Called on any thread, once at most, when the key is no good any more.
    /// - Returns: To be kept while the call is open.
    package func begin(
        takesContacts: Bool, onEnd: @escaping @Sendable () -> Void
    ) throws(Refusal) -> KeyLease {
        let wait = takesContacts ? delay : .zero
        let result = state.withLockedValue { state -> Result<UInt64, Refusal> in
            guard !state.isEnded else { return .failure(.ended) }
            if let limit = state.key.streams, state.calls.count >= Int(limit) {
                return .failure(.tooManyStreams(limit: Int(limit)))
            }
            guard wait == .zero else { return .failure(.tooFast(wait)) }
            state.lastToken += 1
            state.calls[state.lastToken] = onEnd
            return .success(state.lastToken)
        }
        return KeyLease(self, token: try result.get())
    }

    /// How long no contact may be taken.
    package var delay: Duration {
        state.withLockedValue { state in
            guard let rate = state.key.contactsPerSecond else { return .zero }
            Self.refill(&state, rate)
            guard state.allowance <= 0 else { return .zero }
            return .milliseconds(Int64((1 - state.allowance) / Double(rate) * 1000) + 1)
        }
    }

    /// Contacts were taken.
    package func took(_ count: Int) {
        state.withLockedValue { state in
            guard let rate = state.key.contactsPerSecond else { return }
            Self.refill(&state, rate)
            state.allowance -= Double(count)
        }
    }

    private static func refill(_ state: inout State, _ rate: Int32) {
        let now = ContinuousClock.now
        let (seconds, attoseconds) = (now - state.lastRefill).components
        let passed = Double(seconds) + Double(attoseconds) / 1e18
        state.lastRefill = now
        state.allowance = min(burst(state.key), state.allowance + passed * Double(rate))
    }

    func update(_ key: LoadedKey) {
        state.withLockedValue { state in
            // A rate that was just set begins with its burst.
            if state.key.contactsPerSecond != key.contactsPerSecond {
                state.allowance = Self.burst(key)
                state.lastRefill = .now
            }
            state.key = key
        }
    }

    /// The key is no good any more: its calls are told.
    func end() {
        let told = state.withLockedValue { state in
            state.isEnded = true
            defer { state.calls = [:] }
            return Array(state.calls.values)
        }
        for tell in told { tell() }
    }

    fileprivate func remove(_ token: UInt64) {
        _ = state.withLockedValue { $0.calls.removeValue(forKey: token) }
    }
}

/// A call's place among those of its key; it ends when it is let go.
package final class KeyLease: Sendable {
    private let use: KeyUse
    private let token: UInt64

    fileprivate init(_ use: KeyUse, token: UInt64) {
        self.use = use
        self.token = token
    }

    deinit { use.remove(token) }
}
