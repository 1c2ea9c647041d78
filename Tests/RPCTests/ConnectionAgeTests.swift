// When a connection has to go: the machine, and a server that tells its clients.

import HTTP2
import NIOConcurrencyHelpers
import NIOCore
import Synchronization
import Testing

@testable import RPC

struct ConnectionAgeTests {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)

    private func age(
        _ age: TimeAmount?, idle: TimeAmount?, chance: Double = 0
    ) -> ConnectionAge {
        ConnectionAge(ConnectionAgeLimits(age: age, idle: idle), openedAt: start, chance: chance)
    }

    @Test
    func `Without limits it is never over`() {
        let age = age(nil, idle: nil)
        #expect(age.nextLook(now: start) == nil)
        #expect(!age.isOver(now: .distantFuture))
    }

    @Test(arguments: [(-1.0, 90), (0, 100), (1, 110)])
    func `Age counts from the beginning, whatever calls there are`(chance: Double, seconds: Int64) {
        var age = age(.seconds(100), idle: nil, chance: chance)
        age.callsChanged(openCount: 1, now: start + .seconds(1))
        let end = start + .seconds(seconds)
        #expect(age.nextLook(now: start) == end)
        #expect(!age.isOver(now: end - .nanoseconds(1)))
        #expect(age.isOver(now: end))
    }

    @Test
    func `Idle counts from the end of the last call`() {
        var age = age(nil, idle: .seconds(10))
        #expect(!age.isOver(now: start + .seconds(10) - .nanoseconds(1)))
        #expect(age.isOver(now: start + .seconds(10)))
        age.callsChanged(openCount: 1, now: start + .seconds(9))
        #expect(!age.isOver(now: start + .seconds(1000)))
        #expect(age.nextLook(now: start + .seconds(10)) == start + .seconds(20))
        age.callsChanged(openCount: 2, now: start + .seconds(11))
        age.callsChanged(openCount: 1, now: start + .seconds(12))
        age.callsChanged(openCount: 0, now: start + .seconds(13))
        age.callsChanged(openCount: 0, now: start + .seconds(14))
        #expect(age.nextLook(now: start + .seconds(15)) == start + .seconds(23))
        #expect(!age.isOver(now: start + .seconds(23) - .nanoseconds(1)))
        #expect(age.isOver(now: start + .seconds(23)))
    }

    @Test
    func `The earlier limit comes first`() {
        #expect(
            age(.seconds(5), idle: .seconds(10)).nextLook(now: start) == start + .seconds(5))
        #expect(
            age(.seconds(50), idle: .seconds(10)).nextLook(now: start) == start + .seconds(10))
    }
}

@Suite(.timeLimit(.minutes(5)), .serialized)
struct AgingConnectionTests {
    private func goAways(_ peer: RawPeer) -> [StreamID] {
        peer.events.compactMap { if case .goAway(let last, _) = $0 { last } else { nil } }
    }

    private func bothGoAwaysCame(_ peer: RawPeer) throws {
        var count = 0
        while goAways(peer).count < 2 {
            count = goAways(peer).count
            // A peer answers the PING between them.
            try peer.send(peer.takeSessionBytes())
            try peer.receive { event in
                if case .goAway = event { count -= 1 }
                return count < 0
            }
        }
    }

    @Test
    func `An old connection is drained in two steps, and its calls go on`() async throws {
        let server = try await EchoServer.start { $0.age.age = .milliseconds(200) }
        let peer = try RawPeer(port: server.port)
        let stream = try peer.open()
        try bothGoAwaysCame(peer)
        // First no stream in particular, then the last one that was seen.
        #expect(goAways(peer) == [.max, stream])
        #expect(server.log.ends.withLockedValue { $0 }.isEmpty)
        try peer.sendData(RawPeer.envelope([1, 2, 3]), on: stream, end: true)
        #expect(try peer.status(of: stream).code == "0")
        #expect(peer.body(of: stream) == RawPeer.envelope([1, 2, 3]))
        try peer.receiveUntilEnd()
        #expect(peer.isAtEnd)
        try await server.stop()
    }

    @Test
    func `A shutdown still ends the calls of an old connection`() async throws {
        let server = try await EchoServer.start { $0.age.age = .milliseconds(100) }
        let peer = try RawPeer(port: server.port)
        let stream = try peer.open()
        try bothGoAwaysCame(peer)
        server.drain()
        #expect(try peer.status(of: stream).code == "14")
        try peer.receiveUntilEnd()
        try await server.stop()
    }

    @Test
    func `A connection without calls is let go, one with a call is not`() async throws {
        let server = try await EchoServer.start { $0.age.idle = .milliseconds(300) }
        let idle = try RawPeer(port: server.port)
        let busy = try RawPeer(port: server.port)
        let stream = try busy.open()
        try idle.send(idle.takeSessionBytes())
        try idle.receiveUntilEnd()
        #expect(idle.isAtEnd)
        #expect(goAways(idle).first == .max)
        #expect(goAways(busy).isEmpty)
        try busy.sendData(RawPeer.envelope([1]), on: stream, end: true)
        #expect(try busy.status(of: stream).code == "0")
        try busy.receiveUntilEnd()
        #expect(goAways(busy).first == .max)
        try await server.stop()
    }
}
