// In: connections as they are accepted and closed. Out: those that are one too many are closed before
// a byte of them is read. Any thread.

internal import Glibc
internal import NIOConcurrencyHelpers
internal import NIOCore
internal import RPC

/// How much of the server connections may take, as the operator sets it.
package struct ConnectionPolicy: Sendable {
    /// Of all peers. An idle one costs some 20 KiB here and a descriptor.
    package var connections = 4096
    /// Of one address, an IPv6 one's network of 64 bits: half of all, so that one peer cannot keep
    /// the others out, while many clients behind one proxy still have room.
    package var connectionsPerAddress = 2048
    /// Calls of one connection at the same time.
    package var streams = 250
    /// Calls that one connection begins in a second.
    package var streamsPerSecond = 10_000

    package init() {}
}

/// The connection is one too many.
struct NotAdmitted: Error {}

/// Counts connections, in all and by address.
final class Admission: Sendable {
    private struct Counts {
        var all = 0
        var ofAddress: [String: Int] = [:]
    }

    private let policy: ConnectionPolicy
    private let refusals: Refusals
    private let log: ConnectionLog
    private let counts = NIOLockedValueBox(Counts())

    init(_ policy: ConnectionPolicy, _ refusals: Refusals, _ log: ConnectionLog) {
        self.policy = policy
        self.refusals = refusals
        self.log = log
    }

    /// To be called when a channel was accepted; what it throws closes the channel.
    func admit(_ channel: any Channel) throws {
        let address = Self.name(channel.remoteAddress)
        if let refusal = enter(address) {
            refusals.add(refusal)
            log.refused(refusal, address)
            throw NotAdmitted()
        }
        channel.closeFuture.whenComplete { _ in self.leave(address) }
    }

    func enter(_ address: String) -> Refusal? {
        counts.withLockedValue { counts in
            if counts.all >= policy.connections { return .connections }
            let count = counts.ofAddress[address] ?? 0
            if count >= policy.connectionsPerAddress { return .connectionsPerAddress }
            counts.all += 1
            counts.ofAddress[address] = count + 1
            return nil
        }
    }

    func leave(_ address: String) {
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
