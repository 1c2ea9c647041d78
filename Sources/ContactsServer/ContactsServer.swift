// The server: a listening socket, its connections, and how they end.
//
// In: an engine and an address. Out: calls answered until `drain`. Any thread; `drain` blocks.

package import Access
package import Ingest
package import Logging
internal import Glibc
internal import HTTP2
internal import NIOConcurrencyHelpers
internal import NIOCore
internal import NIOPosix
internal import RPC
package import TLS

package final class ContactsServer: Sendable {
    /// How long calls may take to end once the server stops. A transaction takes far less; a peer
    /// that does not read its results is cut off after it.
    private static let drainLimit = TimeAmount.seconds(5)

    private let group: MultiThreadedEventLoopGroup
    private let listener: any Channel
    private let channels: OpenChannels
    private let logger: Logger
    let status: ServerStatus

    /// Where it listens; the port is the real one when 0 was asked for.
    package let address: String

    /// Starts to listen.
    ///
    /// - Parameters:
    ///   - certificates: `nil`: clear text.
    ///   - keys: What callers may present; `nil`: no keys are known, nor demanded.
    /// - Throws: `IOError` when the address cannot be bound.
    package init(
        host: String, port: Int, certificates: ServerCertificates? = nil, engine: IngestEngine,
        keys: KeyTable? = nil, life: ConnectionLife = ConnectionLife(),
        policy: ServerPolicy = ServerPolicy(), logger: Logger
    ) throws {
        group = MultiThreadedEventLoopGroup(numberOfThreads: System.coreCount)
        let channels = OpenChannels()
        let budget = ReceiveBudget(limitByteCount: policy.heldBytes)
        let router = Router(
            engine: engine, authentication: Authentication(keys: keys), budget: budget,
            policy: policy)
        var options = ServerOptions(budget: budget)
        options.limits = policy.connectionLimits
        options.maxMessageByteCount = policy.messageBytes
        options.unanswered = SharedLimit(
            policy.unansweredContactsOfAll,
            leastShare: ServerLimits.leastUnacknowledgedContacts)
        options.unsent = SharedLimit(
            policy.unreadBytes, leastShare: ServerLimits.leastUnsentBytes)
        options.openCalls = SharedLimit(
            policy.streamsOfAll, leastShare: ServerLimits.leastStreams)
        options.age = life.limits
        options.streamsPerSecond = policy.streamsPerSecond
        options.speaksFirst = certificates != nil
        let log = ConnectionLog(logger)
        // Another one, so that refused calls do not take the lines of connections.
        options.callRefused = ConnectionLog(logger).refusedCall
        let admission = Admission(policy, options.counters.refusals, log)
        options.connectionFailed = { fault, address, detail in
            log.ended(fault, address, detail)
            // Many clients behind one address may vanish together.
            if fault != .silence { admission.faulted(address) }
        }
        let serverOptions = options
        do {
            listener = try ServerBootstrap(group: group)
                .serverChannelOption(.backlog, value: 1024)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                // Without a free descriptor it waits a second instead of trying again and again.
                .serverChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandlers(
                            AcceptBackoffHandler(),
                            AcceptPace(admission, connectionsPerSecond: policy.connectionsPerSecond)
                        )
                    }
                }
                .childChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try admission.admit(channel) {
                            channels.add(channel)
                            try Self.secure(channel, by: certificates, within: policy.handshake) {
                                identities in
                                try ServerConnection.serve(
                                    channel, router: router, options: serverOptions,
                                    peerIdentities: identities)
                            }
                        }
                    }
                }
                .bind(host: host, port: port).wait()
        } catch {
            try? group.syncShutdownGracefully()
            throw error
        }
        self.channels = channels
        self.logger = logger
        FreeMemory.watch(options.counters, budget, on: group.next())
        status = ServerStatus(
            counters: options.counters, budget: budget, unanswered: options.unanswered,
            unsent: options.unsent, engine: engine, certificates: certificates)
        address = "\(host):\(listener.localAddress?.port ?? port)"
    }

    /// What is above TLS, or the socket itself, comes once it is known who is there.
    private static func secure(
        _ channel: any Channel, by certificates: ServerCertificates?, within limit: Duration,
        _ serve: @escaping ([String]) throws -> Void
    ) throws {
        guard let certificates else { return try serve([]) }
        try certificates.serve(channel, limit: TimeAmount(limit), whenReady: serve)
    }

    /// Ends in order: no new connection, no new call; what is taken is committed and answered, then
    /// calls end with UNAVAILABLE and connections close. Lanes may still deliver afterwards.
    package func drain() {
        try? listener.close().wait()
        channels.quiesce()
        let deadline = NIODeadline.now() + Self.drainLimit
        while channels.count > 0, NIODeadline.now() < deadline { usleep(10_000) }
        if channels.count > 0 {
            logger.warning(
                "connections cut off that did not end", metadata: ["count": "\(channels.count)"])
            channels.cutOff()
        }
    }

    /// Ends the event loops. The engine has to have stopped before.
    package func shutDown() {
        try? group.syncShutdownGracefully()
    }
}

/// The connections that are open.
private final class OpenChannels: Sendable {
    private let channels = NIOLockedValueBox<[ObjectIdentifier: any Channel]>([:])

    var count: Int { channels.withLockedValue { $0.count } }

    func add(_ channel: any Channel) {
        let id = ObjectIdentifier(channel)
        channels.withLockedValue { $0[id] = channel }
        channel.closeFuture.whenComplete { _ in
            self.channels.withLockedValue { $0[id] = nil }
        }
    }

    func cutOff() {
        for channel in channels.withLockedValue({ Array($0.values) }) {
            channel.close(promise: nil)
        }
    }

    /// Asks every connection to end once its calls have.
    func quiesce() {
        for channel in channels.withLockedValue({ Array($0.values) }) {
            channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        }
    }
}
