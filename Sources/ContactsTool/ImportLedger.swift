// In: records as they are sent on each stream, and results as they come. Out: the counts, the file
// of rejects, the file that says how far it is, and room: whoever reads the file waits here while
// too much has no result yet.
// Called from the reading task and from one task for each stream; a mutex guards it all.

package import ContactsClient
import NIOConcurrencyHelpers

package final class ImportLedger: Sendable {
    /// What may wait for results: enough to keep the server busy, small enough to forget about.
    package struct Window: Sendable {
        package var records = 200_000
        package var bytes = 64 << 20

        package init() {}
    }

    private struct State: @unchecked Sendable {  // safe because it is reached under the lock alone
        var pending: [PendingRecords]
        var report = ImportReport()
        var header: [UInt8] = []
        var readBytes = 0
        let rejects: RejectsFile
        var keeper: StateKeeper?
        /// When results came last.
        var settled = ContinuousClock.now
        var failure: (any Error)?
        var waiter: CheckedContinuation<Void, Never>?
    }

    private let window: Window
    private let totalBytes: Int?
    private let maxFailures: UInt64
    private let start = ContinuousClock.now
    /// That earlier runs of the import took.
    private let earlierSeconds: Double
    private let state: NIOLockedValueBox<State>

    /// - Parameter earlier: What an earlier run has decided, for one stream.
    package init(
        streams: Int, window: Window = Window(), totalBytes: Int?, header: [UInt8],
        rejects: sending RejectsFile, maxFailures: UInt64 = 0, earlier: SavedImport? = nil
    ) {
        self.window = window
        earlierSeconds = earlier?.report.seconds ?? 0
        self.maxFailures = maxFailures
        self.totalBytes = totalBytes
        let pending = PendingRecords(
            after: earlier?.sequence ?? 0, line: earlier.map { $0.position.line - 1 } ?? 0)
        var state = State(
            pending: Array(repeating: pending, count: streams), header: header, rejects: rejects)
        if let earlier {
            state.report = earlier.report
            state.readBytes = max(0, earlier.position.offset - header.count)
        }
        self.state = NIOLockedValueBox(state)
    }

    /// Begins to write down how far the import is; goes on with the rejects of an earlier run.
    func keep(_ beginning: SavedImport, in file: ImportStateFile) throws {
        try state.withLockedValue { state in
            try state.rejects.resume(beginning.rejects)
            var keeper = StateKeeper(file: file, beginning: beginning)
            keeper.write(beginning)
            state.keeper = keeper
        }
    }

    /// The first error of any stream or of the file of rejects.
    package var failure: (any Error)? { state.withLockedValue { $0.failure } }

    /// Notes the records of one message, in the order of the file, before it is sent.
    package func add(_ records: [(PendingRecord, Rejection?)], stream: Int) {
        guarded { state in
            // What waits from now on cannot have been waiting.
            if state.pending.allSatisfy({ $0.count == 0 }) { state.settled = .now }
            state.report.read += records.count
            for (record, rejection) in records {
                state.readBytes += record.bytes.count
                state.pending[stream].append(record, rejection: rejection)
            }
            try Self.take(&state, stream) { pending, settle in
                try pending.settleRefused(settle)
            }
        }
    }

    /// Notes results of a stream.
    package func settle(_ results: [ContactResult], stream: Int) {
        guarded { state in
            state.settled = .now
            try Self.take(&state, stream) { pending, settle in
                try pending.settle(results, settle)
            }
        }
    }

    /// Notes that a stream has failed.
    package func fail(_ error: any Error) {
        guarded { _ in throw error }
    }

    /// Waits until the window has room or something failed.
    package func waitForRoom() async {
        await withCheckedContinuation { continuation in
            let isOpen = state.withLockedValue { state in
                guard isFull(state), state.failure == nil else { return true }
                state.waiter = continuation
                return false
            }
            if isOpen { continuation.resume() }
        }
    }

    /// For how long records have waited and no result has come; nil if none wait.
    package var silence: Duration? {
        state.withLockedValue { state in
            state.pending.contains { $0.count > 0 } ? .now - state.settled : nil
        }
    }

    /// How far the import is.
    package func progress() -> ProgressSnapshot {
        state.withLockedValue { state in
            var progress = ProgressSnapshot()
            progress.rows = state.report.settled
            progress.failed = state.report.failed
            progress.bytes =
                state.header.count + state.readBytes
                - state.pending.reduce(0) { $0 + $1.byteCount }
            progress.totalBytes = totalBytes
            progress.seconds = seconds
            return progress
        }
    }

    /// Closes the file of rejects and gives the counts.
    ///
    /// - Parameter isWhole: The whole file was read and sent.
    package func finish(isWhole: Bool = true) -> ImportReport {
        state.withLockedValue { state in
            finishKeeping(&state, isWhole: isWhole)
            do { try state.rejects.close() } catch { state.failure = state.failure ?? error }
            state.report.seconds = seconds
            state.report.undecided = state.pending.reduce(0) { $0 + $1.count }
            let open = state.pending.compactMap { $0.firstPendingLine.map { $0 - 1 } }.min()
            state.report.settledThroughLine =
                open ?? state.pending.map(\.settledLine).max() ?? 0
            if state.rejects.count > 0 { state.report.rejectsPath = state.rejects.path }
            return state.report
        }
    }

    private var seconds: Double { earlierSeconds + (ContinuousClock.now - start).seconds }

    /// Writes down how far the import is.
    private func writeState(_ state: inout State) throws {
        guard let pending = state.pending.first, var kept = state.keeper?.beginning else { return }
        do {
            kept.rejects = try state.rejects.flush()
        } catch {
            state.keeper?.stop()
            throw error
        }
        kept.position = pending.settledEnd ?? kept.position
        kept.sequence = pending.lastSequence
        kept.report = state.report
        kept.report.seconds = seconds
        state.keeper?.write(kept)
    }

    private func finishKeeping(_ state: inout State, isWhole: Bool) {
        guard let keeper = state.keeper else { return }
        let isOpen = state.pending.contains { $0.count > 0 }
        if isWhole, !isOpen, state.failure == nil {
            keeper.file.remove()
            return
        }
        do { try writeState(&state) } catch { state.failure = state.failure ?? error }
        if let failure = state.keeper?.failure {
            state.report.stateFailure = ErrorText.text(failure)
        } else {
            state.report.statePath = keeper.file.path
        }
    }

    private func isFull(_ state: borrowing State) -> Bool {
        var records = 0
        var bytes = 0
        for pending in state.pending {
            records += pending.count
            bytes += pending.byteCount
        }
        return records >= window.records || bytes >= window.bytes
    }

    private func guarded(_ body: (inout State) throws -> Void) {
        let waiter = state.withLockedValue { state -> CheckedContinuation<Void, Never>? in
            do {
                try body(&state)
                if state.keeper?.isDue == true { try writeState(&state) }
            } catch {
                state.failure = state.failure ?? understood(error)
            }
            checkFailures(&state)
            guard state.failure != nil || !isFull(state) else { return nil }
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume()
    }

    /// A server that has counted to the limit ends its stream, maybe before its last answers are
    /// counted here.
    private func understood(_ error: any Error) -> any Error {
        guard let status = error as? ClientError, status.codeName == "FAILED_PRECONDITION",
            status.message.hasPrefix("max_failures:")
        else { return error }
        return TooManyFailures(limit: maxFailures)
    }

    /// The server counts too, but only what was sent to it, and each stream for itself.
    private func checkFailures(_ state: inout State) {
        guard maxFailures > 0, state.failure == nil, state.report.failed >= maxFailures
        else { return }
        state.failure = TooManyFailures(limit: maxFailures)
    }

    private static func take(
        _ state: inout State, _ stream: Int,
        _ body: (inout PendingRecords, (PendingRecords.Outcome) throws -> Void) throws -> Void
    ) throws {
        var pending = state.pending[stream]
        state.pending[stream] = PendingRecords()
        defer { state.pending[stream] = pending }
        var report = state.report
        defer { state.report = report }
        let (rejects, header) = (state.rejects, state.header)
        do {
            try body(&pending) { outcome in
                report.count(outcome)
                guard case .rejected(let record, let sequence, let rejection) = outcome
                else { return }
                try rejects.write(record, sequence: sequence, rejection, header: header)
            }
        } catch {
            state.keeper?.stop()
            throw error
        }
    }
}

/// As many records as the caller allows have failed.
package struct TooManyFailures: Error, CustomStringConvertible {
    let limit: UInt64

    package var description: String {
        "\(limit) \(limit == 1 ? "record has" : "records have") failed, the most allowed"
    }
}

extension Duration {
    /// As a number, for rates.
    var seconds: Double {
        Double(components.seconds) + Double(components.attoseconds) * 1e-18
    }
}
