// In: handshakes that failed. Out: their count, and now and then a line.
// On which thread: any; shared by all event loops.

internal import Logging
internal import NIOConcurrencyHelpers
internal import NIOCore
internal import Synchronization

/// Anybody who can connect can make handshakes fail, so a line stands for many of them.
struct FailureDigest {
    private var unreported = 0
    private var nextLine = NIODeadline.distantPast

    /// One more has failed. Gives the count to be told of now, with this one.
    mutating func add(at now: NIODeadline) -> Int? {
        unreported += 1
        guard now >= nextLine else { return nil }
        defer { unreported = 0 }
        nextLine = now + TLSLimits.failureLineInterval
        return unreported
    }
}

final class FailureLog: Sendable {
    private let logger: Logger
    private let total = Atomic<Int>(0)
    private let digest = NIOLockedValueBox(FailureDigest())

    init(_ logger: Logger) {
        self.logger = logger
    }

    /// Since the start.
    var count: Int { total.load(ordering: .relaxed) }

    func add(_ failure: TLSFailure, from address: SocketAddress?) {
        total.wrappingAdd(1, ordering: .relaxed)
        guard let count = digest.withLockedValue({ $0.add(at: .now()) }) else { return }
        logger.info(
            "a TLS handshake failed",
            metadata: [
                "reason": "\(failure)", "client": "\(address?.description ?? "unknown")",
                "since_last_line": "\(count)",
            ])
    }
}
