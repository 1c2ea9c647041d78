// Who is told that a workspace has new events.
//
// In: watchers, from any thread; the writers' NOTIFY, whose payload is the workspace's id. Out:
// each watcher's closure, called on the feed's thread, once or more for each commit with events.
//
// One connection listens for all watchers; it opens with the first. Between two connections a
// notification may be lost, so everyone is woken when it opens. A watcher that was registered before
// it looked can rely on that: what it did not see, it is told of.

internal import Logging
internal import NIOConcurrencyHelpers
internal import Postgres

final class EventFeed: Sendable {
    /// The channel that writers notify.
    static let channel = "contacts_events"
    /// How often a silent connection is asked whether it lives.
    private static let interval = Duration.seconds(10)
    /// How long the database may take to answer that.
    private static let patience = Duration.seconds(5)

    private struct State {
        var watchers: [Int32: [UInt64: @Sendable () -> Void]] = [:]
        var lastToken: UInt64 = 0
        var isStopped = false
    }

    private let state = NIOLockedValueBox(State())
    private let wakeUp = WakeUp()
    private let conninfo: String
    private let logger: Logger

    init(conninfo: String, logger: Logger) {
        self.conninfo = conninfo
        self.logger = logger
    }

    /// Registers a watcher.
    ///
    /// - Returns: What `remove` takes.
    func add(_ workspace: Int32, _ wake: @escaping @Sendable () -> Void) -> UInt64 {
        let token = state.withLockedValue { state in
            state.lastToken += 1
            state.watchers[workspace, default: [:]][state.lastToken] = wake
            return state.lastToken
        }
        wakeUp.signal()
        return token
    }

    /// The watcher's closure may be at work still; it is not called again.
    func remove(_ workspace: Int32, _ token: UInt64) {
        state.withLockedValue { state in
            state.watchers[workspace]?[token] = nil
            if state.watchers[workspace]?.isEmpty == true { state.watchers[workspace] = nil }
        }
    }

    func stop() {
        state.withLockedValue { $0.isStopped = true }
        wakeUp.signal()
    }

    /// Listens until it is stopped. Runs on the feed's thread.
    func run() {
        var connection: Connection?
        var pause = Duration.milliseconds(50)
        while !state.withLockedValue({ $0.isStopped }) {
            if connection == nil, state.withLockedValue({ $0.watchers.isEmpty }) {
                wakeUp.wait(atMost: Self.interval)
                continue
            }
            do {
                if connection == nil {
                    connection = try listen()
                    pause = .milliseconds(50)
                    wake(nil)
                }
                if let connection { try pass(connection) }
            } catch {
                connection?.close()
                connection = nil
                logger.warning(
                    "event feed has no connection, trying again", metadata: ["error": "\(error)"])
                wakeUp.wait(atMost: pause)
                pause = min(pause * 2, .seconds(1))
            }
        }
        connection?.close()
    }

    /// Waits once for notifications and passes them on.
    private func pass(_ connection: Connection) throws(PostgresError) {
        let told = try connection.notifications(waitingAtMost: Self.interval, wakeUp: wakeUp)
        if told.isEmpty {
            // A server that is stuck, or gone without a word, is noticed here.
            try connection.execute("SELECT 1")
        } else {
            wake(Set(told.compactMap { Int32($0.payload) }))
        }
    }

    /// - Parameter workspaces: `nil` for all.
    private func wake(_ workspaces: Set<Int32>?) {
        let wakes = state.withLockedValue { state in
            let woken = workspaces ?? Set(state.watchers.keys)
            return woken.flatMap { state.watchers[$0].map { Array($0.values) } ?? [] }
        }
        for wake in wakes { wake() }
    }

    private func listen() throws(PostgresError) -> Connection {
        let connection = try Connection(
            conninfo: conninfo, applicationName: "contactsd event feed", connectTimeout: .seconds(5)
        )
        connection.statementDeadline = Self.patience
        try connection.execute("LISTEN \(Self.channel)")
        return connection
    }
}

/// A watcher's registration; it ends when it is cancelled or let go.
package final class EventWatch: Sendable {
    private let feed: EventFeed
    private let workspace: Int32
    private let token: UInt64

    init(_ feed: EventFeed, _ workspace: Workspace, _ wake: @escaping @Sendable () -> Void) {
        self.feed = feed
        self.workspace = workspace.id
        token = feed.add(workspace.id, wake)
    }

    deinit { cancel() }

    package func cancel() { feed.remove(workspace, token) }
}
