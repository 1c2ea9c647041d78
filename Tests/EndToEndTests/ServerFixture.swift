// A server in this process, on a database and a port of its own, and clients of it.

import ContactsClient
import ContactsServer
import Ingest
import Logging
import Postgres
import TestSupport

final class ServerFixture: Sendable {
    let database: TestDatabase
    let engine: IngestEngine
    let server: ContactsServer
    let port: Int

    init(lanes: Int = 2) throws {
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        database = try TestDatabase.create()
        try Schema.migrate(try database.connect())
        engine = IngestEngine(conninfo: database.conninfo, laneCount: lanes, logger: logger)
        server = try ContactsServer(host: "127.0.0.1", port: 0, engine: engine, logger: logger)
        port = Int(server.address.split(separator: ":").last ?? "") ?? 0
    }

    /// Stops in order; blocks, so it is not for a task to call directly.
    func stop() {
        server.drain()
        engine.stop()
        server.shutDown()
    }

    func client(workspace: String? = nil) async throws -> ContactsClient {
        try await ContactsClient.connect(.init(port: port, workspace: workspace))
    }

    func rowCount() throws -> Int {
        let result = try database.connect().query("SELECT count(*)::int4 FROM contacts")
        return Int(result.int32(0, 0) ?? -1)
    }

    /// Runs a test against a fixture and stops it, whatever happened.
    static func run(
        lanes: Int = 2, _ body: (ServerFixture) async throws -> Void
    ) async throws {
        let fixture = try ServerFixture(lanes: lanes)
        do {
            try await body(fixture)
        } catch {
            await fixture.stopInBackground()
            throw error
        }
        await fixture.stopInBackground()
    }

    private func stopInBackground() async {
        await withCheckedContinuation { continuation in
            BackgroundThread.run {
                self.stop()
                continuation.resume()
            }
        }
    }
}

/// Runs something that blocks outside Swift's cooperative pool.
enum BackgroundThread {
    static func run(_ body: @escaping @Sendable () -> Void) {
        Thread.detachNewThread(body)
    }
}

import class Foundation.Thread
