// In: what the calls of a connection have sent and their client has not taken, and the answers under
// way. Out: when a call may make another answer; finished calls that nobody reads are reset.
// On which thread: the connection's event loop.

import HTTP2
import NIOCore

extension ServerCall {
    /// Whether the call may make another answer, or look for one. Else the client has left too much
    /// unread while others have too, and `writable` is called once there is room.
    ///
    /// - Parameter atOnce: The answer is one message, behind which the call is finished: if nobody
    ///   reads it, it is reset after a while. What streams keep stays, so that there is room set apart
    ///   for those that keep nothing.
    package func mayAnswer(atOnce: Bool) -> Bool {
        connection.map { $0.mayAnswer(self, atOnce) } ?? true
    }

    /// So many bytes of an answer are under way, from a database for instance, and count as unsent
    /// until this is called again; with 0 when it is there, also when the call is over by then.
    package func expectAnswer(_ byteCount: Int) {
        unsentAnswers.add(byteCount - expectedByteCount)
        expectedByteCount = byteCount
        if byteCount == 0 { connection?.wakeWaiting() }
    }
}

extension ServerConnection {
    func mayAnswer(_ call: ServerCall, _ atOnce: Bool) -> Bool {
        countUnsent()
        let isFirst = !atOnce && call.unsentByteCount == 0
        if isFirst ? unsent.hasRoomForFirst : unsent.hasRoom { return true }
        if !call.isWaitingToAnswer {
            call.isWaitingToAnswer = true
            Self.forgetEnded(in: &waitingCalls, when: calls.count)
            waitingCalls.append(call)
        }
        scheduleWake()
        return false
    }

    /// Calls may end while they wait: a list of many more than there are is rid of them.
    static func forgetEnded(in waiting: inout CircularBuffer<ServerCall>, when openCount: Int) {
        if waiting.count > 2 * max(openCount, 16) { waiting.removeAll { $0.isFinished } }
    }

    /// Brings the count up to date, after anything was sent or written.
    func countUnsent() {
        let byteCount = session?.unsentByteCount ?? 0
        unsent.add(byteCount - countedUnsentByteCount)
        countedUnsentByteCount = byteCount
    }

    /// Calls those that wait, the first first, while there is room.
    func wakeWaiting() {
        countUnsent()
        // Each once at most, since it may have to wait again.
        for _ in 0..<waitingCalls.count where unsent.hasRoomForFirst {
            guard let call = waitingCalls.popFirst() else { return }
            call.isWaitingToAnswer = false
            call.writable()
        }
        if !waitingCalls.isEmpty { scheduleWake() }
    }

    /// Other connections may make room too, of which nobody tells.
    private func scheduleWake() {
        guard !isWakeScheduled else { return }
        isWakeScheduled = true
        eventLoop.assumeIsolated().scheduleTask(in: Self.recheckDelay) { [weak self] in
            guard let self else { return }
            isWakeScheduled = false
            wakeWaiting()
        }
    }

    /// To be called every tick. When there is too much unread, the newest finished calls of which
    /// nothing was taken since the last tick are reset, so that the older ones may still be read.
    func resetUnread() {
        countUnsent()
        let finished = calls.values.filter { $0.isFinished && $0.unsentByteCount > 0 }
        var excess = unsent.excess
        for call in finished.sorted(by: { $0.stream > $1.stream }) {
            if excess > 0, call.unsentByteCount == call.unsentAtTick {
                excess -= call.unsentByteCount
                note(.unreadAnswer)
                session?.reset(call.stream, .cancel)
            }
            call.unsentAtTick = call.unsentByteCount
        }
    }
}
