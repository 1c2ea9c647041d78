// The machines that judge a peer, each at its limit and one past it.

import NIOCore
import NIOEmbedded
import Testing

@testable import HTTP2

struct GuardTests {
    private var limits: ConnectionLimits {
        var limits = ConnectionLimits()
        limits.cheapFrameCountPerTick = 10
        limits.cheapFramesPerUsefulFrame = 2
        limits.resetCountPerTick = 8
        return limits
    }

    @Test
    func `Cheap frames are allowed per tick, and with useful ones`() {
        var guardian = FloodGuard(limits: limits)
        for _ in 0..<10 { guardian.cheap() }
        #expect(guardian.fault == nil)
        guardian.cheap()
        #expect(guardian.fault == .uselessFrames)
        guardian.useful()
        #expect(guardian.fault == nil)
        guardian.tick()
        for _ in 0..<10 { guardian.cheap() }
        #expect(guardian.fault == nil)
    }

    @Test
    func `A refused stream pays for nothing, and counts as four frames`() {
        var guardian = FloodGuard(limits: limits)
        func request() {
            guardian.headers(byteCount: 100)
            guardian.headersAreTaken()
            guardian.useful()
        }
        for _ in 0..<100 {
            request()
            guardian.refusedForOthers()
        }
        for _ in 0..<2 {
            request()
            guardian.refusedStream()
        }
        for _ in 0..<2 { guardian.cheap() }
        #expect(guardian.fault == nil)
        guardian.cheap()
        #expect(guardian.fault == .uselessFrames)
    }

    @Test
    func `HEADERS that turn out to be malformed count by their bytes`() {
        var guardian = FloodGuard(limits: limits)
        for _ in 0..<64 {
            guardian.headers(byteCount: 16 * 1024)
            guardian.headersAreTaken()
            guardian.headersAreMalformed()
        }
        // Each is useful by itself, and so pays for a little.
        for _ in 0..<8 { guardian.continuation(byteCount: 16 * 1024) }
        #expect(guardian.fault == nil)
        guardian.continuation(byteCount: 1)
        #expect(guardian.fault == .oversizedHeaders)
    }

    @Test
    func `Resets of calls whose time is over are forgiven, up to a bound`() {
        var guardian = FloodGuard(limits: limits)
        for _ in 0..<3000 {
            guardian.reset()
            guardian.forgiveReset()
        }
        #expect(guardian.fault == nil)
        for _ in 0..<9 {
            guardian.reset()
            guardian.forgiveReset()
        }
        #expect(guardian.fault == .tooManyResets)
    }

    @Test
    func `HEADERS that are ignored are useless frames, and their bytes too many`() {
        var guardian = FloodGuard(limits: limits)
        for _ in 0..<10 { guardian.headers(byteCount: 0) }
        #expect(guardian.fault == nil)
        guardian.headers(byteCount: 0)
        #expect(guardian.fault == .uselessFrames)
        guardian.tick()
        for _ in 0..<8 {
            guardian.headers(byteCount: 128 * 1024)
            guardian.headersAreTaken()
        }
        for _ in 0..<8 { guardian.headers(byteCount: 128 * 1024) }
        // Each of the eight that were taken pays for some of another.
        guardian.continuation(byteCount: 16 * 1024)
        #expect(guardian.fault == nil)
        guardian.continuation(byteCount: 1)
        #expect(guardian.fault == .oversizedHeaders)
    }

    @Test
    func `Header fields beyond their limit are allowed per tick, by what they cost`() {
        var guardian = FloodGuard(limits: limits)
        for _ in 0..<2 {
            guardian.surplusField(byteCount: 16 * 1024 - 512, isFirstOfBlock: true)
            for _ in 0..<480 { guardian.surplusField(byteCount: 1536, isFirstOfBlock: false) }
            guardian.surplusField(byteCount: 15 * 1024 + 512, isFirstOfBlock: false)
            guardian.surplusField(byteCount: 16 * 1024 - 512, isFirstOfBlock: false)
            #expect(guardian.fault == nil)
            guardian.surplusField(byteCount: 0, isFirstOfBlock: false)
            #expect(guardian.fault == .oversizedHeaders)
            guardian.tick()
        }
    }

    @Test(arguments: [true, false])
    func `Resets are allowed per tick, and with answered streams`(isProvoked: Bool) {
        var guardian = FloodGuard(limits: limits)
        func reset() { if isProvoked { guardian.provokedReset() } else { guardian.reset() } }
        for _ in 0..<8 { reset() }
        #expect(guardian.fault == nil)
        reset()
        #expect(guardian.fault == (isProvoked ? .provokedResets : .tooManyResets))
        guardian.answeredStream()
        #expect(guardian.fault == nil)
        // One of the nine was paid for; half of the other eight is carried over.
        guardian.tick()
        for _ in 0..<4 { reset() }
        #expect(guardian.fault == nil)
        reset()
        #expect(guardian.fault != nil)
    }

