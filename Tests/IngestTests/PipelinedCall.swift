// A call whose blocks are handed over without waiting for the outcomes of those before.

import Contacts
import Ingest
import NIOConcurrencyHelpers
import TestSupport

final class PipelinedCall {
    let options: UpsertOptions
    let ledger: ImportLedger
    private let lanes: LaneSet
    private let plan: WritePlan
    private let rules: ContactRules
    private let decoder = RequestDecoder()
    private var ids = ContactIDGenerator()
    private var next: UInt64 = 1
    private var handedOver = 0
    private var refusals: [RowBlock.Refusal] = []
    private let outcomes = NIOLockedValueBox<[BlockOutcome]>([])
    private let count = ConditionLock<Int>(value: 0)

    init(_ options: UpsertOptions, in workspace: Workspace, _ engine: IngestEngine) throws {
        var options = options
        ids.advance(to: 1_700_000_000_000)
        if options.importID.isEmpty { options.importID = ids.next().description }
        self.options = options
        lanes = engine.lanes
        plan = WritePlan(workspace: workspace, options: options)
        rules = try ContactRules(options)
        ledger = engine.newImport(options, in: workspace) {}
    }

    /// Hands contacts over as one block. All of them must have the same place.
    func send(_ contacts: [Contact], ending: ImportState? = nil) throws {
        var message = RequestEncoder()
        message.append(contacts)
        let request = try message.bytes.withUnsafeBytes { try decoder.decodeBulkUpsert($0) }
        var block = RowBlock(plan: plan)
        var contact = NormalizedContact()
        var lane = lanes.lane(of: plan, keyHash: 0)
        for index in contacts.indices {
            if let error = request.contacts.normalize(at: index, by: rules, into: &contact) {
                block.refusals.append(.init(sequence: next, error: error))
            } else {
                let hash = KeyHash.of(contact, options.matchBy)
                lane = lanes.lane(of: plan, keyHash: hash)
                block.append(contact, sequence: next, id: ids.next(), keyHash: hash)
            }
            next += 1
        }
        refusals += block.refusals
        handedOver += 1
        lanes.add(
            LaneWork(block: block, ledger: ledger, decidedThrough: 0, ending: ending) {
                [outcomes, count] outcome in
                count.lock()
                let received = outcomes.withLockedValue { outcomes in
                    outcomes.append(outcome)
                    return outcomes.count
                }
                count.unlock(withValue: received)
            }, to: lane)
    }

    /// Waits for all outcomes; each contact has one or is behind a block without an answer.
    func finish() -> (results: [ContactResult], failures: [IngestFailure]) {
        count.lock(whenValue: handedOver)
        count.unlock()
        let outcomes = outcomes.withLockedValue { $0 }
        var results = refusals.map {
            ContactResult(sequence: $0.sequence, status: .failed, id: "", error: $0.error)
        }
        for outcome in outcomes {
            let errors = Dictionary(
                uniqueKeysWithValues: outcome.errors.map { ($0.index, $0.error) })
            for (index, entry) in outcome.entries.enumerated() {
                let id = entry.status == .failed ? "" : entry.id.description
                results.append(
                    ContactResult(
                        sequence: entry.sequence, status: entry.status, id: id,
                        error: errors[index]))
            }
        }
        return (results.sorted { $0.sequence < $1.sequence }, outcomes.compactMap(\.failure))
    }
}
