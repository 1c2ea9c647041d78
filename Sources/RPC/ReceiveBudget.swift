// In: how many bytes of complete messages each call holds, and how many of what handlers took from
// them is at work. Out: how much more a connection may be sent.
// On which thread: any; shared by all event loops.

import NIOCore
import Synchronization

/// What all connections of a server may hold together.
///
/// Two things are counted apart, since they end in different ways. What is *at work* gets done by
/// itself; while there is enough of it nobody is given more credit, since more would only wait
/// longer. What calls *hold* may be held for ever, by a peer that does not read its answers or whose
/// rate is used up; when there is too much of it, only connections that hold more than their share
/// get no more. So all together hold twice the limit at most.
package final class ReceiveBudget: Sendable {
    private let limitByteCount: Int
    private let held = Atomic<Int>(0)
    private let atWork = Atomic<Int>(0)
    private let inflated = Atomic<Int>(0)
    private let workLimit: Atomic<Int>
    private let holders = Atomic<Int>(0)
    /// When what was decompressed beyond the usual will have had its time, on NIO's clock.
    private let surplusEnd = Atomic<UInt64>(0)

    /// The least share of a connection: a few messages, so that it goes on.
    static let leastShareByteCount = 64 * 1024

    /// Text such as contacts becomes a quarter or a tenth when it is compressed. What becomes more
    /// than this is let in at a rate at which it takes a twentieth of the processors, as it costs up
    /// to 7 ms a MiB; a kilobyte on the wire may be a megabyte here.
    static let usualRatio = 16
    private static let surplusBytesPerSecond = 4 * 1024 * 1024 * System.coreCount
    /// So much time's worth may come at once: one of the largest messages for each processor.
    private static let surplusBurst = UInt64(TimeAmount.seconds(1).nanoseconds)

    /// - Parameter limitByteCount: Of what is held, and at first of what is at work.
    package init(limitByteCount: Int) {
        precondition(limitByteCount > 0, "a budget of nothing would stop every connection")
        self.limitByteCount = limitByteCount
        workLimit = Atomic(limitByteCount)
    }

    /// Bytes of whole messages that calls have and that are not done.
    package var heldByteCount: Int { held.load(ordering: .relaxed) }

    /// Bytes that handlers took from messages and work on.
    package var workByteCount: Int { atWork.load(ordering: .relaxed) }

    /// As much should be at work as keeps the workers busy. May change at any time.
    package var workLimitByteCount: Int {
        get { workLimit.load(ordering: .relaxed) }
        set {
            precondition(newValue > 0, "a budget of nothing would stop every connection")
            workLimit.store(newValue, ordering: .relaxed)
        }
    }

    /// A negative count gives back.
    func charge(_ byteCount: Int) {
        if byteCount != 0 { held.wrappingAdd(byteCount, ordering: .relaxed) }
    }

    /// Connections begin or cease to hold anything.
    func holdersChanged(by count: Int) { holders.wrappingAdd(count, ordering: .relaxed) }

    /// What a connection may hold however much the others do.
    private var shareByteCount: Int {
        max(Self.leastShareByteCount, limitByteCount / max(1, holders.load(ordering: .relaxed)))
    }

    /// Charges what a handler took from messages that it discharged. A negative count gives back.
    package func chargeWork(_ byteCount: Int) {
        if byteCount != 0 { atWork.wrappingAdd(byteCount, ordering: .relaxed) }
    }

    /// Charges what calls hold of messages that they decompressed. A negative count gives back.
    func chargeInflated(_ byteCount: Int) {
        if byteCount != 0 { inflated.wrappingAdd(byteCount, ordering: .relaxed) }
    }

    /// A message was decompressed to so many bytes more than `usualRatio` makes of it.
    func chargeSurplus(_ byteCount: Int, at now: NIODeadline) {
        guard byteCount > 0 else { return }
        let cost = UInt64(byteCount) * 1_000_000_000 / UInt64(Self.surplusBytesPerSecond)
        var end = surplusEnd.load(ordering: .relaxed)
        while true {
            let (isExchanged, seen) = surplusEnd.weakCompareExchange(
                expected: end,
                desired: min(
                    max(end, now.uptimeNanoseconds) + cost,
                    now.uptimeNanoseconds + 4 * Self.surplusBurst), ordering: .relaxed)
            if isExchanged { return }
            end = seen
        }
    }

    /// How long to wait until one more message may be decompressed, nil: it may now. Flow control
    /// bounds what is sent, of which a thousandfold may become; so what waits stays as it came while
    /// the server has enough to do.
    ///
    /// - Parameters:
    ///   - recheckDelay: For what has no known end.
    ///   - isTrusted: It is not to be expected that it will be more than the usual.
    func delayToInflate(
        at now: NIODeadline, recheckDelay: TimeAmount, isTrusted: Bool
    ) -> TimeAmount? {
        let end = surplusEnd.load(ordering: .relaxed)
        let (wait, isOver) = end.subtractingReportingOverflow(
            now.uptimeNanoseconds + Self.surplusBurst)
        if !isTrusted, !isOver, wait > 0 { return max(recheckDelay, .nanoseconds(Int64(wait))) }
        let isBusy =
            inflated.load(ordering: .relaxed) >= limitByteCount
            || workByteCount >= workLimitByteCount
        return isBusy ? recheckDelay : nil
    }

    /// How much more a connection may be sent that holds so many bytes itself.
    func room(whileHolding ownByteCount: Int) -> Int {
        if heldByteCount >= limitByteCount, ownByteCount > shareByteCount { return 0 }
        return max(0, workLimitByteCount - workByteCount)
    }
}