    @Test
    func `Three idle PINGs too soon are too many`() {
        var pings = PingGuard()
        var now = NIODeadline.uptimeNanoseconds(0)
        for _ in 0..<100 {
            pings.pinged(at: now, isIdle: true)
            now = now + PingGuard.interval - .seconds(1)
        }
        #expect(!pings.isFlooded)
        for _ in 0..<PingGuard.maxStrikeCount {
            now = now + .seconds(5)
            pings.pinged(at: now - .seconds(9), isIdle: true)
        }
        #expect(!pings.isFlooded)
        pings.pinged(at: now, isIdle: false)
        for _ in 0..<PingGuard.maxStrikeCount { pings.pinged(at: now, isIdle: true) }
        #expect(!pings.isFlooded)
        pings.pinged(at: now, isIdle: true)
        #expect(pings.isFlooded)
    }

    @Test
    func `A frame on a closed stream is told from one that crossed our reset`() {
        var numbers = StreamNumbers(maxConcurrentStreams: 2)
        for stream in [1, 3, 9] as [StreamID] {
            #expect(numbers.fault(on: stream) == nil)
            numbers.headers(on: stream)
        }
        #expect(numbers.fault(on: 3) == .streamClosed)
        #expect(numbers.fault(on: 5) == .protocolError)
        #expect(numbers.fault(on: 7) == .protocolError)
        #expect(numbers.fault(on: 2) == nil)
        #expect(numbers.fault(on: 11) == nil)
        numbers.resetByUs(1)
        numbers.resetByUs(3)
        #expect(numbers.fault(on: 1) == nil)
        #expect(numbers.fault(on: 3) == nil)
        numbers.resetByUs(9)
        // The first is not remembered any more: what comes up to it gets the benefit of the doubt.
        #expect(numbers.fault(on: 1) == nil)
        #expect(numbers.fault(on: 9) == nil)
        numbers.headers(on: 11)
        #expect(numbers.fault(on: 11) == .streamClosed)
        #expect(numbers.fault(on: 5) == .protocolError)
        // Told twice, it takes no other's place.
        numbers.resetByUs(9)
        #expect(numbers.fault(on: 3) == nil)
    }
}

/// What a connection that is too slow meets, on an embedded loop.
struct SlownessTests {
    private final class Witness: SessionDelegate {
        var fault: ConnectionFault?
        func opened(_ session: Session, on channel: any Channel) {}
        func receive(_ events: [Event], from input: ByteBuffer) {}
        func drainStarted() {}
        func tick() {}
        func failed(_ fault: ConnectionFault, detail: String) { self.fault = fault }
        func closed() {}
    }

    private static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
    private static let settings: [UInt8] = [0, 0, 0, 4, 0, 0, 0, 0, 0]

    private func connect(_ bytes: [UInt8]) throws -> (EmbeddedChannel, Witness) {
        let channel = EmbeddedChannel()
        let witness = Witness()
        let handler = try HTTP2Handler(
            role: .server, limits: ConnectionLimits(), delegate: witness)
        try channel.pipeline.syncOperations.addHandler(handler)
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        try channel.writeInbound(ByteBuffer(bytes: bytes))
        return (channel, witness)
    }

    @Test
    func `A preface that is not whole after a tick ends the connection`() throws {
        for part in [0, 10, Self.preface.count, Self.preface.count + 8] {
            let bytes = Self.preface + Self.settings
            let (channel, witness) = try connect(Array(bytes[..<part]))
            channel.embeddedEventLoop.advanceTime(by: ConnectionLimits.tick - .nanoseconds(1))
            #expect(witness.fault == nil)
            channel.embeddedEventLoop.advanceTime(by: .nanoseconds(1))
            #expect(witness.fault == .latePreface)
            channel.embeddedEventLoop.advanceTime(by: ConnectionLimits.linger)
            #expect(!channel.isActive)
        }
    }

    @Test
    func `A header block that is under way for two ticks ends the connection`() throws {
        // HEADERS of 100 bytes on stream 1, without END_HEADERS, then a byte now and then.
        let (channel, witness) = try connect(
            Self.preface + Self.settings + [0, 0, 100, 1, 0, 0, 0, 0, 1])
        for _ in 0..<19 {
            channel.embeddedEventLoop.advanceTime(by: .seconds(1))
            try channel.writeInbound(ByteBuffer(bytes: [0]))
            #expect(witness.fault == nil)
        }
        channel.embeddedEventLoop.advanceTime(by: .seconds(1))
        #expect(witness.fault == .lateHeaders)
        channel.embeddedEventLoop.advanceTime(by: ConnectionLimits.linger)
        #expect(!channel.isActive)
    }

    @Test
    func `Who floods and does not read is closed all the same`() throws {
        let (channel, witness) = try connect(Self.preface + Self.settings)
        channel.isWritable = false
        let ping: [UInt8] = [0, 0, 8, 6, 0, 0, 0, 0, 0] + [UInt8](repeating: 0, count: 8)
        for _ in 0..<4 { try channel.writeInbound(ByteBuffer(bytes: ping)) }
        #expect(witness.fault == .tooManyPings)
        channel.embeddedEventLoop.advanceTime(by: ConnectionLimits.linger)
        #expect(!channel.isActive)
    }
}
