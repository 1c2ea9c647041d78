// How a server stands at the moment, as the admin address tells it.
//
// In: counters. Out: a JSON object. Any thread.

internal import Ingest
internal import Postgres
internal import RPC
internal import TLS

/// What is open and under way.
struct ServerStatus: Sendable {
    let counters: ServerCounters
    let budget: ReceiveBudget
    let unanswered: SharedLimit
    let unsent: SharedLimit
    let engine: IngestEngine
    let certificates: ServerCertificates?

    /// Names as in the contract; a number each.
    var json: String {
        let values: [(String, String)] = [
            ("can_commit", "\(engine.canCommit)"),
            ("connections", "\(counters.openConnectionCount)"),
            ("streams", "\(counters.openCallCount)"),
            ("unacknowledged_contacts", "\(unanswered.count)"),
            // Messages that calls hold, and what lanes have of them.
            ("unacknowledged_bytes", "\(budget.heldByteCount + budget.workByteCount)"),
            // Of answers, those under way included.
            ("unsent_bytes", "\(unsent.count)"),
            ("lanes", "\(engine.laneCount)"),
            ("database_connections", "\(Connection.openCount)"),
            // Since the start: what was not done for a peer, and connections that were ended.
            ("refused", Self.json(counters.refusals.all)),
            ("failed_handshakes", "\(certificates?.failedHandshakeCount ?? 0)"),
        ]
        return Self.object(values) + "\n"
    }

    private static func json(_ counts: [(kind: String, count: Int)]) -> String {
        object(counts.map { ($0.kind, "\($0.count)") })
    }

    private static func object(_ values: [(String, String)]) -> String {
        "{" + values.map { "\"\($0)\":\($1)" }.joined(separator: ",") + "}"
    }
}
