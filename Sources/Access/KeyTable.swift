// The keys that are good now, in memory: no caller costs a query before it is known.
//
// In: what callers present, from any thread; the database's keys, read once a second and whenever
// somebody notifies of a change. Out: whose key it is. A thread of its own follows the database.
//
// While the database is away keys stay as they were last read, but for those that expire.

package import Logging
internal import NIOConcurrencyHelpers
package import Postgres
internal import Glibc
internal import Ingest
internal import Synchronization

package final class KeyTable: Sendable {
    /// How long a change may go unnoticed should its notification be lost.
    private static let interval = Duration.seconds(1)
    /// How long the database may take to answer.
    private static let patience = Duration.seconds(5)

    /// When callers must present a key.
    package enum Demand: String, Sendable, CaseIterable {
        /// Once any key was made.
        case onceMade
        case always
        case never
    }

    private struct Contents {
        var byID: [String: KeyUse] = [:]
        /// By bytes: to Swift, texts that only look the same are equal.
        var byCertificate: [[UInt8]: KeyUse] = [:]
        var wasAnyMade = false
    }

    private let contents = NIOLockedValueBox(Contents())
    private let isStopped = Atomic(false)
    private let wakeUp = WakeUp()
    private let thread = NIOLockedValueBox<WorkerThread?>(nil)
    private let conninfo: String
    private let demand: Demand
    private let logger: Logger

    package init(conninfo: String, demand: Demand, logger: Logger) {
        self.conninfo = conninfo
        self.demand = demand
        self.logger = logger
    }

    // MARK: Callers

    /// Whether a caller must present a key.
    package var isDemanded: Bool {
        switch demand {
        case .always: true
        case .never: false
        case .onceMade: contents.withLockedValue { $0.wasAnyMade }
        }
    }

    /// The key that a caller presents; `nil` for any text that is none that is good now.
    package func find(_ text: String) -> KeyUse? {
        guard let presented = AccessKey(text) else { return nil }
        let use = contents.withLockedValue { $0.byID[presented.id] }
        guard let use, let hash = use.key.hash, presented.matches(hash) else { return nil }
        return Self.isExpired(use.key) ? nil : use
    }

    /// The key for which a client's certificate stands: that of the first name that has one.
    package func find(certificateNames: [String]) -> KeyUse? {
        guard !certificateNames.isEmpty else { return nil }
        let byCertificate = contents.withLockedValue { $0.byCertificate }
        let use = certificateNames.lazy.compactMap { byCertificate[Array($0.utf8)] }.first
        guard let use, !Self.isExpired(use.key) else { return nil }
        return use
    }

    private static func isExpired(_ key: LoadedKey) -> Bool {
        key.expires.map { $0 <= Int64(time(nil)) } ?? false
    }

    // MARK: The database

    /// Reads all keys; those that are no good any more end.
    package func load(_ connection: Connection) throws(PostgresError) { _ = try read(connection) }

    /// - Returns: The number of the last change that was read.
    private func read(_ connection: Connection) throws(PostgresError) -> Int64 {
        let (keys, change) = try KeyRecords.load(connection)
        take(keys, change > 0)
        return change
    }

    private func take(_ keys: [LoadedKey], _ wasAnyMade: Bool) {
        let ended = contents.withLockedValue { contents in
            var next = Contents(wasAnyMade: wasAnyMade)
            for key in keys {
                let use = contents.byID[key.id] ?? KeyUse(key)
                if use.key != key { use.update(key) }
                next.byID[key.id] = use
                if let name = key.certificateName { next.byCertificate[Array(name.utf8)] = use }
            }
            let ended = contents.byID.values.filter { next.byID[$0.key.id] == nil }
            contents = next
            return ended
        }
        for use in ended { use.end() }
    }

    /// Follows the database until it is stopped.
    package func start() {
        thread.withLockedValue { $0 = WorkerThread { self.run() } }
    }

    package func stop() {
        isStopped.store(true, ordering: .relaxed)
        wakeUp.signal()
        if let thread = thread.withLockedValue({ $0 }) {
            _ = thread.join(until: .now + Self.patience)
        }
    }

    private func run() {
        var connection: Connection?
        var isToldAway = false
        var shown: Int64 = -1
        while !isStopped.load(ordering: .relaxed) {
            do {
                let open = try connection ?? listen()
                if connection == nil { shown = -1 }
                connection = open
                let change = try read(open)
                if change != shown {
                    try open.execute("SET application_name = '\(KeyRecords.follower) \(change)'")
                    shown = change
                }
                if isToldAway { logger.notice("keys are read again") }
                isToldAway = false
                _ = try open.notifications(waitingAtMost: Self.interval, wakeUp: wakeUp)
            } catch {
                if !isToldAway {
                    logger.warning(
                        "keys cannot be read; those known stay", metadata: ["error": "\(error)"])
                    isToldAway = true
                }
                connection?.close()
                connection = nil
                endExpired()
                wakeUp.wait(atMost: Self.interval)
            }
        }
        connection?.close()
    }

    private func endExpired() {
        let keys = contents.withLockedValue { contents in
            (contents.byID.values.map(\.key).filter { !Self.isExpired($0) }, contents.wasAnyMade)
        }
        take(keys.0, keys.1)
    }

    private func listen() throws(PostgresError) -> Connection {
        let connection = try Connection(
            conninfo: conninfo, applicationName: KeyRecords.follower, connectTimeout: Self.patience)
        connection.statementDeadline = Self.patience
        try connection.execute("LISTEN \(KeyRecords.channel)")
        return connection
    }
}
