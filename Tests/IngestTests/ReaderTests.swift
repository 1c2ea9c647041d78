// What may wait for a reader, at each limit and one past it. Nobody serves it here.

import Logging
import NIOConcurrencyHelpers
import Testing

@testable import Ingest

@Suite
struct ReaderTests {
    private let reader = Reader(
        conninfo: "", logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    private let refusedCount = NIOLockedValueBox(0)

    private func add(holding byteCount: Int = 0, isBrief: Bool = false) {
        let refusedCount = refusedCount
        reader.read(in: nil, holding: byteCount, isBrief: isBrief, { _ in }) { result in
            guard case .failure(.overloaded) = result else { return }
            refusedCount.withLockedValue { $0 += 1 }
        }
    }

    private var refused: Int { refusedCount.withLockedValue { $0 } }

    @Test
    func `So many look-ups may wait, and look-ups of workspaces beside them`() {
        for _ in 0..<Reader.waitingLimit { add() }
        #expect(refused == 0)
        add()
        #expect(refused == 1)
        for _ in 0..<Reader.briefLimit { add(isBrief: true) }
        #expect(refused == 1)
        add(isBrief: true)
        #expect(refused == 2)
    }

    @Test
    func `Look-ups that wait may hold so many bytes`() {
        let half = Reader.waitingByteLimit / 2
        add(holding: half)
        add(holding: half)
        #expect(refused == 0)
        add(holding: 1)
        #expect(refused == 1)
        add(isBrief: true)
        #expect(refused == 1)
    }
}
