// In: how much to send and how. Out: a report. The messages are made before the clock starts, so
// that the sender takes little of the machine that it may share with the server. Each stream has
// a task that sends and one that takes results; its times stand behind a mutex.

package import ContactsClient
import Histogram
import NIOConcurrencyHelpers
import Synchronization

/// When the contacts of one stream were sent, until their results come.
struct SendTimes: Sendable {
    private struct Message {
        var remaining: Int
        var time: ContinuousClock.Instant
    }

    private var messages: [Message] = []
    private var head = 0
    var counts = LoadCounts()

    mutating func sent(_ count: Int, at time: ContinuousClock.Instant) {
        if head > 1024, head * 2 > messages.count {
            messages.removeSubrange(..<head)
            head = 0
        }
        messages.append(Message(remaining: count, time: time))
    }

    /// Results come in the order of sending, so they belong to the oldest messages.
    mutating func received(_ results: [ContactResult], at time: ContinuousClock.Instant) {
        var left = results.count
        while left > 0, head < messages.count {
            let count = min(left, messages[head].remaining)
            let elapsed = time - messages[head].time
            let nanoseconds = max(0, elapsed / .nanoseconds(1))
            counts.latency.record(UInt64(nanoseconds), count: UInt64(count))
            messages[head].remaining -= count
            left -= count
            if messages[head].remaining == 0 { head += 1 }
        }
        for result in results { counts.count(result) }
    }
}

package final class LoadRun: Sendable {
    /// More than this many contacts are made while the run goes on instead of before it.
    private static let preparedContacts = 2_000_000

    private struct Shared {
        var sent = 0
        var bytes = 0
        var lag = Duration.zero

        mutating func add(_ other: Shared) {
            sent += other.sent
            bytes += other.bytes
            lag = max(lag, other.lag)
        }
    }

    private let options: LoadOptions
    private let contacts: LoadContacts
    private let shared = NIOLockedValueBox(Shared())
    private let stopped = Atomic(false)

    package init(_ options: LoadOptions) {
        self.options = options
        contacts = LoadContacts(options)
    }

    /// Sends nothing more; what was sent is still waited for.
    package func stop() {
        stopped.store(true, ordering: .relaxed)
    }

    /// Whether `stop` was called.
    package var wasStopped: Bool { stopped.load(ordering: .relaxed) }

    /// Runs and measures, and reads back if asked to, also when streams have failed.
    ///
    /// - Throws: What kept the run from beginning.
    package func run(
        _ configuration: ContactsClient.Configuration
    ) async throws -> (report: LoadReport, failure: (any Error)?) {
        let clock = ContinuousClock()
        var clients: [ContactsClient] = []
        for _ in 0..<options.connections {
            clients.append(try await ContactsClient.connect(configuration))
        }
        var report = LoadReport(options: options)
        let preparation = clock.now
        let limit = min(options.messages, Self.preparedContacts / options.chunk)
        let messages = (0..<limit).map { contacts.message($0) }
        report.preparationSeconds = (clock.now - preparation).seconds
        var streams: [BulkUpsertStream] = []
        for index in 0..<options.streams {
            let stream = try await clients[index % clients.count].bulkUpsert()
            _ = try await stream.started()
            streams.append(stream)
        }
        let start = clock.now
        var ids: [StreamIDs] = streams.map { _ in [] }
        var failure = await withTaskGroup { group in
            for (index, stream) in streams.enumerated() {
                group.addTask { (index, await self.drive(stream, index, messages, start)) }
            }
            var failure: (any Error)?
            for await (index, end) in group {
                report.counts.add(end.counts)
                ids[index] = end.ids
                failure = failure ?? end.failure
            }
            return failure
        }
        report.seconds = (clock.now - start).seconds
        shared.withLockedValue { shared in
            (report.sent, report.bytes) = (shared.sent, shared.bytes)
            report.maximumLag = shared.lag.seconds
        }
        for client in clients { await client.close() }
        if options.verifies {
            let verifier = LoadVerifier(options, contacts)
            do {
                report.verification = try await verifier.verify(ids, configuration)
            } catch {
                failure = failure ?? error
            }
        }
        report.failure = failure.map(ErrorText.text)
        return (report, failure)
    }

    /// Sends the messages of one stream and takes its results.
    private func drive(
        _ stream: BulkUpsertStream, _ index: Int, _ messages: [RequestEncoder],
        _ start: ContinuousClock.Instant
    ) async -> StreamEnd {
        let times = StreamTimes()
        async let receiving = receive(stream, times)
        var failure: (any Error)?
        do { try await send(stream, index, messages, start, times) } catch { failure = error }
        stream.finish()
        let (received, ids) = await receiving
        return StreamEnd(counts: times.counts, failure: received ?? failure, ids: ids)
    }

    private func receive(
        _ stream: BulkUpsertStream, _ times: StreamTimes
    ) async -> (failure: (any Error)?, ids: StreamIDs) {
        var ids: StreamIDs = []
        do {
            for try await results in stream.results {
                let now = ContinuousClock.now
                times.state.withLockedValue { $0.received(results, at: now) }
                if options.verifies { ids += results.lazy.map { $0.contactID ?? .none } }
            }
            _ = try await stream.summary()
            return (nil, ids)
        } catch {
            return (error, ids)
        }
    }

    private func send(
        _ stream: BulkUpsertStream, _ index: Int, _ messages: [RequestEncoder],
        _ start: ContinuousClock.Instant, _ times: StreamTimes
    ) async throws {
        var sent = Shared()
        defer { shared.withLockedValue { $0.add(sent) } }
        let interval = options.rate.map { Duration.seconds(Double(options.chunk) / $0) }
        for number in stride(from: index, to: options.messages, by: options.streams) {
            if wasStopped { return }
            let message =
                number < messages.count ? messages[number] : contacts.message(number)
            var time = ContinuousClock.now
            var lag = Duration.zero
            if let interval {
                // From the intended time, so that a server that stalls is not let off the
                // messages that it kept from being sent ("coordinated omission").
                let intended = start + interval * number
                if intended > time { try await Task.sleep(until: intended, clock: .continuous) }
                lag = max(.zero, ContinuousClock.now - intended)
                time = intended
            }
            times.state.withLockedValue { $0.sent(message.count, at: time) }
            try await stream.send(message)
            sent.add(Shared(sent: message.count, bytes: message.byteCount, lag: lag))
        }
    }
}

/// What one stream has come to.
private struct StreamEnd: Sendable {
    var counts: LoadCounts
    var failure: (any Error)?
    var ids: StreamIDs
}

/// The times of one stream, shared by its two tasks.
private final class StreamTimes: Sendable {
    let state = NIOLockedValueBox(SendTimes())

    var counts: LoadCounts { state.withLockedValue { $0.counts } }
}
