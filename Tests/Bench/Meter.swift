// What a run costs. In: the processes at work. Out: CPU time, bytes of log, peak memory, each from
// the kernel or from PostgreSQL itself. Any thread.

import Foundation
import Postgres

/// CPU time so far, in nanoseconds, and the end of PostgreSQL's log.
struct MeterReading {
    var server: Int64 = 0
    var client: Int64 = 0
    var database: Int64 = 0
    var wal: Int64 = 0
}

struct Meter {
    /// The processes whose CPU time counts as the client's.
    enum Client {
        /// This process.
        case own
        /// Programs that it has started and that have ended: psql.
        case children
    }

    /// `nil`: there is no database.
    let postmaster: Int32?
    /// `nil`: there is no server but PostgreSQL.
    let server: Int32?
    let client: Client
    /// Stays open, so that neither its beginning nor its end is measured.
    let connection: Connection?

    func read() throws -> MeterReading {
        var reading = MeterReading()
        reading.client = Self.ownTime(client)
        if let server { reading.server = Self.threadTime(server) }
        if let postmaster { reading.database = Self.treeTime(postmaster) }
        if let connection {
            let found = try connection.query("SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::int8")
            reading.wal = found.int64(0, 0) ?? 0
        }
        return reading
    }

    private static func ownTime(_ client: Client) -> Int64 {
        var usage = rusage()
        getrusage((client == .own ? RUSAGE_SELF : RUSAGE_CHILDREN).rawValue, &usage)
        return [usage.ru_utime, usage.ru_stime].reduce(0) {
            $0 + Int64($1.tv_sec) * 1_000_000_000 + Int64($1.tv_usec) * 1000
        }
    }

    /// Of all threads that live, to the nanosecond; a server's threads live as long as it does.
    private static func threadTime(_ process: Int32) -> Int64 {
        let tasks = "/proc/\(process)/task"
        let names = (try? FileManager.default.contentsOfDirectory(atPath: tasks)) ?? []
        return names.reduce(0) { sum, name in
            let text = BenchFiles.text("\(tasks)/\(name)/schedstat")
            return sum + (text.split(separator: " ").first.flatMap { Int64($0) } ?? 0)
        }
    }

    /// Of the postmaster, of its children that live, and of those that have ended.
    private static func treeTime(_ postmaster: Int32) -> Int64 {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        var ticks: Int64 = 0
        for name in names {
            guard let process = Int32(name), let fields = statFields(process) else { continue }
            // proc(5): the parent, then user and system time, then those of ended children.
            if process == postmaster {
                ticks += fields[11] + fields[12] + fields[13] + fields[14]
            } else if fields[1] == Int64(postmaster) {
                ticks += fields[11] + fields[12]
            }
        }
        return ticks * (1_000_000_000 / Int64(sysconf(CInt(_SC_CLK_TCK))))
    }

    /// The fields of /proc/PID/stat behind the program's name, which may hold anything; the first
    /// is a letter and counts as 0.
    private static func statFields(_ process: Int32) -> [Int64]? {
        let text = BenchFiles.text("/proc/\(process)/stat")
        guard let end = text.lastIndex(of: ")") else { return nil }
        let fields = text[text.index(after: end)...].split(whereSeparator: \.isWhitespace)
        guard fields.count > 14 else { return nil }
        return fields.map { Int64($0) ?? 0 }
    }

    /// VmHWM: the most memory that a process has had, in KiB.
    static func peakKilobytes(_ process: Int32) -> Int {
        let lines = BenchFiles.text("/proc/\(process)/status").split(separator: "\n")
        let line = lines.first { $0.hasPrefix("VmHWM:") } ?? ""
        return Int(line.filter(\.isNumber)) ?? 0
    }
}
