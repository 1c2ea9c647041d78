// The engine: all lanes and the reader, on one database.
//
// In: blocks and look-ups from any thread. Out: outcomes by the closures that came with them. Knows
// nothing of calls, connections or channels.

package import Contacts
package import Logging
internal import Synchronization

package final class IngestEngine: Sendable {
    /// How long a workspace's name is remembered; its id and settings hardly ever change.
    private static let workspaceLifetime = Duration.seconds(10)

    package let lanes: LaneSet
    private let queues: [LaneQueue]
    private let conninfo: String
    private let logger: Logger
    private let reader: Reader
    private let monitor: DatabaseMonitor
    private let threads: [WorkerThread]
    private let dryRuns = DryRun.Count()
    private let live = LiveImports()
    private let workspaces = Mutex<[String: (Workspace, ContinuousClock.Instant)]>([:])
    /// The lock that this engine holds while it lives.
    private let server: Int64

    /// Starts the lanes. They connect when there is work, and again after a connection broke.
    ///
    /// - Parameters:
    ///   - conninfo: A database with the schema applied.
    ///   - laneCount: How many transactions run at once.
    package init(conninfo: String, laneCount: Int, logger: Logger) {
        precondition(laneCount > 0, "an engine has lanes")
        let queues = (0..<laneCount).map { _ in LaneQueue() }
        let reader = Reader(conninfo: conninfo, logger: logger)
        server = .random(in: .min ... .max)
        self.conninfo = conninfo
        self.logger = logger
        self.queues = queues
        lanes = LaneSet(queues: queues)
        let monitor = DatabaseMonitor(conninfo: conninfo, lock: server, logger: logger)
        self.reader = reader
        self.monitor = monitor
        let connector = LaneConnector(conninfo: conninfo, isDryRun: false)
        var threads = queues.enumerated().map { number, queue in
            WorkerThread {
                var lane = Lane(queue: queue, connector: connector, number: number, logger: logger)
                lane.run()
            }
        }
        threads.append(WorkerThread { reader.run() })
        threads.append(WorkerThread { monitor.run() })
        self.threads = threads
    }

    /// Whether the database takes contacts: looked at twice a second.
    package var canCommit: Bool { monitor.canCommit }

    /// Begins a dry run; `nil` when there are as many as may be.
    package func dryRun() -> DryRun? {
        guard dryRuns.take() else { return nil }
        return DryRun(conninfo: conninfo, count: dryRuns, logger: logger)
    }

    /// Finds a workspace; `nil` if there is none of the name.
    package func workspace(
        named name: String,
        completion: @escaping @Sendable (Result<Workspace?, ReaderError>) -> Void
    ) {
        if let known = rememberedWorkspace(named: name) { return completion(.success(known)) }
        reader.read({ try Workspace.find(name, $0) }) { [weak self] result in
            if case .success(let workspace?) = result {
                self?.workspaces.withLock { $0[name] = (workspace, .now) }
            }
            completion(result)
        }
    }

    /// The workspace, if it was found a short while ago.
    package func rememberedWorkspace(named name: String) -> Workspace? {
        workspaces.withLock { workspaces in
            guard let (workspace, time) = workspaces[name] else { return nil }
            if ContinuousClock.now - time < Self.workspaceLifetime { return workspace }
            workspaces[name] = nil
            return nil
        }
    }

    /// Forgets what is remembered of workspaces: one has changed.
    package func forgetWorkspaces() { workspaces.withLock { $0.removeAll() } }

    // MARK: Imports

    /// The ledger of an import that nobody knows yet: its first transaction makes it.
    ///
    /// - Parameter onTakenOver: Called on any thread when another call goes on with the import.
    package func newImport(
        _ options: UpsertOptions, in workspace: Workspace,
        onTakenOver: @escaping @Sendable () -> Void
    ) -> ImportLedger {
        let ledger = ImportLedger(
            workspace: workspace, options: options, call: .random(in: .min ... .max),
            server: server)
        live.add(ledger, onTakenOver: onTakenOver)
        return ledger
    }

    /// Begins a named import, or goes on with it; an earlier call of it is taken over.
    ///
    /// - Parameter onTakenOver: Called on any thread when another call goes on with the import.
    package func startImport(
        _ options: UpsertOptions, in workspace: Workspace,
        onTakenOver: @escaping @Sendable () -> Void,
        completion: @escaping @Sendable (Result<ImportStart, ReaderError>) -> Void
    ) {
        let server = server
        let live = live
        reader.read(
            {
                let start = try Imports.start(options, in: workspace, server: server, $0)
                if case .begun(let ledger, _) = start {
                    live.add(ledger, onTakenOver: onTakenOver)
                }
                return start
            }, completion: completion)
    }

    /// Forgets a call that is over.
    package func endImport(_ ledger: ImportLedger) { live.remove(ledger) }

    /// Whether a dry run may bear the name of an import.
    package func checkImport(
        _ options: UpsertOptions, in workspace: Workspace,
        completion: @escaping @Sendable (Result<ImportRefusal?, ReaderError>) -> Void
    ) {
        reader.read({ try Imports.refusal(options, in: workspace, $0) }, completion: completion)
    }

    /// Finds an import; `nil` if there is none of the name.
    package func findImport(
        _ importID: String, in workspace: Workspace,
        completion: @escaping @Sendable (Result<Import?, ReaderError>) -> Void
    ) {
        reader.read({ try Imports.find(importID, in: workspace, $0) }, completion: completion)
    }

    /// A page of imports, the latest first.
    package func imports(
        _ count: Int, after place: ImportPlace?, in workspace: Workspace,
        completion: @escaping @Sendable (Result<[Import], ReaderError>) -> Void
    ) {
        reader.read(
            { try Imports.list(count, after: place, in: workspace, $0) }, completion: completion)
    }

    /// Which of some lists do not exist.
    package func unknownLists(
        _ lists: [Int64], in workspace: Workspace,
        completion: @escaping @Sendable (Result<[Int64], ReaderError>) -> Void
    ) {
        reader.read({ try Imports.unknownLists(lists, in: workspace, $0) }, completion: completion)
    }

    /// Looks contacts up; one entry for each key, in order.
    package func contacts(
        _ keys: [ContactKey?], in workspace: Workspace,
        completion: @escaping @Sendable (Result<[ContactRecord?], ReaderError>) -> Void
    ) {
        reader.read({ try ContactLookup.find(keys, in: workspace, $0) }, completion: completion)
    }

    /// Serves what waits and stops. Nothing may be added any more.
    package func stop() {
        for queue in queues { queue.close() }
        reader.close()
        monitor.stop()
        for thread in threads { thread.join() }
    }
}
