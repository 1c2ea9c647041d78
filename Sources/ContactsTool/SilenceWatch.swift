// Why a server that is there does not answer: while it is silent it is asked for its health.
//
// In: a ledger whose records get no results. Out: a reason for the progress line. A task of its own,
// and a connection of its own for each question.

import ContactsClient
import NIOConcurrencyHelpers

final class SilenceWatch: Sendable {
    /// A silence that is worth a word; usual answers take a fraction of a second.
    private static let patience = Duration.seconds(2)
    private static let interval = Duration.seconds(1)

    private let ledger: ImportLedger
    private let configuration: ContactsClient.Configuration
    private let reason = NIOLockedValueBox("the server is busy")

    init(_ ledger: ImportLedger, _ configuration: ContactsClient.Configuration) {
        self.ledger = ledger
        self.configuration = configuration
    }

    /// The silence at present, if there is one.
    var outage: ProgressSnapshot.Outage? {
        guard let silence = ledger.silence, silence >= Self.patience else { return nil }
        return .init(
            seconds: silence.seconds, reason: reason.withLockedValue { $0 }, isServerAway: false)
    }

    /// Asks until the task is cancelled.
    func run() async {
        while (try? await Task.sleep(for: Self.interval)) != nil {
            guard outage != nil, let status = await health() else { continue }
            reason.withLockedValue {
                $0 = status == .serving ? "the server is busy" : "its database takes no contacts"
            }
        }
    }

    private func health() async -> ServingStatus? {
        guard let client = try? await ContactsClient.connect(configuration) else { return nil }
        let status = try? await client.health()
        await client.close()
        return status
    }
}
