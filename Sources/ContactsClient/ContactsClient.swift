// A connection to a contacts server, and the calls that one makes on it.
//
// In: values of the API. Out: answers, asynchronously. Any thread; the connection itself lives on
// an event loop of NIO's shared group.

@_exported public import Contacts
internal import HTTP2
internal import NIOConcurrencyHelpers
internal import NIOCore
internal import NIOPosix
internal import RPC
internal import TLS

/// A client of `contacts.v1.ContactService`: one HTTP/2 connection that carries many calls at once.
///
/// ```swift
/// let client = try await ContactsClient.connect(.init(host: "127.0.0.1", port: 50051))
/// let upsert = try await client.bulkUpsert()
/// async let sent: Void = {
///     try await upsert.send([Contact(email: "ann@example.com", name: "Ann")])
///     upsert.finish()
/// }()
/// for try await results in upsert.results {
///     for result in results { print(result.sequence, result.status, result.id) }
/// }
/// try await sent
/// print(try await upsert.summary())
/// await client.close()
/// ```
public final class ContactsClient: Sendable {
    /// Where the server is, and whose contacts are meant.
    public struct Configuration: Sendable {
        /// A name or an address.
        public var host: String
        /// The port.
        public var port: Int
        /// The workspace; `nil` is that of the key, else the workspace `default`.
        public var workspace: String?
        /// What the caller is known by, made with `contactsd key create`.
        public var key: String?
        /// How to speak TLS; `nil` is clear text.
        public var security: Security?

        /// Makes a configuration; what is left out is the server's own default.
        public init(
            host: String = "127.0.0.1", port: Int = 50051, workspace: String? = nil,
            key: String? = nil, security: Security? = nil
        ) {
            self.host = host
            self.port = port
            self.workspace = workspace
            self.key = key
            self.security = security
        }

        /// What every call says of its caller.
        var metadata: Headers {
            Headers(
                (workspace.map { [("contacts-workspace", $0)] } ?? [])
                    + (key.map { [("authorization", "Bearer \($0)")] } ?? []))
        }
    }

    /// How long a server may take to answer a new connection.
    private static let connectTimeout = TimeAmount.seconds(10)
    static let service = "/contacts.v1.ContactService/"

    private let channel: any Channel
    let connection: NIOLoopBound<ClientConnection>
    let metadata: Headers

    private init(
        channel: any Channel, connection: NIOLoopBound<ClientConnection>, metadata: Headers
    ) {
        self.channel = channel
        self.connection = connection
        self.metadata = metadata
    }

