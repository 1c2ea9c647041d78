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
    /// A connection that was ended for what it did costs milliseconds; one that came and went in less
    /// than `briefTime`, a tenth of one.
    private static let damageOfFault = 10
    private static let damageOfBriefOne = 1
    private static let briefTime = TimeAmount.seconds(1)
    /// So much by one address in a period and the one before is an accident, or a script that calls again and again.
    private static let damagePerPeriod = 100
    private static let damagePeriod = TimeAmount.seconds(5)
    /// After that its new ones are looked at so much later: a flood goes on as fast as it can connect
    /// again. Others of that address lose this once.
    private static let damagePause = TimeAmount.milliseconds(250)

    private struct Counts {
        var all = 0
        var ofAddress: [String: Int] = [:]
        /// In the period that began then, and in the one before.
        var damageBegin = NIODeadline.uptimeNanoseconds(0)
        var damage: [String: Int] = [:]
        var lastDamage: [String: Int] = [:]
        /// Opened in the second that began then.
        var second = NIODeadline.uptimeNanoseconds(0)
        var openedByAddress: [String: Int] = [:]

        /// Begins another second and another period, if it is time.
        mutating func turn(at now: NIODeadline) {
            if now - second >= .seconds(1) {
                second = now
                openedByAddress.removeAll(keepingCapacity: true)
            }
            if now - damageBegin >= Admission.damagePeriod {
                let isNext = now - damageBegin < Admission.damagePeriod + Admission.damagePeriod
                lastDamage = isNext ? damage : [:]
                damage = [:]
                damageBegin = now
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

    /// Whether an address may open another connection in this second.
    func mayCome(_ remote: SocketAddress?, at now: NIODeadline) -> Bool {
        let address = Self.name(remote)
        let isTooFast = counts.withLockedValue { counts in
            counts.turn(at: now)
            let opened = counts.openedByAddress[address] ?? 0
            guard opened < max(1, policy.connectionsPerSecond / 2) else { return true }
            counts.openedByAddress[address] = opened + 1
            return false
        }
        guard isTooFast else { return true }
        refusals.add(.connectionRate)
        log.refused(.connectionRate, address)
        return false
    }

    /// To be called when a channel was accepted; what it throws closes the channel.
    ///
    /// - Parameter serve: Sets the channel up: at once, or later for an address that does damage.
    func admit(_ channel: any Channel, serve: @escaping () throws -> Void) throws {
        let address = Self.name(channel.remoteAddress)
        let now = channel.eventLoop.now
        if let refusal = enter(address, at: now) {
            refusals.add(refusal)
            log.refused(refusal, address)
            throw NotAdmitted()
        }
        channel.closeFuture.whenComplete { _ in self.leave(address, after: .now() - now) }
        guard doesDamage(address) else { return try serve() }
        try Self.start(channel, serve)
    }

    /// A connection of that address was ended for what it did.
    func faulted(_ address: SocketAddress?) {
        counts.withLockedValue { counts in
            counts.turn(at: .now())
            counts.damage[Self.name(address), default: 0] += Self.damageOfFault
        }
    }

    private func doesDamage(_ address: String) -> Bool {
        counts.withLockedValue { counts in
            (counts.damage[address] ?? 0) + (counts.lastDamage[address] ?? 0)
                >= Self.damagePerPeriod
        }
    }

    /// Later: until then what it sends stays in the kernel.
    private static func start(
        _ channel: any Channel, _ serve: @escaping () throws -> Void
    ) throws {
        try channel.syncOptions?.setOption(.autoRead, value: false)
        channel.eventLoop.assumeIsolated().scheduleTask(in: damagePause) {
            do {
                // A channel that was closed has no options.
                guard channel.isActive else { return }
                try serve()
                try channel.syncOptions?.setOption(.autoRead, value: true)
            } catch {
                channel.close(promise: nil)
            }
        }
    }

    private func enter(_ address: String, at now: NIODeadline) -> Refusal? {
        counts.withLockedValue { counts in
            counts.turn(at: now)
            if counts.all >= policy.connections { return .connections }
            let count = counts.ofAddress[address] ?? 0
            if count >= policy.connectionsPerAddress { return .connectionsPerAddress }
            counts.all += 1
            counts.ofAddress[address] = count + 1
            return nil
        }
    }

    private func leave(_ address: String, after time: TimeAmount) {
        counts.withLockedValue { counts in
            if time < Self.briefTime {
                counts.turn(at: .now())
                counts.damage[address, default: 0] += Self.damageOfBriefOne
            }
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
