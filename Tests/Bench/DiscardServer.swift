// `bench discard-server`: the real server, whose lanes answer "created" to every contact and write
// nothing. In: calls. Out: answers, until SIGTERM. It measures what stands before the database: the
// wire, the rules, the rows of COPY and the answers.

import ArgumentParser
import ContactsServer
import Foundation
import Ingest
import Logging

struct DiscardServerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "discard-server",
        abstract: "Serves without a database: every contact is answered \"created\" and dropped.")

    @Option(help: "Where to listen, HOST:PORT.")
    var listen = "127.0.0.1:0"

    @Option(help: "How many lanes; each is a thread.")
    var lanes = 2

    func run() throws {
        signal(SIGPIPE, SIG_IGN)
        signal(SIGTERM, SIG_IGN)
        let parts = listen.split(separator: ":")
        guard parts.count == 2, let port = Int(parts[1]), lanes > 0 else {
            throw ValidationError("--listen is HOST:PORT, --lanes at least 1")
        }
        let logger = Logger(label: "bench") { StreamLogHandler.standardError(label: $0) }
        let queues = (0..<lanes).map { _ in LaneQueue() }
        let workspace = Workspace(id: 1, uniqueBy: .email)
        let engine = IngestEngine(
            queues: queues, workspaces: [Workspace.defaultName: workspace], logger: logger)
        for queue in queues { Thread.detachNewThread { Self.serve(queue) } }
        let server = try ContactsServer(
            host: String(parts[0]), port: port, engine: engine, logger: logger)
        logger.info("ready", metadata: ["listen": "\(server.address)"])
        Self.awaitStop()
        server.drain()
        engine.stop()
        server.shutDown()
    }

    private static func serve(_ queue: LaneQueue) {
        while let taken = queue.take() {
            for work in taken.works { work.deliver(BlockOutcome(creating: work.block)) }
        }
    }

    private static func awaitStop() {
        let stop = DispatchSemaphore(value: 0)
        let source = DispatchSource.makeSignalSource(signal: SIGTERM, queue: .global())
        source.setEventHandler { stop.signal() }
        source.resume()
        stop.wait()
    }
}
