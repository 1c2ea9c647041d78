// One bulk load by the client library. In: a client's configuration and messages. Out: how long it
// took, when each contact's result came, and its id. Each result is checked as it comes: its number
// is the next one and its status is the right one. Each stream has a task that sends and one that
// takes results.

import ContactsClient
import Histogram
import NIOConcurrencyHelpers

struct LoadOutcome: Sendable {
    var seconds = 0.0
    var contacts = 0
    /// Nanoseconds from handing a contact's message to the library to its result.
    var latency = Histogram<UInt64>(numberOfSignificantValueDigits: .three)
    /// The ids that came, by stream.
    var ids: [[ContactID]] = []
}

struct ServiceLoad: Sendable {
    let messages: Messages
    private let client: ContactsClient
    private let streams: [BulkUpsertStream]

    var deal: Deal { Deal(chunk: messages.chunk, streams: streams.count) }

    /// Contacts enough to meet every lane.
    private static let warmUpCount = 200

    /// Connects and opens the streams, all on one connection. The server's lanes connect to the
    /// database too, as psql has connected when its clock starts.
    ///
    /// - Parameter warmsUp: Without a database there is nothing to connect to.
    static func open(
        _ configuration: ContactsClient.Configuration, _ messages: Messages, streams: Int,
        warmsUp: Bool = true
    ) async throws -> ServiceLoad {
        let client = try await ContactsClient.connect(configuration)
        if warmsUp { try await warmUp(configuration) }
        var opened: [BulkUpsertStream] = []
        for _ in 0..<streams {
            let stream = try await client.bulkUpsert()
            _ = try await stream.started()
            opened.append(stream)
        }
        return ServiceLoad(messages: messages, client: client, streams: opened)
    }

    /// Updates that find nobody, and so leave no contact.
    private static func warmUp(_ configuration: ContactsClient.Configuration) async throws {
        var configuration = configuration
        configuration.workspace = BenchWorkspace.warmUp.name
        let client = try await ContactsClient.connect(configuration)
        var options = UpsertOptions()
        options.existence = .updateOnly
        let nobody = (0..<warmUpCount).map { Contact(email: "nobody-\($0)@example.com") }
        let answer = try await client.upsertContacts(nobody, options: options)
        guard answer.summary.failedByReason == ["NOT_FOUND": UInt64(warmUpCount)] else {
            throw BenchError("updates of nobody were answered by \(answer.summary)")
        }
        await client.close()
    }

    func close() async { await client.close() }

    /// Loads everything.
    func run() async throws -> LoadOutcome {
        let start = ContinuousClock.now
        var outcome = try await withThrowingTaskGroup { group in
            for (number, stream) in streams.enumerated() {
                group.addTask { (number, try await drive(stream, number)) }
            }
            var outcome = LoadOutcome()
            outcome.ids = Array(repeating: [], count: streams.count)
            for try await (number, (latency, ids)) in group {
                outcome.latency.add(latency)
                outcome.contacts += ids.count
                outcome.ids[number] = ids
            }
            return outcome
        }
        outcome.seconds = (ContinuousClock.now - start).inSeconds
        guard outcome.contacts == messages.workload.count else {
            throw BenchError(
                "\(outcome.contacts) of \(messages.workload.count) contacts were answered")
        }
        return outcome
    }

    private func drive(
        _ stream: BulkUpsertStream, _ number: Int
    ) async throws -> (Histogram<UInt64>, [ContactID]) {
        let times = SendTimes()
        return try await withThrowingTaskGroup { group in
            group.addTask { () -> [ContactID]? in
                try await send(stream, number, times)
                return nil
            }
            group.addTask { try await receive(stream, number, times) }
            var ids: [ContactID] = []
            for try await received in group {
                if let received { ids = received }
            }
            return (times.latency, ids)
        }
    }

    private func send(_ stream: BulkUpsertStream, _ number: Int, _ times: SendTimes) async throws {
        for place in stride(from: number, to: messages.count, by: streams.count) {
            let message = messages[place]
            times.sent(message.count, at: .now)
            try await stream.send(message)
        }
        stream.finish()
    }

    private func receive(
        _ stream: BulkUpsertStream, _ number: Int, _ times: SendTimes
    ) async throws -> [ContactID] {
        var ids: [ContactID] = []
        ids.reserveCapacity(messages.workload.count / streams.count + messages.chunk)
        for try await results in stream.results {
            times.received(results.count, at: .now)
            for result in results {
                try check(result, number, ids.count)
                ids.append(result.contactID ?? .none)
            }
        }
        let summary = try await stream.summary()
        guard summary.total == UInt64(ids.count), summary.committedThrough == summary.total else {
            throw BenchError("\(ids.count) results came, and the summary is \(summary)")
        }
        return ids
    }

    /// - Parameter offset: How many results of the stream have come before.
    private func check(_ result: ContactResult, _ stream: Int, _ offset: Int) throws {
        guard result.sequence == UInt64(offset) + 1 else {
            throw BenchError("result \(result.sequence) came where \(offset + 1) was due")
        }
        let expected = messages.workload.status(deal.index(stream: stream, offset: offset))
        let isRight =
            result.status == expected
            && (result.error?.reason == .emailInvalid) == (expected == .failed)
        guard isRight else {
            throw BenchError(
                "contact \(result.sequence) of stream \(stream) must be \(expected), and is "
                    + "\(result.status) \(result.error?.reasonText ?? "")")
        }
    }
}

/// When the contacts of a stream were sent, until their results come. Shared by its two tasks.
final class SendTimes: Sendable {
    private struct Sending {
        var remaining: Int
        var time: ContinuousClock.Instant
    }

    private struct State {
        var waiting: [Sending] = []
        var head = 0
        var latency = Histogram<UInt64>(numberOfSignificantValueDigits: .three)
    }

    private let state = NIOLockedValueBox(State())

    var latency: Histogram<UInt64> { state.withLockedValue { $0.latency } }

    func sent(_ count: Int, at time: ContinuousClock.Instant) {
        state.withLockedValue { state in
            if state.head > 1024, state.head * 2 > state.waiting.count {
                state.waiting.removeSubrange(..<state.head)
                state.head = 0
            }
            state.waiting.append(Sending(remaining: count, time: time))
        }
    }

    /// Results come in the order of sending, so they belong to the oldest messages.
    func received(_ count: Int, at time: ContinuousClock.Instant) {
        state.withLockedValue { state in
            var left = count
            while left > 0, state.head < state.waiting.count {
                let taken = min(left, state.waiting[state.head].remaining)
                let elapsed = time - state.waiting[state.head].time
                state.latency.record(
                    UInt64(max(0, elapsed / .nanoseconds(1))), count: UInt64(taken))
                state.waiting[state.head].remaining -= taken
                left -= taken
                if state.waiting[state.head].remaining == 0 { state.head += 1 }
            }
        }
    }
}

extension ContactID {
    /// Of a contact that failed.
    static let none = ContactID(high: 0, low: 0)
}

extension Duration {
    var inSeconds: Double { self / .seconds(1) }
}
