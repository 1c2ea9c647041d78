// What the scenarios share: the cluster, the programs, the data, and the report that they fill. Used
// by one task at a time.

import ContactsClient
import ContactsTool
import Foundation

final class BenchContext {
    let settings: Report.Settings
    let cluster: BenchCluster
    let references: References
    let baseline: Baseline
    private let contactsd: String
    var report: Report

    init(
        settings: Report.Settings, cluster: BenchCluster, psql: String, contactsd: String
    ) throws {
        self.settings = settings
        self.cluster = cluster
        self.contactsd = contactsd
        references = References(cluster)
        baseline = Baseline(cluster: cluster, psql: psql)
        let machine = Report.Machine.here(postgres: try cluster.version())
        report = Report(machine: machine, settings: settings)
        report.database = try cluster.settings()
    }

    func contacts(_ workspace: BenchWorkspace = .byEmail) -> BenchContacts {
        BenchContacts(seed: settings.seed, hasPhone: workspace.hasPhone)
    }

    /// Starts contactsd on the run's database.
    func startServer(lanes: Int? = nil) throws -> ServerProcess {
        try ServerProcess.contactsd(contactsd, lanes: lanes ?? settings.lanes, cluster)
    }

    func add(_ figure: Figure) { report.figures.append(figure) }

    /// Keeps a run and tells of it.
    func add(_ record: RunRecord) {
        report.runs.append(record)
        var parts = [
            "\(record.scenario) \(record.pair): \(record.side.rawValue)",
            "\(ProgressText.grouped(record.contacts)) in \(record.seconds.places(2)) s",
            "\(ProgressText.grouped(Int(record.perSecond)))/s",
        ]
        if let server = record.serverMicroseconds { parts.append("server \(server.places(2)) µs") }
        if let p50 = record.p50 { parts.append("p50 \(p50.places(2)) ms") }
        if let p99 = record.p99 { parts.append("p99 \(p99.places(2)) ms") }
        if let note = record.note { parts.append(note) }
        Note.print(parts.joined(separator: ", "))
    }
}

extension ServerProcess {
    func configuration(_ workspace: BenchWorkspace = .byEmail) -> ContactsClient.Configuration {
        .init(port: port, workspace: workspace.name)
    }
}

extension Double {
    func places(_ places: Int) -> String {
        isFinite ? ProgressText.fixed(self, places: places) : "-"
    }
}

extension Report.Machine {
    static func here(postgres: String) -> Report.Machine {
        let lines = BenchFiles.text("/proc/cpuinfo").split(separator: "\n")
        let model = lines.first { $0.hasPrefix("model name") }?.split(separator: ":").last
        let kernel = BenchFiles.text("/proc/sys/kernel/osrelease")
        return Report.Machine(
            processor: (model ?? "unknown").trimmingCharacters(in: .whitespaces),
            cores: ProcessInfo.processInfo.activeProcessorCount,
            memoryMegabytes: Int(ProcessInfo.processInfo.physicalMemory >> 20),
            kernel: kernel.trimmingCharacters(in: .whitespacesAndNewlines), postgres: postgres,
            date: Date().ISO8601Format())
    }
}
