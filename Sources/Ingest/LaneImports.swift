// What a lane's transactions mean to the imports whose contacts they have.
//
// In: a batch whose outcomes are known. Out: what its calls are to remember, and, once that is
// committed, that they do. One lane's thread.

internal import Contacts

extension Lane {
    /// What earlier calls have answered to contacts that are sent again.
    func findReplayedErrors(_ range: Range<Int>, _ ledgers: LedgerWriter?) throws {
        guard let ledgers else { return }
        for (index, work) in works.enumerated() where !work.isDone && !batch.isDropped(index) {
            guard let ledger = work.ledger, ledger.goesOn else { continue }
            let replays = work.range.clamped(to: range).filter { batch.items[$0].isReplay }
            guard !replays.isEmpty else { continue }
            let errors = try ledgers.failures(
                among: replays.map { batch.items[$0].sequence }, of: ledger)
            for (place, error) in errors { batch.replayedErrors[replays[place]] = error }
        }
    }

    /// What the calls that have contacts in a range of items are to remember, one entry each.
    func ledgerEntries(_ range: Range<Int>) -> [LedgerWriter.Entry] {
        var entries: [LedgerWriter.Entry] = []
        var places: [ObjectIdentifier: Int] = [:]
        for (index, work) in works.enumerated() where !work.isDone && !batch.isDropped(index) {
            let part = work.range.clamped(to: range)
            let isComplete = work.range.upperBound <= range.upperBound
            guard let ledger = work.ledger, !part.isEmpty || isComplete else { continue }
            let place = places[ObjectIdentifier(ledger)] ?? entries.count
            if place == entries.count {
                places[ObjectIdentifier(ledger)] = place
                entries.append(.init(ledger: ledger, progress: ledger.progress(ofLane: number)))
            }
            record(work, part, isComplete: isComplete, in: &entries[place])
        }
        return entries
    }

    private func record(
        _ work: Work, _ part: Range<Int>, isComplete: Bool, in entry: inout LedgerWriter.Entry
    ) {
        entry.progress.decided.fill(through: work.decidedThrough)
        for index in part where !batch.items[index].isReplay {
            entry.progress.decided.insert(batch.items[index].sequence)
            let status = batch.outcomes[index].status
            if status == .failed, let error = batch.errors[index] {
                entry.progress.counts.count(error)
                entry.failures.append((batch.items[index].sequence, error))
            } else {
                entry.progress.counts.count(status)
            }
        }
        guard isComplete else { return }
        for refusal in work.refusals {
            entry.progress.decided.insert(refusal.sequence)
            entry.progress.counts.count(refusal.error)
        }
        if let ending = work.ending { entry.ending = ending }
    }

    mutating func settle(_ entries: [LedgerWriter.Entry], _ end: Int) {
        for entry in entries { entry.ledger.commit(entry.progress, ofLane: number) }
        for index in works.indices
        where works[index].range.upperBound <= end && works[index].failure == nil {
            works[index].isDone = true
            // What is written takes no more part in the rest of the batch.
            batch.drop(index)
        }
    }
}
