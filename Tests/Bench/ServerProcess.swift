// A server of the bench, as a process of its own. In: a command line that listens on port 0 and says
// "ready" and where on standard error. Out: its port and process. It is made for one run and dies
// with the bench. Blocks; any thread.

import Foundation
import Postgres

struct ServerProcess {
    private static let startLimit = Duration.seconds(30)
    private static let stopLimit = Duration.seconds(60)

    let port: Int
    private let child: ChildProcess
    private let log: String

    var processID: Int32 { child.processID }

    /// - Parameter directory: For its log.
    init(_ command: [String], directory: String) throws {
        log = directory + "/server.log"
        BenchFiles.remove(log)
        child = try ChildProcess(
            arguments: Self.dyingWithUs(command), environment: Self.environment, log: log)
        port = try Self.awaitReady(child, log)
    }

    /// contactsd on the run's database.
    static func contactsd(
        _ program: String, lanes: Int?, _ cluster: BenchCluster
    ) throws -> ServerProcess {
        let lanes = lanes.map { ["--lanes", "\($0)"] } ?? []
        return try ServerProcess(
            [
                program, "serve", "--listen", "127.0.0.1:0", "--database-url",
                cluster.conninfo(BenchCluster.run),
            ] + lanes, directory: cluster.directory)
    }

    /// Runs something with it and stops it, whatever came of that.
    func use<Value>(_ body: () async throws -> Value) async throws -> Value {
        do {
            let value = try await body()
            try stop()
            return value
        } catch {
            child.signal(SIGKILL)
            throw error
        }
    }

    /// Asks it to stop and waits.
    private func stop() throws {
        child.signal(SIGTERM)
        let code = child.waitForExit(within: Self.stopLimit)
        guard code == 0 else {
            child.signal(SIGKILL)
            throw BenchError(
                "the server ended with \(code.map { "code \($0)" } ?? "no code"):\n\(tail)")
        }
    }

    private var tail: String { Self.tail(log) }

    private static func tail(_ log: String) -> String {
        BenchFiles.text(log).split(separator: "\n").suffix(12).joined(separator: "\n")
    }

    private static func awaitReady(_ child: ChildProcess, _ log: String) throws -> Int {
        let deadline = ContinuousClock.now + startLimit
        while ContinuousClock.now < deadline {
            for line in BenchFiles.text(log).split(separator: "\n") where line.hasSuffix("] ready")
            {
                guard let address = line.split(separator: "listen=").last,
                    let port = address.split(whereSeparator: { $0 == " " || $0 == ":" })
                        .dropFirst().first.flatMap({ Int($0) })
                else { break }
                return port
            }
            guard child.isRunning else { break }
            usleep(2000)
        }
        child.signal(SIGKILL)
        throw BenchError("the server did not start:\n\(tail(log))")
    }

    /// setpriv(1) of util-linux makes a program end with its parent; without it, one that outlives
    /// a killed bench has to be stopped by hand.
    static func dyingWithUs(_ command: [String]) -> [String] {
        let found = ["/usr/bin/setpriv", "/bin/setpriv"].first {
            FileManager.default.isExecutableFile(atPath: $0)
        }
        return (found.map { [$0, "--pdeathsig", "TERM", "--"] } ?? []) + command
    }

    /// Nothing of ours but the path: PG* variables and the like would change what programs do.
    static let environment = ["PATH=/usr/bin:/bin", "LANG=C.UTF-8", "HOME=/"]
}
