// In: what a client sends on a connection: bytes as they are when they begin with HTTP/2's preface,
// else steps, of which `HTTP2Steps` makes frames, pauses and drains. Out: nothing; the server must
// answer in whole frames, and when the connection is gone nothing of it may be left.

import HTTP2
import NIOCore
import NIOEmbedded
import RPC

enum HTTP2Fuzz {
    /// What a peer may make the server keep and send for a few kilobytes of input.
    private static let answerLimit = 64 << 20

    static func check(_ bytes: [UInt8]) {
        do {
            try serve(bytes)
        } catch {
            demand(false, "\(error)")
        }
    }

    private static func serve(_ bytes: [UInt8]) throws {
        let options = ServerOptions(budget: ReceiveBudget(limitByteCount: 1 << 20))
        let channel = EmbeddedChannel()
        try ServerConnection.serve(channel, router: FuzzRouter(), options: options)
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        var peer = Peer(channel: channel)
        if bytes.starts(with: HTTP2Steps.preface.prefix(3)) {
            var cuts = Cuts(bytes)
            for chunk in cuts.random(bytes) { try peer.send(chunk) }
        } else {
            var steps = HTTP2Steps(bytes)
            while let step = steps.next() { try peer.take(step) }
        }
        try peer.close()
        demand(options.counters.openCallCount == 0, "calls are left")
        demand(options.counters.openConnectionCount == 0, "the connection is left")
        demand(options.budget.heldByteCount == 0, "\(options.budget.heldByteCount) bytes are left")
    }

    private struct Peer {
        let channel: EmbeddedChannel
        var answer = FrameWalk()
        var answerByteCount = 0

        mutating func take(_ step: HTTP2Steps.Step) throws {
            switch step {
            case .bytes(let bytes): try send(bytes[...])
            case .pause(let time):
                channel.embeddedEventLoop.advanceTime(by: time)
            case .drain:
                channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
            }
            try read()
        }

        mutating func send(_ bytes: ArraySlice<UInt8>) throws {
            guard channel.isActive else { return }
            try channel.writeInbound(ByteBuffer(bytes: bytes))
            channel.embeddedEventLoop.run()
            try read()
        }

        mutating func read() throws {
            while let output = try channel.readOutbound(as: ByteBuffer.self) {
                answerByteCount += output.readableBytes
                demand(answerByteCount <= answerLimit, "the answer has \(answerByteCount) bytes")
                answer.take(output.readableBytesView)
            }
        }

        mutating func close() throws {
            channel.embeddedEventLoop.run()
            try read()
            _ = try channel.finish(acceptAlreadyClosed: true)
            // What was scheduled finds nothing left to do.
            channel.embeddedEventLoop.advanceTime(by: .hours(1))
        }
    }
}

/// Walks over frames without reading them (RFC 9113 section 4.1).
struct FrameWalk {
    private var head: [UInt8] = []
    private var restOfPayload = 0

    mutating func take(_ bytes: some Collection<UInt8>) {
        var rest = Array(bytes)[...]
        while !rest.isEmpty {
            let skipped = min(rest.count, restOfPayload)
            rest = rest.dropFirst(skipped)
            restOfPayload -= skipped
            guard restOfPayload == 0, let byte = rest.popFirst() else { continue }
            head.append(byte)
            guard head.count == 9 else { continue }
            restOfPayload = Int(head[0]) << 16 | Int(head[1]) << 8 | Int(head[2])
            demand(restOfPayload <= 16384, "a frame of \(restOfPayload) bytes")
            demand(head[3] <= 9, "a frame of the unknown type \(head[3])")
            head = []
        }
    }
}

/// Calls that use all that a handler may do: `E` echoes, `H` holds messages until the next ones
/// come, `S` leaves them unread, `F` sends more than a window holds, all others are unknown.
private struct FuzzRouter: CallRouter {
    func handler(for head: RequestHead, call: ServerCall) -> (any CallHandler)? {
        _ = head.metadataValues("x")
        _ = head.binaryMetadata("x-bin")
        switch head.path {
        case "/E", "/H", "/S", "/F": return FuzzHandler(head.path)
        case "/X":
            call.finish(RPCStatus(.notFound, "no: 100 % \u{fc}ber\n", details: [1, 2, 255]))
            return nil
        default: return nil
        }
    }
}

private final class FuzzHandler: CallHandler {
    private let path: String
    private var heldByteCount = 0
    private static let unsentLimit = 128 * 1024

    init(_ path: String) { self.path = path }

    func messagesAvailable(_ call: ServerCall) {
        let released = heldByteCount
        heldByteCount = 0
        switch path {
        case "/E": echo(call)
        case "/H":
            while let message = call.nextMessage() { heldByteCount += message.creditByteCount }
            call.discharge(heldByteCount / 2)
        case "/F":
            while !call.isFinished, call.unsentByteCount < Self.unsentLimit {
                call.send(maxByteCount: 65536) { $0.writeRepeatingByte(7, count: 65536) }
            }
        default: break
        }
        call.returnCredit(released)
        if path != "/S", path != "/F", call.isRequestComplete {
            call.returnCredit(heldByteCount)
            heldByteCount = 0
            call.finish(.ok)
        }
    }

    private func echo(_ call: ServerCall) {
        while call.unsentByteCount < Self.unsentLimit, let message = call.nextMessage() {
            call.send(maxByteCount: message.bytes.readableBytes) {
                $0.writeImmutableBuffer(message.bytes)
            }
            call.returnCredit(message.creditByteCount)
        }
    }

    func writable(_ call: ServerCall) { if path == "/E" { messagesAvailable(call) } }

    func ended(_ call: ServerCall, by cause: CallEnd) {
        call.returnCredit(heldByteCount)
        heldByteCount = 0
    }

    func draining(_ call: ServerCall) {
        if path != "/H" { call.finish(RPCStatus(.unavailable, "the server is going away")) }
    }
}
