// In: what became of each record of an import. Out: the counts, as a table for people and as one
// JSON object for programs. Values.

import ContactsClient

/// The counts of an import.
package struct ImportReport: Sendable, Equatable {
    /// Records of the file.
    package var read = 0
    package var created = 0
    package var updated = 0
    package var unchanged = 0
    package var replayed = 0
    /// Refused while reading or by the server.
    package var failed = 0
    package var failedByReason: [String: Int] = [:]
    package var seconds = 0.0
    /// All records up to this line of the file are decided.
    package var settledThroughLine = 0
    /// Read, but without an answer when the import ended.
    package var undecided = 0
    package var wasInterrupted = false
    /// Nothing was stored: the counts say what would happen.
    package var isDryRun = false
    /// The file of rejects, when there is one.
    package var rejectsPath: String?
    /// Why the import ended early.
    package var failure: String?
    /// The file from which another run can go on; nil when there is none, or no need.
    package var statePath: String?
    /// Why there is no such file.
    package var stateFailure: String?

    /// Reasons that are shown to people.
    private static let shownReasons = 10

    package init() {}

    /// Counts one record.
    package mutating func count(_ outcome: PendingRecords.Outcome) {
        switch outcome {
        case .stored(let result):
            switch result.status {
            case .created: created += 1
            case .updated: updated += 1
            case .unchanged: unchanged += 1
            case .replayed: replayed += 1
            case .failed: break
            }
        case .rejected(_, _, let rejection):
            failed += 1
            failedByReason[rejection.reason, default: 0] += 1
        }
    }

    /// Records that are decided.
    package var settled: Int { created + updated + unchanged + replayed + failed }

    package var contactsPerSecond: Double { seconds > 0 ? Double(settled) / seconds : 0 }

    /// The reasons, the most frequent first.
    package var reasons: [(reason: String, count: Int)] {
        failedByReason.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
            .map { (reason: $0.key, count: $0.value) }
    }

    /// The table.
    package var text: String {
        // So that nobody takes the counts of a dry run for what is there now.
        let would = isDryRun ? "would be " : ""
        var rows = [
            ("read", ProgressText.grouped(read)),
            (would + "created", ProgressText.grouped(created)),
            (would + "updated", ProgressText.grouped(updated)),
            (would + "unchanged", ProgressText.grouped(unchanged)),
            (isDryRun ? "would fail" : "failed", ProgressText.grouped(failed)),
        ]
        if replayed > 0 { rows.append(("replayed", ProgressText.grouped(replayed))) }
        if undecided > 0 { rows.append(("undecided", ProgressText.grouped(undecided))) }
        rows.append(("seconds", ProgressText.fixed(seconds, places: 1)))
        rows.append(("contacts/s", ProgressText.grouped(Int(contactsPerSecond))))
        var text = ProgressText.table(rows.map { (name: $0.0, value: $0.1) })
        if !failedByReason.isEmpty {
            text += "\nfailed by reason\n"
            text += ProgressText.table(
                reasons.prefix(Self.shownReasons).map {
                    (name: "  " + $0.reason, value: ProgressText.grouped($0.count))
                })
        }
        if let rejectsPath {
            text += "\nrejected records: \(rejectsPath)\nreasons: \(rejectsPath).reasons.ndjson\n"
            text += "mend the records and import that file\n"
        }
        if isDryRun {
            text += "\na dry run: nothing was stored\n"
        } else if wasInterrupted || failure != nil {
            text += "\nstored or set aside: all up to line \(settledThroughLine) of the file; "
            text += "importing the file again changes nothing that is stored already\n"
            if let stateFailure { text += "it cannot be gone on with: \(stateFailure)\n" }
        }
        return text
    }

    /// The JSON object.
    package var json: [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in
            writer.set("read", read)
            writer.set("created", created)
            writer.set("updated", updated)
            writer.set("unchanged", unchanged)
            writer.set("replayed", replayed)
            writer.set("failed", failed)
            writer.set("undecided", undecided)
            writer.object("failed_by_reason") { writer in
                for (reason, count) in reasons { writer.set(reason, count) }
            }
            writer.set("seconds", seconds)
            writer.set("contacts_per_second", contactsPerSecond)
            writer.set("settled_through_line", settledThroughLine)
            writer.set("interrupted", wasInterrupted)
            writer.set("dry_run", isDryRun)
            if let rejectsPath {
                writer.set("rejects", rejectsPath)
            } else {
                writer.setNull("rejects")
            }
            if let failure { writer.set("error", failure) } else { writer.setNull("error") }
        }
        writer.endLine()
        return writer.bytes
    }
}
