// What one DATA frame of one small message costs between the socket's bytes and the handler.
// The time is printed, not judged: run it with `swift test -c release --filter CostTests`.

import HTTP2
import NIOCore
import NIOEmbedded
import RPC
import Testing

private final class Sinkhole: CallHandler {
    private(set) var messageCount = 0

    func messagesAvailable(_ call: ServerCall) {
        var creditByteCount = 0
        while let message = call.nextMessage() {
            messageCount += 1
            creditByteCount += message.creditByteCount
        }
        call.returnCredit(creditByteCount)
    }
    func writable(_ call: ServerCall) {}
    func ended(_ call: ServerCall, by cause: CallEnd) {}
    func draining(_ call: ServerCall) {}
}

private struct SinkholeRouter: CallRouter {
    let handler: NIOLoopBound<Sinkhole>
    func handler(for head: RequestHead, call: ServerCall) -> (any CallHandler)? { handler.value }
}

@Suite(.serialized)
struct CostTests {
    @Test
    func `A frame of 165 bytes reaches the handler`() throws {
        let channel = EmbeddedChannel()
        let sinkhole = Sinkhole()
        let router = SinkholeRouter(
            handler: NIOLoopBound(sinkhole, eventLoop: channel.eventLoop))
        try ServerConnection.serve(
            channel, router: router,
            options: ServerOptions(budget: ReceiveBudget(limitByteCount: 1 << 30)))
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()

        let client = try Session(role: .client, limits: ConnectionLimits())
        let stream = try openStream(client, channel)
        var frame = ByteBuffer(bytes: [0, 0, 156, 0, 0])
        frame.writeInteger(stream)
        frame.writeBytes([0, 0, 0, 0, 151])
        frame.writeRepeatingByte(7, count: 151)
        let framesPerRead = 64 * 1024 / frame.readableBytes
        var read = ByteBuffer()
        for _ in 0..<framesPerRead { read.writeImmutableBuffer(frame) }

        #if DEBUG
            let readCount = 50
        #else
            let readCount = 20_000
        #endif
        let clock = ContinuousClock()
        let time = try clock.measure {
            for _ in 0..<readCount {
                try channel.writeInbound(read)
                while try channel.readOutbound(as: ByteBuffer.self) != nil {}
            }
        }
        let frameCount = framesPerRead * readCount
        #expect(sinkhole.messageCount == frameCount)
        let nanoseconds =
            Double(time.components.attoseconds) / 1e9
            + Double(time.components.seconds) * 1e9
        print("\(nanoseconds / Double(frameCount)) ns a frame, \(framesPerRead) frames a read")
        _ = try channel.finish()
    }

    private func openStream(_ client: Session, _ channel: EmbeddedChannel) throws -> StreamID {
        var toServer = ByteBuffer()
        _ = try client.send(into: &toServer, byteLimit: 1 << 16)
        try channel.writeInbound(toServer)
        while let toClient = try channel.readOutbound(as: ByteBuffer.self) {
            try client.receive(toClient)
        }
        let stream = try client.request(
            Headers([
                (":method", "POST"), (":scheme", "http"), (":path", "/test.Echo/Each"),
                (":authority", "localhost"), ("content-type", "application/grpc"),
            ])
        ).id
        toServer.clear()
        _ = try client.send(into: &toServer, byteLimit: 1 << 16)
        try channel.writeInbound(toServer)
        return stream
    }
}