    /// Connects to a server.
    ///
    /// - Throws: `ClientError` with `UNAVAILABLE` when nothing listens there, or when what listens
    ///   does not speak HTTP/2 within ten seconds, or the two do not trust each other;
    ///   `SecurityFileError` when a file of its `security` is of no use.
    public static func connect(_ configuration: Configuration) async throws -> ContactsClient {
        let address = "\(configuration.host):\(configuration.port)"
        let attempts = ConnectionAttempts(try configuration.clientTLS(), limit: connectTimeout)
        let channel: any Channel
        do {
            channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connectTimeout(connectTimeout)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try attempts.begin(on: channel, authority: address)
                    }
                }
                .connect(host: configuration.host, port: configuration.port).get()
        } catch {
            throw ClientError.unavailable("no connection to \(address): \(error)")
        }
        guard let attempt = attempts[channel] else {
            throw ClientError.unavailable("no connection to \(address)")
        }
        let timeout = channel.eventLoop.scheduleTask(in: connectTimeout) {
            attempt.ready.fail(ChannelError.connectTimeout(connectTimeout))
        }
        do {
            try await attempt.ready.futureResult.get()
        } catch {
            channel.close(promise: nil)
            throw ClientError.noServer(address, error, isSecure: configuration.security != nil)
        }
        timeout.cancel()
        return ContactsClient(
            channel: channel, connection: attempt.connection, metadata: configuration.metadata)
    }

    deinit {
        channel.close(promise: nil)
    }

    /// Begins a bulk upsert: any number of contacts, a result for each.
    ///
    /// - Throws: `ClientError` when the connection is gone. What the server has against the options
    ///   is thrown by the stream.
    public func bulkUpsert(_ options: UpsertOptions = UpsertOptions()) async throws
        -> BulkUpsertStream
    {
        let connection = connection
        let metadata = metadata
        return try await onLoop {
            let exchange = BulkUpsertExchange()
            let call = try connection.value.start(
                Self.service + "BulkUpsert", metadata: metadata, handler: exchange)
            exchange.begin(call, options)
            return BulkUpsertStream(
                state: exchange.state, exchange: exchange,
                eventLoop: connection.value.eventLoop)
        }
    }

    /// Upserts up to 10,000 contacts in one call. It is not atomic: each contact has its result.
    ///
    /// - Returns: A result for each contact in order (fewer if the options say so), and the counts.
    /// - Throws: `ClientError`.
    public func upsertContacts(
        _ contacts: [Contact], options: UpsertOptions = UpsertOptions()
    ) async throws -> (results: [ContactResult], summary: UpsertSummary) {
        let response = try await unary(
            "UpsertContacts", RequestEncoder.upsertContacts(contacts, options))
        return try decoding(response) { try ResponseDecoder().upsertContacts($0) }
    }

    /// Looks contacts up, up to 10,000 at once.
    ///
    /// - Returns: A record for each key in order; `nil` where nobody has the key.
    /// - Throws: `ClientError`.
    public func getContacts(_ keys: [ContactKey]) async throws -> [ContactRecord?] {
        let response = try await unary("GetContacts", RequestEncoder.getContacts(keys))
        return try decoding(response) { try ResponseDecoder().getContacts($0) }
    }

    /// Ends the connection once its calls have ended.
    public func close() async {
        let connection = connection
        channel.eventLoop.execute { connection.value.close() }
        try? await channel.closeFuture.get()
    }

    func unary(_ method: String, _ message: [UInt8]) async throws -> ByteBuffer {
        try await unary(path: Self.service + method, message)
    }

    func unary(path: String, _ message: [UInt8]) async throws -> ByteBuffer {
        let connection = connection
        let metadata = metadata
        let promise = channel.eventLoop.makePromise(of: ByteBuffer.self)
        do {
            try await onLoop {
                let call = try connection.value.start(
                    path, metadata: metadata, handler: UnaryExchange(promise))
                call.send(maxByteCount: message.count) { $0.writeBytes(message) }
                call.halfClose()
            }
        } catch {
            promise.fail(error)
        }
        return try await promise.futureResult.get()
    }

    func decoding<Value>(
        _ response: ByteBuffer, _ decode: (UnsafeRawBufferPointer) throws -> Value
    ) throws(ClientError) -> Value {
        do {
            return try response.withUnsafeReadableBytes(decode)
        } catch {
            throw ClientError.malformed
        }
    }

    /// Runs something on the connection's loop; its status becomes the caller's error.
    func onLoop<Value: Sendable>(
        _ body: @escaping @Sendable () throws -> Value
    ) async throws -> Value {
        do {
            return try await channel.eventLoop.submit(body).get()
        } catch let status as RPCStatus {
            throw ClientError(status)
        } catch {
            throw ClientError.unavailable("the connection is closed")
        }
    }
}

/// The connections of one `connect`: a name may have several addresses, each tried on a channel of
/// its own, of which one is chosen.
private final class ConnectionAttempts: Sendable {
    struct Attempt: Sendable {
        let connection: NIOLoopBound<ClientConnection>
        /// Succeeds when the server's settings have come.
        let ready: EventLoopPromise<Void>
    }

    private let attempts = NIOLockedValueBox<[ObjectIdentifier: Attempt]>([:])
    private let tls: ClientTLS?
    private let limit: TimeAmount

    init(_ tls: ClientTLS?, limit: TimeAmount) {
        self.tls = tls
        self.limit = limit
    }

    subscript(channel: any Channel) -> Attempt? {
        attempts.withLockedValue { $0[ObjectIdentifier(channel)] }
    }

    func begin(on channel: any Channel, authority: String) throws {
        let ready = channel.eventLoop.makePromise(of: Void.self)
        // A channel that never connects is never opened, so its end is not told by the connection.
        channel.closeFuture.whenComplete { _ in ready.fail(ChannelError.alreadyClosed) }
        var options = ClientOptions()
        if let tls {
            options.scheme = "https"
            try tls.connect(channel, limit: limit) { ready.fail($0) }
        }
        let connection = try ClientConnection.install(
            on: channel, authority: authority, options: options
        ) { change in
            if change == .ready { ready.succeed() }
        }
        let attempt = Attempt(
            connection: NIOLoopBound(connection, eventLoop: channel.eventLoop), ready: ready)
        attempts.withLockedValue { $0[ObjectIdentifier(channel)] = attempt }
    }
}

/// One request message, one response message. Event loop thread.
private final class UnaryExchange: ClientCallHandler {
    private let promise: EventLoopPromise<ByteBuffer>
    private var response: ByteBuffer?

    init(_ promise: EventLoopPromise<ByteBuffer>) {
        self.promise = promise
    }

    func started(_ call: ClientCall, metadata: Headers) {}

    func messagesAvailable(_ call: ClientCall) {
        while let message = call.nextMessage() {
            response = message.bytes
            call.returnCredit(message.creditByteCount)
        }
    }

    func writable(_ call: ClientCall) {}

    func ended(_ call: ClientCall, _ status: RPCStatus) {
        if status.code != .ok {
            promise.fail(ClientError(status))
        } else if let response {
            promise.succeed(response)
        } else {
            promise.fail(ClientError(RPCStatus(.internal, "the server sent no message")))
        }
    }
}
