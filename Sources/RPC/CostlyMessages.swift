// Messages that cost more than they seem to: those that decompress to very much, and large ones that
// turn out to be of no use.
//
// In: what became of them. Out: when the next may be decompressed; and after large ones that were of no
// use short pauses in which nothing is read of the connection, so that others have the event loop.
// On which thread: the connection's event loop.

import NIOCore

extension ServerConnection {
    /// Smaller ones cost too little to be noticed.
    private static let noticedByteCount = 64 * 1024
    /// A refused message's bytes become a pause: one of 4 MiB costs up to 40 ms and makes one of 4 s,
    /// so that even fifty such connections on a loop leave most of it to others.
    private static let refusedBytesPerSecond = 1024 * 1024
    private static let longestPause = TimeAmount.seconds(5)

    /// A connection of which so much more was usual than was not does not wait for what others have
    /// decompressed: an import goes on beside bombs.
    private static let trustedByteCount = 256 * 1024
    private static let inflationCreditLimit = 16 * 1024 * 1024

    func refusedMessage(byteCount: Int) {
        guard byteCount >= Self.noticedByteCount else { return }
        let now = eventLoop.now
        let pause = Int64(byteCount) * 1_000_000_000 / Int64(Self.refusedBytesPerSecond)
        pausedUntil = min(max(pausedUntil, now) + .nanoseconds(pause), now + Self.longestPause)
        scheduleTurn(in: .zero)
        settleReading()
    }

    /// Whether the call may decompress its next message; else its handler is called once it may.
    func mayInflate(for call: ServerCall) -> Bool {
        let now = eventLoop.now
        let delay = options.budget.delayToInflate(
            at: now, recheckDelay: Self.recheckDelay,
            isTrusted: isTrustedToInflate)
        if delay == nil, pausedUntil <= now { return true }
        if !call.isWaitingToInflate {
            call.isWaitingToInflate = true
            Self.forgetEnded(in: &callsToInflate, when: calls.count)
            callsToInflate.append(call)
        }
        scheduleTurn(in: delay ?? .zero)
        return false
    }

    private var isTrustedToInflate: Bool { inflationCredit >= Self.trustedByteCount }

    /// A message was decompressed; of its bytes so many are more than the usual. What the connection has
    /// earned by others pays for them, else everybody waits.
    func inflated(_ byteCount: Int, surplus: Int) {
        if !isTrustedToInflate { options.budget.chargeSurplus(surplus, at: eventLoop.now) }
        let credit = inflationCredit + byteCount - 2 * surplus
        inflationCredit = max(
            -Self.inflationCreditLimit, min(credit, Self.inflationCreditLimit))
    }

    /// Not before the pause is over.
    private func scheduleTurn(in delay: TimeAmount) {
        let time = max(eventLoop.now + delay, pausedUntil)
        if let turn {
            if turn.time <= time { return }
            turn.task.cancel()
        }
        let task = eventLoop.assumeIsolated().scheduleTask(deadline: time) { [weak self] in
            guard let self else { return }
            turn = nil
            takeTurn()
        }
        turn = (time, task)
    }

    /// One call at a time, so that other connections have their turns.
    private func takeTurn() {
        if pausedUntil <= eventLoop.now, let call = callsToInflate.popFirst() {
            call.isWaitingToInflate = false
            call.deliver()
        }
        // Whoever has to wait again has said for how long.
        if turn == nil, !callsToInflate.isEmpty || pausedUntil > eventLoop.now {
            scheduleTurn(in: .zero)
        }
        settleReading()
    }

    /// Nothing is read in a pause. It must be a short one, since the frames that are not read may be those
    /// that the connection waits for: while messages wait to be decompressed, flow control alone keeps
    /// more from coming (RFC 9113 section 5.2.2). A channel that was closed has no options.
    private func settleReading() {
        let isReading = pausedUntil <= eventLoop.now
        guard isReading == isPaused else { return }
        isPaused = !isReading
        try? channel?.syncOptions?.setOption(.autoRead, value: isReading)
    }
}
