// A bulk load with its costs. In: a server, messages. Out: a record, and what came back. One task.

import Histogram
import Postgres

enum ServiceRun {
    /// Loads messages and tells what that cost.
    ///
    /// - Parameters:
    ///   - postmaster: `nil`, like the connection, when there is no database.
    static func measured(
        _ messages: Messages, streams: Int, _ server: ServerProcess, _ workspace: BenchWorkspace,
        postmaster: Int32?, _ connection: Connection?
    ) async throws -> (RunRecord, LoadOutcome) {
        let meter = Meter(
            postmaster: postmaster, server: server.processID, client: .own, connection: connection)
        let load = try await ServiceLoad.open(
            server.configuration(workspace), messages, streams: streams,
            warmsUp: connection != nil)
        let before = try meter.read()
        let outcome = try await load.run()
        let after = try meter.read()
        await load.close()
        var record = RunRecord(
            side: .service, contacts: outcome.contacts, seconds: outcome.seconds, from: before,
            to: after)
        record.peakKilobytes = Meter.peakKilobytes(server.processID)
        record.setLatency(outcome.latency)
        return (record, outcome)
    }
}

extension RunRecord {
    /// - Parameter latency: In nanoseconds.
    mutating func setLatency(_ latency: Histogram<UInt64>) {
        p50 = Double(latency.valueAtPercentile(50)) / 1e6
        p99 = Double(latency.valueAtPercentile(99)) / 1e6
    }
}
