// `contactsd serve`: everything is started here, in order, and stopped in the reverse order.

import Access
import ArgumentParser
import ContactsServer
import Foundation
import Ingest
import Logging
import Postgres

struct Serve: ParsableCommand {
    /// How long running transactions may take once the calls have ended. Usual ones take a fraction
    /// of a second; one that waits for another program's lock is cut off.
    private static let stopLimit = Duration.seconds(3)
    /// How long the database may take to answer before the server starts without it.
    private static let firstLookLimit = Duration.seconds(2)

    static let configuration = CommandConfiguration(
        abstract: "Serves until SIGTERM or SIGINT, then finishes what it has taken and ends.")

    @Option(help: "Where to listen, HOST:PORT. Else CONTACTS_LISTEN, else 127.0.0.1:50051.")
    var listen: String?

    @Option(
        help: """
            Where /livez, /readyz and /status answer over HTTP/1.1, HOST:PORT. Else \
            CONTACTS_ADMIN, else nowhere.
            """)
    var admin: String?

    @Option(
        help: """
            How many transactions run at once. Else CONTACTS_LANES, else one for each core, \
            at least 2, at most what half of the database's connections leave.
            """)
    var lanes: Int?

    @Flag(inversion: .prefixedNo, help: "Bring the schema up to date first.")
    var migrate = true

    @OptionGroup var access: AccessOptions

    @OptionGroup var tls: TLSOptions

    @OptionGroup var database: DatabaseOptions

    @OptionGroup(title: "Limits") var limits: LimitOptions

    @OptionGroup(title: "Connections") var connectionLife: ConnectionLifeOptions

    func run() throws {
        // A peer that closes its socket is an error to be handled, not a signal to die of.
        signal(SIGPIPE, SIG_IGN)
        // It asks for files to be read again; a server without certificates has none to read.
        signal(SIGHUP, SIG_IGN)
        let logger = Log.make()
        let environment = ProcessInfo.processInfo.environment
        let (host, port) = try address(
            listen ?? environment["CONTACTS_LISTEN"] ?? "127.0.0.1:50051", of: "--listen")
        let adminAddress = try (admin ?? environment["CONTACTS_ADMIN"]).map {
            try address($0, of: "--admin")
        }
        let askedLaneCount = try self.askedLaneCount()
        let demand = try access.demand(listeningOn: host)
        let life = try connectionLife.life()
        let certificates = try tls.certificates(for: host, logger)
        let watch = certificates.map(CertificateWatch.init)
        defer { watch?.stop() }
        let policy = Descriptors.makeRoom(for: limits.policy, logger)
        let opened = try database.open(logger)
        let signals = StopSignals()
        do {
            let keys = KeyTable(conninfo: opened.conninfo, demand: demand, logger: logger)
            let first = try firstLook(opened.conninfo, keys, logger)
            let laneCount = askedLaneCount ?? first.laneCount
            let engine = IngestEngine(
                conninfo: opened.conninfo, laneCount: laneCount, logger: logger,
                prepare: first.isPrepared ? nil : preparation(keys, logger))
            defer { engine.stop(within: Self.stopLimit) }
            keys.start()
            defer { keys.stop() }
            let server = try listening(on: host, port) {
                try ContactsServer(
                    host: host, port: port, certificates: certificates, engine: engine,
                    keys: keys, life: life, policy: policy, logger: logger)
            }
            let adminServer = try adminAddress.map { host, port in
                try listening(on: host, port) {
                    try AdminServer(host: host, port: port, server: server)
                }
            }
            defer { adminServer?.stop() }
            var metadata: Logger.Metadata = [
                "listen": "\(server.address)", "lanes": "\(laneCount)",
                "tls": "\(certificates != nil)",
            ]
            if let adminServer, let adminAddress {
                metadata["admin"] = "\(adminAddress.host):\(adminServer.port)"
            }
            logger.info(
                first.isPrepared ? "ready" : "listening, without a database as yet",
                metadata: metadata)
            let name = signals.wait()
            logger.info("stopping", metadata: ["signal": "\(name)"])
            server.drain()
            // The loops go with the process if a lane does not end: it may still deliver to them.
            if engine.stop(within: Self.stopLimit) {
                server.shutDown()
            } else {
                logger.warning("transactions cut off that did not end; they are rolled back")
            }
        } catch {
            opened.cluster?.stop()
            throw error
        }
        opened.cluster?.stop()
        logger.info("stopped")
    }

    /// Prepares the database and counts lanes. One that cannot be reached, or takes no writes, is
    /// waited for while the server is up: it may only be slower to start.
    private func firstLook(
        _ conninfo: String, _ keys: KeyTable, _ logger: Logger
    ) throws -> (isPrepared: Bool, laneCount: Int) {
        try Connection.check(conninfo: conninfo)
        do {
            let connection = try Connection(
                conninfo: conninfo, applicationName: "contactsd start",
                connectTimeout: Self.firstLookLimit)
            defer { connection.close() }
            try preparation(keys, logger)(connection)
            return (true, try LaneCount.usual(connection))
        } catch let error as PostgresError where error.mayPass {
            return (false, try LaneCount.usual(nil))
        }
    }

    private func preparation(
        _ keys: KeyTable, _ logger: Logger
    ) -> @Sendable (Connection) throws -> Void {
        let migrates = migrate
        return { connection in
            if migrates {
                try Migrate.migrate(connection, logger)
            } else if try !Schema.wasSecured(connection) {
                Migrate.warnOfRowSecurity(logger)
            }
            try keys.load(connection)
        }
    }

    private func listening<Server>(
        on host: String, _ port: Int, _ start: () throws -> Server
    ) throws -> Server {
        do {
            return try start()
        } catch {
            throw ListenError(address: "\(host):\(port)", reason: "\(error)")
        }
    }

    private func address(
        _ text: String, of option: String
    ) throws -> (host: String, port: Int) {
        guard let colon = text.lastIndex(of: ":"),
            let port = Int(text[text.index(after: colon)...]),
            (0...65535).contains(port), colon != text.startIndex
        else {
            throw ValidationError(
                "\(option): \"\(text)\" is not HOST:PORT, such as 127.0.0.1:50051")
        }
        let host = text[..<colon].trimmingCharacters(in: CharacterSet(charactersIn: "[]"))
        return (host, port)
    }

    private func askedLaneCount() throws -> Int? {
        let variable = ProcessInfo.processInfo.environment["CONTACTS_LANES"]
        let count = lanes ?? variable.flatMap { Int($0) }
        guard variable == nil || lanes != nil || count != nil,
            (1...LaneCount.most).contains(count ?? 1)
        else {
            throw ValidationError("--lanes: give a number from 1 to \(LaneCount.most)")
        }
        return count
    }
}

/// The address cannot be listened on.
struct ListenError: Error, CustomStringConvertible {
    let address: String
    let reason: String

    var description: String {
        "cannot listen on \(address): \(reason); give another address"
    }
}

enum Log {
    /// Text lines on standard error.
    static func make() -> Logger {
        Logger(label: "contactsd") { StreamLogHandler.standardError(label: $0) }
    }
}
