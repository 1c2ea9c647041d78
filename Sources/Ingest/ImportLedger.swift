// What one call of an import has to keep: which of its contacts are decided, and their counts.
//
// In: what each transaction decided. Out: the row that is written with it. Shared by the call and
// its lanes; each lane has a part of its own, so that lanes never wait for each other.

package import Contacts
internal import Glibc
internal import NIOConcurrencyHelpers

package final class ImportLedger: Sendable {
    package let workspaceID: Int32
    package let importID: String
    /// Tells the calls of an import apart: a call that is not the last one writes no more.
    let call: Int64
    /// The lock that the server of this call holds while it lives.
    let server: Int64
    let options: UpsertOptions
    /// What earlier calls decided.
    package let decidedBefore: SequenceSet

    private struct State {
        /// The import's row is there.
        var isRecorded: Bool
        /// Why nothing more may be written of the call.
        var failure: IngestFailure?
        var lanes: [Int: LaneProgress] = [:]
    }

    private let state: NIOLockedValueBox<State>

    /// - Parameters:
    ///   - options: With the import's id filled in.
    ///   - isRecorded: Whether the import's row was made before; else the first transaction does.
    package init(
        workspace: Workspace, options: UpsertOptions, call: Int64, server: Int64,
        isRecorded: Bool = false, decidedBefore: SequenceSet = SequenceSet()
    ) {
        workspaceID = workspace.id
        importID = options.importID
        self.options = options
        self.call = call
        self.server = server
        self.decidedBefore = decidedBefore
        state = NIOLockedValueBox(State(isRecorded: isRecorded))
    }

    /// Whether an earlier call has decided a contact.
    package func wasDecided(_ sequence: UInt64) -> Bool { decidedBefore.contains(sequence) }

    /// Whether earlier calls have decided anything.
    var goesOn: Bool { decidedBefore.base > 0 || !decidedBefore.bytes.isEmpty }

    package var isRecorded: Bool { state.withLockedValue { $0.isRecorded } }

    /// Why nothing more may be written of the call. Once one of its blocks has got no answer, a
    /// later one would overtake it, and would be written over progress that is not known.
    var failure: IngestFailure? { state.withLockedValue { $0.failure } }

    func fail(_ reason: IngestFailure) {
        state.withLockedValue { $0.failure = $0.failure ?? reason }
    }

    func progress(ofLane lane: Int) -> LaneProgress {
        state.withLockedValue { $0.lanes[lane] } ?? LaneProgress(decided: decidedBefore)
    }

    /// Called after the COMMIT.
    func commit(_ progress: LaneProgress, ofLane lane: Int) {
        state.withLockedValue {
            $0.isRecorded = true
            $0.lanes[lane] = progress
        }
    }
}

/// What one lane has decided of a call.
struct LaneProgress: Sendable {
    var decided: SequenceSet
    var counts = ImportCounts()

    init(decided: SequenceSet) {
        self.decided = SequenceSet(through: decided.through)
    }
}

/// Contacts by status, and failed ones by reason, as the database keeps them.
struct ImportCounts: Sendable, Equatable {
    /// Created, updated, unchanged, failed, and then the failed ones by the place of their reason.
    private(set) var values: [Int64]

    private static let statuses: [UpsertStatus] = [.created, .updated, .unchanged, .failed]

    init() {
        values = Array(repeating: 0, count: Self.statuses.count + Reason.allCases.count)
    }

    /// Adds values that were kept, maybe by a build that knew fewer reasons.
    mutating func add(_ kept: [Int64]) {
        for (index, value) in kept.enumerated() where index < values.count {
            values[index] += value
        }
    }

    mutating func count(_ status: UpsertStatus) {
        guard let place = Self.statuses.firstIndex(of: status) else { return }
        values[place] += 1
    }

    mutating func count(_ error: ContactError) {
        count(.failed)
        guard let reason = error.reason, let place = Reason.allCases.firstIndex(of: reason)
        else { return }
        values[Self.statuses.count + place] += 1
    }

    /// As PostgreSQL writes an array.
    var text: String { "{" + values.map(String.init).joined(separator: ",") + "}" }

    /// As callers see them.
    func summary(committedThrough: UInt64) -> UpsertSummary {
        var summary = UpsertSummary()
        summary.created = UInt64(values[0])
        summary.updated = UInt64(values[1])
        summary.unchanged = UInt64(values[2])
        summary.failed = UInt64(values[3])
        summary.total = UInt64(values[0] + values[1] + values[2] + values[3])
        summary.committedThrough = committedThrough
        for (place, reason) in Reason.allCases.enumerated() {
            let count = values[Self.statuses.count + place]
            if count > 0 { summary.failedByReason[reason.rawValue] = UInt64(count) }
        }
        return summary
    }
}

/// The calls of this server that are alive, by their imports: one that another call replaces is
/// told at once, and not only when it writes again.
final class LiveImports: Sendable {
    private struct Key: Hashable {
        let workspaceID: Int32
        /// By bytes: to Swift, texts that only look the same are equal.
        let importID: [UInt8]

        init(workspaceID: Int32, importID: String) {
            self.workspaceID = workspaceID
            self.importID = Array(importID.utf8)
        }

        init(_ ledger: ImportLedger) {
            self.init(workspaceID: ledger.workspaceID, importID: ledger.importID)
        }
    }

    private struct Entry {
        let ledger: ImportLedger
        let begun: Timestamp
        let onTakenOver: @Sendable () -> Void
    }

    private let entries = NIOLockedValueBox<[Key: Entry]>([:])

    func add(_ ledger: ImportLedger, onTakenOver: @escaping @Sendable () -> Void) {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        // As precise as PostgreSQL's.
        let begun = Timestamp(
            seconds: Int64(now.tv_sec), nanoseconds: Int32(now.tv_nsec / 1000 * 1000))
        let entry = Entry(ledger: ledger, begun: begun, onTakenOver: onTakenOver)
        let replaced = entries.withLockedValue { $0.updateValue(entry, forKey: Key(ledger)) }
        replaced?.ledger.fail(.takenOver)
        replaced?.onTakenOver()
    }

    /// Whether a call of this server is alive.
    func contains(_ call: Int64, of importID: String, in workspace: Workspace) -> Bool {
        let key = Key(workspaceID: workspace.id, importID: importID)
        return entries.withLockedValue { $0[key]?.ledger.call == call }
    }

    /// An import of which nothing is committed yet, not even its row.
    func unrecorded(_ importID: String, in workspace: Workspace) -> Import? {
        let key = Key(workspaceID: workspace.id, importID: importID)
        guard let entry = entries.withLockedValue({ $0[key] }), !entry.ledger.isRecorded else {
            return nil
        }
        return Import(
            importID: importID, state: .running, summary: UpsertSummary(),
            options: entry.ledger.options, createdAt: entry.begun, updatedAt: entry.begun)
    }

    func remove(_ ledger: ImportLedger) {
        entries.withLockedValue { entries in
            if entries[Key(ledger)]?.ledger === ledger { entries[Key(ledger)] = nil }
        }
    }
}
