// The engine: all lanes, the readers, the feed of events and the sweeper, on one database.
//
// In: blocks, look-ups and watchers from any thread. Out: outcomes by the closures that came with them. Knows
// nothing of calls, connections or channels.

package import Contacts
package import Logging
internal import NIOConcurrencyHelpers
package import Postgres

package final class IngestEngine: Sendable {
    /// How long a workspace's name is remembered; its id and settings hardly ever change.
    private static let workspaceLifetime = Duration.seconds(1)
    /// How long writers that hold a list are waited for; usual ones take a fraction of a second.
    private static let lockPatience = Duration.seconds(5)
    private static let lockPause = Duration.milliseconds(50)

    package let lanes: LaneSet
    private let queues: [LaneQueue]
    private let conninfo: String
    private let logger: Logger
    private let reader: Reader
    /// For what is read in pages, which may be many at once.
    private let pager: Reader
    /// For writes beside those of contacts, which may wait for locks.
    private let writer: Reader
    private let feed: EventFeed
    private let sweeper: Sweeper
    private let monitor: DatabaseMonitor
    private let threads: [WorkerThread]
    private let dryRuns = DryRun.Count()
    private let live = LiveImports()
    private let paths = PathCounters()
    private let workspaces = NIOLockedValueBox<[String: (Workspace, ContinuousClock.Instant)]>([:])
    /// The lock that this engine holds while it lives.
    private let server: Int64

    /// Starts the lanes. They connect when there is work, and again after a connection broke.
    ///
    /// - Parameters:
    ///   - conninfo: A database with the schema applied.
    ///   - laneCount: How many transactions run at once.
    ///   - orderedLimit: How many contacts that contend for identifiers go to one transaction.
    ///   - sweepInterval: How often expired events and the like are removed.
    ///   - prepare: Makes a database ready that could not be reached so far, such as by a migration;
    ///     run once it can. `nil`: it is ready.
    package init(
        conninfo: String, laneCount: Int, orderedLimit: Int = LaneQueue.transactionContactLimit,
        sweepInterval: Duration = .seconds(60), logger: Logger,
        prepare: (@Sendable (Connection) throws -> Void)? = nil
    ) {
        precondition(laneCount > 0, "an engine has lanes")
        let (queues, ordered) = Self.queues(laneCount, orderedLimit)
        let reader = Reader(conninfo: conninfo, logger: logger)
        server = .random(in: .min ... .max)
        self.conninfo = conninfo
        self.logger = logger
        self.queues = queues
        lanes = LaneSet(queues: queues, ordered: ordered)
        let monitor = DatabaseMonitor(
            conninfo: conninfo, lock: server, prepare: prepare, logger: logger)
        let writer = Reader(conninfo: conninfo, name: "writer", logger: logger)
        let feed = EventFeed(conninfo: conninfo, logger: logger)
        let sweeper = Sweeper(conninfo: conninfo, interval: sweepInterval, logger: logger)
        self.reader = reader
        let pager = Reader(conninfo: conninfo, name: "pager", logger: logger)
        self.pager = pager
        self.writer = writer
        self.feed = feed
        self.sweeper = sweeper
        self.monitor = monitor
        let connector = LaneConnector(
            conninfo: conninfo, isDryRun: false, paths: paths)
        var threads = queues.enumerated().map { number, queue in
            WorkerThread {
                var lane = Lane(
                    queue: queue, connector: connector, number: number, logger: logger,
                    onRefusal: { monitor.refusedWrite() })
                lane.run()
            }
        }
        threads.append(WorkerThread { reader.run() })
        threads.append(WorkerThread { pager.run() })
        threads.append(WorkerThread { writer.run() })
        threads.append(WorkerThread { feed.run() })
        threads.append(WorkerThread { sweeper.run() })
        threads.append(WorkerThread { monitor.run() })
        self.threads = threads
    }

    private static func queues(
        _ laneCount: Int, _ orderedLimit: Int
    ) -> ([LaneQueue], [OrderedQueue]) {
        let doors = LaneDoors(count: laneCount)
        // One lane keeps the order by itself.
        let ordered = (0..<(laneCount > 1 ? laneCount : 0)).map { _ in
            OrderedQueue(doors: doors, contactLimit: orderedLimit)
        }
        let queues = (0..<laneCount).map { LaneQueue(lane: $0, doors: doors, shared: ordered) }
        return (queues, ordered)
    }

    /// An engine without a database, to measure what stands before it: the caller serves the queues
    /// itself, and nothing that would have to be looked up is ever answered.
    package init(queues: [LaneQueue], workspaces known: [String: Workspace], logger: Logger) {
        server = 0
        conninfo = ""
        self.logger = logger
        self.queues = queues
        lanes = LaneSet(queues: queues)
        reader = Reader(conninfo: "", logger: logger)
        pager = Reader(conninfo: "", logger: logger)
        writer = Reader(conninfo: "", logger: logger)
        feed = EventFeed(conninfo: "", logger: logger)
        sweeper = Sweeper(conninfo: "", interval: .seconds(60), logger: logger)
        monitor = DatabaseMonitor(conninfo: "", lock: 0, prepare: nil, logger: logger)
        threads = []
        let always = ContinuousClock.now + .seconds(365 * 86_400)
        workspaces.withLockedValue { $0 = known.mapValues { ($0, always) } }
    }

    /// Whether the database takes contacts: looked at twice a second.
    package var canCommit: Bool { monitor.canCommit }

    /// Whether the database has been prepared. Before that no call may be taken.
    package var isOpen: Bool { monitor.wasPrepared }

    /// How many transactions run at once.
    package var laneCount: Int { queues.count }

    /// How many transactions went a way.
    package func count(of path: WritePath) -> Int { paths[path] }

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
        // Whoever floods the reader with look-ups must not keep others from theirs.
        reader.read(in: nil, isBrief: true, { try Workspace.find(name, $0) }) {
            [weak self] result in
            if case .success(let workspace?) = result {
                self?.workspaces.withLockedValue { $0[name] = (workspace, .now) }
            }
            completion(result)
        }
    }

    /// The workspace, if it was found a short while ago.
    package func rememberedWorkspace(named name: String) -> Workspace? {
        workspaces.withLockedValue { workspaces in
            guard let (workspace, time) = workspaces[name] else { return nil }
            if ContinuousClock.now - time < Self.workspaceLifetime { return workspace }
            workspaces[name] = nil
            return nil
        }
    }

    /// Forgets what is remembered of workspaces: one has changed.
    package func forgetWorkspaces() { workspaces.withLockedValue { $0.removeAll() } }

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
        writer.read(
            in: workspace.id,
            {
                let start = try Imports.start(options, in: workspace, server: server, $0)
                if case .begun(let ledger, _) = start {
                    live.add(ledger, onTakenOver: onTakenOver)
                }
                return start
            }, completion: completion)
    }

    /// Lets everybody know that an import's call broke off; this server knows by itself.
    package func interrupt(_ ledger: ImportLedger) {
        guard ledger.isRecorded else { return }
        writer.read(
            in: ledger.workspaceID, { try Imports.interrupt(ledger, $0) }, completion: { _ in })
    }

    /// Forgets a call that is over.
    package func endImport(_ ledger: ImportLedger) { live.remove(ledger) }

    /// Whether a dry run may bear the name of an import.
    package func checkImport(
        _ options: UpsertOptions, in workspace: Workspace,
        completion: @escaping @Sendable (Result<ImportRefusal?, ReaderError>) -> Void
    ) {
        reader.read(
            in: workspace.id, { try Imports.refusal(options, in: workspace, $0) },
            completion: completion)
    }

    private var liveness: Imports.Liveness { Imports.Liveness(server: server, calls: live) }

    /// Finds an import; `nil` if there is none of the name.
    package func findImport(
        _ importID: String, in workspace: Workspace,
        completion: @escaping @Sendable (Result<Import?, ReaderError>) -> Void
    ) {
        let liveness = liveness
        reader.read(
            in: workspace.id,
            {
                // Asked for first: it may be recorded meanwhile.
                let unrecorded = liveness.calls.unrecorded(importID, in: workspace)
                return try Imports.find(importID, in: workspace, liveness, $0) ?? unrecorded
            }, completion: completion)
    }

    /// A page of imports, the latest first.
    package func imports(
        _ count: Int, after place: ImportPlace?, in workspace: Workspace,
        completion: @escaping @Sendable (Result<ImportList, ReaderError>) -> Void
    ) {
        let liveness = liveness
        pager.read(
            in: workspace.id,
            { try Imports.list(count, after: place, in: workspace, liveness, $0) },
            completion: completion)
    }

    /// Which of some lists do not exist.
    package func unknownLists(
        _ lists: [Int64], in workspace: Workspace,
        completion: @escaping @Sendable (Result<[Int64], ReaderError>) -> Void
    ) {
        reader.read(
            in: workspace.id, { try Imports.unknownLists(lists, in: workspace, $0) },
            completion: completion)
    }

    /// Looks contacts up; one entry for each key, in order.
    package func contacts(
        _ keys: [ContactKey?], in workspace: Workspace,
        completion: @escaping @Sendable (Result<[ContactRecord?], ReaderError>) -> Void
    ) {
        reader.read(
            in: workspace.id, holding: ContactLookup.byteCount(of: keys),
            { try ContactLookup.find(keys, in: workspace, $0) }, completion: completion)
    }

    /// Serves what waits and stops. Nothing may be added any more.
    ///
    /// - Parameter limit: How long that may take. A lane may wait for a lock that another program
    ///   holds; the end of its connection rolls its transaction back.
    /// - Returns: Whether all has stopped.
    @discardableResult
    package func stop(within limit: Duration = .seconds(60)) -> Bool {
        let deadline = ContinuousClock.now + limit
        for queue in queues { queue.close() }
        reader.close()
        pager.close()
        writer.close()
        feed.stop()
        sweeper.stop()
        monitor.stop()
        return threads.reduce(true) { $1.join(until: deadline) && $0 }
    }
}

