// How an import begins: what its options need of the database is looked up before anything is
// written.
//
// In: the options of a call. Out: all that its contacts need on their way, or the status that
// refuses the call. Event loop thread; queries run on the reader's.

internal import Contacts
internal import Ingest
internal import NIOCore
internal import RPC

/// An import that may begin.
struct OpenedImport {
    /// With the import's id filled in.
    let options: UpsertOptions
    let plan: WritePlan
    let rules: ContactRules
    /// What the import remembers; a dry run remembers nothing.
    let ledger: ImportLedger?
    let dryRun: DryRun?
    /// Whether the import was there before this call.
    let isKnown: Bool

    /// All contacts up to this one are decided.
    var committedThrough: UInt64 { ledger?.decidedBefore.through ?? 0 }
}

final class ImportOpening {
    /// How long an earlier call's transaction may take; usual ones take a fraction of a second. The
    /// call's first message is held meanwhile.
    private static let patience = TimeAmount.seconds(5)
    private static let pause = TimeAmount.milliseconds(50)

    private let call: ServerCall
    private let engine: IngestEngine
    private let context: LoopContext
    private let completion: (Result<OpenedImport, RPCStatus>) -> Void
    private let onTakenOver: @Sendable () -> Void

    private init(
        _ call: ServerCall, _ engine: IngestEngine, _ context: LoopContext,
        onTakenOver: @escaping @Sendable () -> Void,
        completion: @escaping (Result<OpenedImport, RPCStatus>) -> Void
    ) {
        self.call = call
        self.engine = engine
        self.context = context
        self.onTakenOver = onTakenOver
        self.completion = completion
    }

    /// Opens the import of a call.
    ///
    /// - Parameters:
    ///   - onTakenOver: Called on any thread when another call goes on with the import.
    ///   - completion: Called on the loop, at once if nothing has to be looked up.
    static func run(
        _ options: UpsertOptions, of call: ServerCall, by caller: Caller, _ engine: IngestEngine,
        _ context: LoopContext, onTakenOver: @escaping @Sendable () -> Void,
        completion: @escaping (Result<OpenedImport, RPCStatus>) -> Void
    ) {
        let opening = ImportOpening(
            call, engine, context, onTakenOver: onTakenOver, completion: completion)
        call.findWorkspace(of: caller, engine) { found in
            switch found {
            case .success(let workspace): opening.checkLists(options, workspace)
            case .failure(let status): completion(.failure(status))
            }
        }
    }

    private func checkLists(_ options: UpsertOptions, _ workspace: Workspace) {
        if let refusal = OptionRules.refusal(options, in: workspace) {
            return completion(.failure(refusal))
        }
        let lists = options.joinedLists
        guard !lists.isEmpty else { return begin(options, workspace) }
        engine.unknownLists(
            lists, in: workspace,
            completion: onLoop { opening, unknown in
                if let list = unknown.first {
                    opening.completion(.failure(.unknownList(list, field: "list_ids")))
                } else {
                    opening.begin(options, workspace)
                }
            })
    }

    private func begin(_ options: UpsertOptions, _ workspace: Workspace) {
        switch (options.validateOnly, options.importID.isEmpty) {
        case (true, true): beginDryRun(options, workspace)
        case (true, false):
            engine.checkImport(
                options, in: workspace,
                completion: onLoop { opening, refusal in
                    if let refusal {
                        opening.completion(.failure(RPCStatus(refusal)))
                    } else {
                        opening.beginDryRun(options, workspace)
                    }
                })
        case (false, true):
            let options = named(options)
            let ledger = engine.newImport(options, in: workspace, onTakenOver: onTakenOver)
            complete(options, workspace, ledger, isKnown: false)
        case (false, false):
            start(options, workspace, until: .now() + Self.patience)
        }
    }

    /// A transaction of an earlier call is waited for here and not on a thread that others need.
    private func start(
        _ options: UpsertOptions, _ workspace: Workspace, until deadline: NIODeadline
    ) {
        engine.startImport(
            options, in: workspace, onTakenOver: onTakenOver,
            completion: onLoop { opening, start in
                switch start {
                case .begun(let ledger, let isKnown):
                    opening.complete(options, workspace, ledger, isKnown: isKnown)
                case .refused(let refusal):
                    opening.completion(.failure(RPCStatus(refusal)))
                case .busy where NIODeadline.now() < deadline:
                    opening.call.later(Self.pause) {
                        // A call that is over must not take the import from the next one.
                        guard !opening.call.isFinished else { return }
                        opening.start(options, workspace, until: deadline)
                    }
                case .busy:
                    opening.completion(.failure(.importBusy))
                }
            })
    }

    private func beginDryRun(_ options: UpsertOptions, _ workspace: Workspace) {
        guard let dryRun = engine.dryRun() else {
            return completion(.failure(.tooManyDryRuns(DryRun.limit)))
        }
        complete(named(options), workspace, nil, dryRun: dryRun, isKnown: false)
    }

    /// The server names what the caller did not.
    private func named(_ options: UpsertOptions) -> UpsertOptions {
        guard options.importID.isEmpty else { return options }
        var options = options
        context.advanceClock()
        options.importID = context.nextID().description
        return options
    }

    private func complete(
        _ options: UpsertOptions, _ workspace: Workspace, _ ledger: ImportLedger?,
        dryRun: DryRun? = nil, isKnown: Bool
    ) {
        do throws(DecodeError) {
            completion(
                .success(
                    OpenedImport(
                        options: options, plan: WritePlan(workspace: workspace, options: options),
                        rules: try ContactRules(options), ledger: ledger, dryRun: dryRun,
                        isKnown: isKnown)))
        } catch {
            completion(.failure(RPCStatus(error, message: "UpsertOptions")))
        }
    }

    /// Brings what the reader found back to the loop.
    private func onLoop<Value: Sendable>(
        _ body: @escaping (ImportOpening, Value) -> Void
    ) -> @Sendable (Result<Value, ReaderError>) -> Void {
        let eventLoop = call.eventLoop
        let bound = NIOLoopBound((self, body), eventLoop: eventLoop)
        return { result in
            eventLoop.execute {
                let (opening, body) = bound.value
                switch result {
                case .success(let value): body(opening, value)
                case .failure(let error): opening.completion(.failure(RPCStatus(error)))
                }
            }
        }
    }
}
