// The bound on what all connections hold together, at its limits and one past them.

import Testing

@testable import RPC

@Suite
struct SharedLimitTests {
    @Test
    func `Within the limit anybody may take more, beyond it who has less than a share`() {
        let limit = SharedLimit(100, leastShare: 10)
        let first = SharedLimit.Part(of: limit)
        let second = SharedLimit.Part(of: limit)
        first.add(99)
        #expect(first.hasRoom && second.hasRoom)
        first.add(1)
        #expect(!first.hasRoom && second.hasRoom)
        // With two that hold something, a share is half.
        second.add(49)
        #expect(second.hasRoom)
        second.add(1)
        #expect(!second.hasRoom && second.hasRoomForFirst)
        second.add(49)
        #expect(second.hasRoomForFirst)
        second.add(1)
        #expect(!second.hasRoomForFirst)
        first.add(-100)
        second.add(-1)
        #expect(limit.count == 99 && first.hasRoom && second.hasRoom)
    }

    @Test
    func `A share is never less than the least one`() {
        let limit = SharedLimit(100, leastShare: 10)
        let parts = (0..<50).map { _ in SharedLimit.Part(of: limit) }
        for part in parts { part.add(9) }
        let withRoom = parts.filter { $0.hasRoom }
        #expect(withRoom.count == 50)
        parts[0].add(1)
        #expect(!parts[0].hasRoom && parts[1].hasRoom)
    }

    @Test
    func `What is too much is over the share, once all hold too much`() {
        let limit = SharedLimit(100, leastShare: 10)
        let first = SharedLimit.Part(of: limit)
        let second = SharedLimit.Part(of: limit)
        first.add(70)
        second.add(29)
        #expect(first.excess == 0 && second.excess == 0)
        second.add(1)
        #expect(first.excess == 20 && second.excess == 0)
    }

    @Test
    func `What a part holds is given back with it`() {
        let limit = SharedLimit(100, leastShare: 10)
        var part: SharedLimit.Part? = SharedLimit.Part(of: limit)
        part?.add(7)
        #expect(limit.count == 7)
        part = nil
        #expect(limit.count == 0)
    }
}
