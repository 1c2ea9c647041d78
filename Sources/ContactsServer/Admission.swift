// In: connections as they are accepted, ended for what they did, and closed. Out: those that are one too
// many are closed before a byte of them is read; those of an address that does damage are read later.
// Any thread.

internal import Glibc
internal import NIOConcurrencyHelpers
internal import NIOCore
internal import RPC

/// The connection is one too many.
struct NotAdmitted: Error {}

/// Counts connections, in all and by address.
final class Admission: Sendable {
    /// Connections of an address that end for what they did: so many in a period are an accident.
    private static let faultsPerPeriod = 10
    private static let faultPeriod = TimeAmount.seconds(5)
    /// After more of them its new ones are read so much later. A flood goes on as fast as it can connect
    /// again, and each connection of it costs milliseconds; others of that address lose this once.
    private static let faultPause = TimeAmount.milliseconds(250)

    private struct Counts {
        var all = 0
        var ofAddress: [String: Int] = [:]
        /// Ended for what they did, in the period that began then and in the one before.
        var faultsBegin = NIODeadline.uptimeNanoseconds(0)
        var faults: [String: Int] = [:]
        var lastFaults: [String: Int] = [:]
        /// Opened in the second that began then.
        var second = NIODeadline.uptimeNanoseconds(0)
        var opened = 0
        var openedByAddress: [String: Int] = [:]

        /// Begins another second and another period, if it is time.
        mutating func turn(at now: NIODeadline) {
            if now - second >= .seconds(1) {
                second = now
                opened = 0
                openedByAddress.removeAll(keepingCapacity: true)
            }
            if now - faultsBegin >= Admission.faultPeriod {
                let isNext = now - faultsBegin < Admission.faultPeriod + Admission.faultPeriod
                lastFaults = isNext ? faults : [:]
                faults = [:]
                faultsBegin = now
            }
        }
    }

    private let policy: ServerPolicy
    private let refusals: Refusals
    private let log: ConnectionLog
    private let counts = NIOLockedValueBox(Counts())

    init(_ policy: ServerPolicy, _ refusals: Refusals, _ log: ConnectionLog) {
        self.policy = policy
        self.refusals = refusals
        self.log = log
    }

    /// To be called when a channel was accepted; what it throws closes the channel.
    func admit(_ channel: any Channel) throws {
        let address = Self.name(channel.remoteAddress)
        if let refusal = enter(address, at: channel.eventLoop.now) {
            refusals.add(refusal)
            log.refused(refusal, address)
            throw NotAdmitted()
        }
        channel.closeFuture.whenComplete { _ in self.leave(address) }
        if doesDamage(address) { try Self.readLater(channel) }
    }

    /// A connection of that address was ended for what it did.
    func faulted(_ address: SocketAddress?) {
        let now = NIODeadline.now()
        counts.withLockedValue { counts in
            counts.turn(at: now)
            counts.faults[Self.name(address), default: 0] += 1
        }
    }

    private func doesDamage(_ address: String) -> Bool {
        counts.withLockedValue { counts in
            max(counts.faults[address] ?? 0, counts.lastFaults[address] ?? 0)
                >= Self.faultsPerPeriod
        }
    }

    /// Meanwhile what it sends stays in the kernel. A channel that was closed has no options.
    private static func readLater(_ channel: any Channel) throws {
        let options = NIOLoopBound(channel.syncOptions, eventLoop: channel.eventLoop)
        try options.value?.setOption(.autoRead, value: false)
        channel.eventLoop.scheduleTask(in: faultPause) {
            try? options.value?.setOption(.autoRead, value: true)
        }
    }

    private func enter(_ address: String, at now: NIODeadline) -> Refusal? {
        counts.withLockedValue { counts in
            if Self.isTooFast(&counts, address, at: now, policy) { return .connectionRate }
            if counts.all >= policy.connections { return .connections }
            let count = counts.ofAddress[address] ?? 0
            if count >= policy.connectionsPerAddress { return .connectionsPerAddress }
            counts.all += 1
            counts.ofAddress[address] = count + 1
            return nil
        }
    }

    private static func isTooFast(
        _ counts: inout Counts, _ address: String, at now: NIODeadline, _ policy: ServerPolicy
    ) -> Bool {
        counts.turn(at: now)
        // An address that is over its part does not use up that of others.
        let opened = counts.openedByAddress[address] ?? 0
        guard opened < max(1, policy.connectionsPerSecond / 2) else { return true }
        guard counts.opened < policy.connectionsPerSecond else { return true }
        counts.openedByAddress[address] = opened + 1
        counts.opened += 1
        return false
    }

    private func leave(_ address: String) {
        counts.withLockedValue { counts in
            counts.all -= 1
            let count = counts.ofAddress[address] ?? 0
            counts.ofAddress[address] = count > 1 ? count - 1 : nil
        }
    }

    /// What counts as one address. A host with IPv6 has a whole network of 64 bits to choose from.
    static func name(_ address: SocketAddress?) -> String {
        guard let text = address?.ipAddress else { return "local" }
        guard text.contains(":") else { return text }
        var bytes = [UInt8](repeating: 0, count: 16)
        // The scope of a link-local address is not part of it.
        guard inet_pton(AF_INET6, String(text.prefix { $0 != "%" }), &bytes) == 1 else {
            return text
        }
        // An IPv4 address that came to a socket for both (RFC 4291 section 2.5.5.2).
        if bytes.prefix(12) == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff] {
            return bytes.suffix(4).map { "\($0)" }.joined(separator: ".")
        }
        return bytes.prefix(8).map { String($0, radix: 16) }.joined(separator: ":") + "/64"
    }
}