extension IngestEngine {
    /// Makes a list.
    package func createList(
        _ name: String, in workspace: Workspace,
        completion: @escaping @Sendable (Result<ListCreation, ReaderError>) -> Void
    ) {
        writer.read(
            in: workspace.id, { try Lists.create(name, in: workspace, $0) }, completion: completion)
    }

    /// All lists of a workspace, in the order of their ids.
    package func lists(
        in workspace: Workspace,
        completion: @escaping @Sendable (Result<[ContactList], ReaderError>) -> Void
    ) {
        pager.read(in: workspace.id, { try Lists.all(in: workspace, $0) }, completion: completion)
    }

    /// Deletes a list, and answers when it and its members are gone.
    ///
    /// - Parameter completion: Whether there was such a list.
    package func deleteList(
        _ id: Int64, in workspace: Workspace,
        completion: @escaping @Sendable (Result<Bool, ReaderError>) -> Void
    ) {
        removeList(id, in: workspace, until: .now + Self.lockPatience, completion: completion)
    }

    /// The writer's thread is others' while writers are waited for that hold the list.
    private func removeList(
        _ id: Int64, in workspace: Workspace, until deadline: ContinuousClock.Instant,
        completion: @escaping @Sendable (Result<Bool, ReaderError>) -> Void
    ) {
        writer.read(in: workspace.id, { try Lists.remove(id, in: workspace, $0) }) {
            [weak self] removed in
            guard let self else { return completion(removed) }
            switch removed {
            case .success(true): removeMembers(of: id, in: workspace, completion: completion)
            case .failure(.refused(Lists.isLocked)) where ContinuousClock.now < deadline:
                Task {
                    try? await Task.sleep(for: Self.lockPause)
                    self.removeList(id, in: workspace, until: deadline, completion: completion)
                }
            default: completion(removed)
            }
        }
    }

