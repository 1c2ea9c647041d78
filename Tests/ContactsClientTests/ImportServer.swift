// In: how each call shall end. Out: a gRPC server on the loopback that keeps one import as the
// contract says, commits all that comes, and breaks off as it was told; and what it has kept.
// Bound to the loop of each call; the import is for any thread.

import HTTP2
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import RPC

/// How a call ends that shall not end well.
enum Break: Sendable {
    /// The connection is closed.
    case connection
    /// The connection is drained: GOAWAY, and UNAVAILABLE for the call.
    case goAway
    case status(RPCStatus)
}

/// The import as the server has it, and what happened to it.
final class KeptImport: Sendable {
    struct Fields {
        /// The email of each contact.
        var contacts: [String] = []
        /// How many results each call sends and how it then ends; calls after these end well.
        var breaks: [(results: Int, then: Break)] = []
        var calls = 0
        /// The `first_sequence` of each call's first message with contacts.
        var firstNumbers: [Int] = []
        var ids: Set<String> = []
        /// Starts tell this instead of what is kept.
        var claims: Int?
    }

    let fields = NIOLockedValueBox(Fields())
}

struct ImportServer {
    let channel: any Channel
    let kept: KeptImport

    var port: Int { channel.localAddress?.port ?? 0 }

    static func start(_ kept: KeptImport, port: Int = 0) async throws -> ImportServer {
        let options = ServerOptions(budget: ReceiveBudget(limitByteCount: 64 << 20))
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(ChannelOptions.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { child in
                child.eventLoop.makeCompletedFuture {
                    try ServerConnection.serve(
                        child, router: ImportRouter(kept: kept, channel: child), options: options)
                }
            }
            .bind(host: "127.0.0.1", port: port).get()
        return ImportServer(channel: channel, kept: kept)
    }
}

private struct ImportRouter: CallRouter {
    let kept: KeptImport
    let channel: any Channel

    func handler(for head: RequestHead, call: ServerCall) -> (any CallHandler)? {
        ImportHandler(kept, channel)
    }
}

private final class ImportHandler: CallHandler {
    private let kept: KeptImport
    private let channel: any Channel
    private let ending: (results: Int, then: Break)?
    private var sentCount = 0
    private var next = 0
    private var isBroken = false

    init(_ kept: KeptImport, _ channel: any Channel) {
        self.kept = kept
        self.channel = channel
        ending = kept.fields.withLockedValue { fields in
            defer { fields.calls += 1 }
            return fields.calls < fields.breaks.count ? fields.breaks[fields.calls] : nil
        }
    }

    func messagesAvailable(_ call: ServerCall) {
        while !isBroken, let message = call.nextMessage() {
            receive(ImportRequest(Array(message.bytes.readableBytesView)), call)
            call.returnCredit(message.creditByteCount)
        }
        guard call.isRequestComplete, !isBroken else { return }
        send(Wire.field(3, []), call)
        call.finish(.ok)
    }

    private func receive(_ request: ImportRequest, _ call: ServerCall) {
        if let id = request.importID {
            let through = kept.fields.withLockedValue { fields in
                fields.ids.insert(id)
                return fields.claims ?? fields.contacts.count
            }
            send(Wire.started(id, through), call)
        }
        if !request.emails.isEmpty, next == 0 {
            next = request.firstSequence
            kept.fields.withLockedValue { $0.firstNumbers.append(next) }
        }
        var answers: [(Int, Int)] = []
        for email in request.emails {
            answers.append((next, keep(email)))
            next += 1
        }
        let room = (ending?.results ?? .max) - sentCount
        let sent = answers.prefix(room)
        sentCount += sent.count
        if !sent.isEmpty { send(Wire.results(Array(sent)), call) }
        if let ending, sentCount >= ending.results { breakOff(ending.then, call) }
    }

    /// The status of the contact.
    private func keep(_ email: String) -> Int {
        kept.fields.withLockedValue { fields in
            guard next == fields.contacts.count + 1 else {
                return next > 0 && next <= fields.contacts.count
                    && fields.contacts[next - 1] == email ? 5 : 99
            }
            fields.contacts.append(email)
            return 1
        }
    }

    private func breakOff(_ ending: Break, _ call: ServerCall) {
        isBroken = true
        switch ending {
        case .status(let status): call.finish(status)
        case .connection:
            let channel = channel
            // After what was sent.
            call.eventLoop.execute { channel.close(promise: nil) }
        case .goAway:
            channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        }
    }

    private func send(_ bytes: [UInt8], _ call: ServerCall) {
        call.send(maxByteCount: bytes.count) { $0.writeBytes(bytes) }
    }

    func writable(_ call: ServerCall) {}

    func ended(_ call: ServerCall, by cause: CallEnd) {}

    func draining(_ call: ServerCall) { call.finish(RPCStatus(.unavailable, "going away")) }
}

/// What the fake needs of a `BulkUpsertRequest`.
private struct ImportRequest {
    /// Set when the message has options.
    var importID: String?
    var firstSequence = 0
    var emails: [String] = []

    init(_ bytes: [UInt8]) {
        var reader = Wire.Reader(bytes)
        while let (number, value, body) = reader.next() {
            switch number {
            case 1: importID = Self.text(body, 1) ?? ""
            case 2: firstSequence = value
            case 3: emails.append(Self.text(body, 1) ?? "")
            default: break
            }
        }
    }

    private static func text(_ bytes: [UInt8], _ wanted: Int) -> String? {
        var reader = Wire.Reader(bytes)
        while let (number, _, body) = reader.next() {
            if number == wanted { return String(decoding: body, as: UTF8.self) }
        }
        return nil
    }
}

/// Protobuf by hand.
private enum Wire {
    static func started(_ id: String, _ through: Int) -> [UInt8] {
        let limits = field(1, 4 << 20) + field(2, 10_000) + field(6, 60_000)
        return field(1, field(1, Array(id.utf8)) + field(3, through) + field(5, limits))
    }

    static func results(_ answers: [(sequence: Int, status: Int)]) -> [UInt8] {
        let list = answers.flatMap { field(1, field(1, $0.sequence) + field(2, $0.status)) }
        return field(2, list + field(2, answers.last?.sequence ?? 0))
    }

    static func field(_ number: UInt8, _ bytes: [UInt8]) -> [UInt8] {
        [number << 3 | 2] + varint(bytes.count) + bytes
    }

    static func field(_ number: UInt8, _ value: Int) -> [UInt8] { [number << 3] + varint(value) }

    static func varint(_ value: Int) -> [UInt8] {
        value < 0x80 ? [UInt8(value)] : [UInt8(value & 0x7F) | 0x80] + varint(value >> 7)
    }

    struct Reader {
        private var rest: ArraySlice<UInt8>

        init(_ bytes: [UInt8]) { rest = bytes[...] }

        /// The next field: its number, and its value or its bytes.
        mutating func next() -> (number: Int, value: Int, body: [UInt8])? {
            guard !rest.isEmpty else { return nil }
            let tag = varint()
            let value = varint()
            guard tag & 7 == 2 else { return (tag >> 3, value, []) }
            defer { rest = rest.dropFirst(value) }
            return (tag >> 3, value, Array(rest.prefix(value)))
        }

        private mutating func varint() -> Int {
            var value = 0
            var shift = 0
            while let byte = rest.popFirst() {
                value |= Int(byte & 0x7F) << shift
                if byte < 0x80 { break }
                shift += 7
            }
            return value
        }
    }
}
