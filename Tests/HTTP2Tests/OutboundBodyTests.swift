// The outgoing half of a stream as a machine.

import NIOCore
import Testing

@testable import HTTP2

struct OutboundBodyTests {
    private enum Taken: Equatable { case bytes([UInt8]), nothingYet, last([UInt8], Headers?) }

    private func take(_ body: inout OutboundBody, _ limit: Int = 16) -> Taken {
        var target = [UInt8](repeating: 0, count: limit)
        let chunk = target.withUnsafeMutableBytes { body.take(into: $0) }
        switch chunk {
        case .bytes(let count): return .bytes(Array(target.prefix(count)))
        case .nothingYet: return .nothingYet
        case .last(let count, let trailers): return .last(Array(target.prefix(count)), trailers)
        }
    }

    private func append(_ body: inout OutboundBody, _ bytes: [UInt8]) {
        body.append(reserving: bytes.count) { $0.writeBytes(bytes) }
    }

    @Test
    func `An open body gives its bytes in pieces, then nothing yet`() {
        var body = OutboundBody()
        #expect(take(&body) == .nothingYet)
        append(&body, [1, 2, 3])
        #expect(body.unsentByteCount == 3)
        #expect(take(&body, 2) == .bytes([1, 2]))
        append(&body, [4])
        #expect(take(&body) == .bytes([3, 4]))
        #expect(take(&body) == .nothingYet)
        #expect(body.unsentByteCount == 0)
    }

    @Test
    func `The last bytes carry the trailers`() {
        var body = OutboundBody()
        let trailers = Headers([("a", "b")])
        append(&body, [1, 2, 3])
        body.end(trailers: trailers)
        append(&body, [9])
        #expect(take(&body, 2) == .bytes([1, 2]))
        #expect(take(&body, 2) == .last([3], trailers))
        #expect(take(&body) == .nothingYet)
    }

    @Test
    func `An empty body can end, with trailers or without`() {
        var bare = OutboundBody()
        bare.end(trailers: nil)
        #expect(take(&bare) == .last([], nil))
        var body = OutboundBody()
        body.end(trailers: Headers([("a", "b")]))
        #expect(take(&body) == .last([], Headers([("a", "b")])))
    }

    @Test
    func `A closed body holds and gives nothing`() {
        var body = OutboundBody()
        append(&body, [1])
        body.close()
        append(&body, [2])
        #expect(body.unsentByteCount == 0)
        #expect(take(&body) == .nothingYet)
    }

    @Test
    func `A body that is never quite drained does not grow`() {
        var body = OutboundBody()
        append(&body, [UInt8](repeating: 1, count: 1000))
        for _ in 0..<10_000 {
            append(&body, [UInt8](repeating: 2, count: 1000))
            _ = take(&body, 1000)
        }
        #expect(body.unsentByteCount == 1000)
        #expect(body.bufferByteCount <= 256 * 1024)
    }
}