    /// A chunk is a job, so that others get their turn between two.
    private func removeMembers(
        of id: Int64, in workspace: Workspace,
        completion: @escaping @Sendable (Result<Bool, ReaderError>) -> Void
    ) {
        writer.read(in: workspace.id, { try Lists.removeMembers(of: id, in: workspace.id, $0) }) {
            [weak self] hasMore in
            guard case .success(true) = hasMore, let self else {
                return completion(hasMore.map { _ in true })
            }
            removeMembers(of: id, in: workspace, completion: completion)
        }
    }

    /// The first page of an export.
    ///
    /// - Parameter listID: 0 for all contacts.
    package func beginExport(
        _ listID: Int64, in workspace: Workspace,
        completion: @escaping @Sendable (Result<ContactExport.Page, ReaderError>) -> Void
    ) {
        pager.read(
            in: workspace.id,
            { try ContactExport.begin(listID, in: workspace, $0) }, completion: completion)
    }

    /// A further page.
    package func nextPage(
        of export: ContactExport,
        completion: @escaping @Sendable (Result<ContactExport.Page, ReaderError>) -> Void
    ) {
        pager.read(in: export.workspace.id, { try export.page($0) }, completion: completion)
    }

    /// Events after a watcher's position.
    package func events(
        after position: EventPosition, in workspace: Workspace,
        completion: @escaping @Sendable (Result<EventPage, ReaderError>) -> Void
    ) {
        pager.read(
            in: workspace.id,
            { try EventPages.page(after: position, in: workspace, $0) }, completion: completion)
    }

    /// Registers a watcher of a workspace's events. Register before the first look: what that does
    /// not see, the watcher is woken for.
    ///
    /// - Parameter wake: Called on the feed's thread when there may be new events.
    package func watchEvents(
        in workspace: Workspace, wake: @escaping @Sendable () -> Void
    ) -> EventWatch {
        EventWatch(feed, workspace, wake)
    }
}
