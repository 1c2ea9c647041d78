// What a bench has measured, as it is written to JSON and read back for the plot. Values.

import Foundation

/// One run of one side.
struct RunRecord: Codable, Sendable {
    enum Side: String, Codable, Sendable {
        case psql
        case service
        /// Single statements over libpq.
        case libpq
    }

    var scenario = ""
    var side: Side
    /// Counted from 1.
    var pair = 1
    var contacts: Int
    var seconds: Double
    var perSecond: Double
    /// CPU time, microseconds a contact.
    var serverMicroseconds: Double?
    var clientMicroseconds: Double?
    var databaseMicroseconds: Double?
    /// Bytes of PostgreSQL's log, a contact.
    var walBytes: Double?
    var peakKilobytes: Int?
    /// Milliseconds from sending to result.
    var p50: Double?
    var p99: Double?
    /// Anything that tells the runs of a scenario apart.
    var note: String?

    init(side: Side, contacts: Int, seconds: Double) {
        self.side = side
        self.contacts = contacts
        self.seconds = seconds
        perSecond = seconds > 0 ? Double(contacts) / seconds : 0
    }

    init(
        side: Side, contacts: Int, seconds: Double, from before: MeterReading,
        to after: MeterReading
    ) {
        self.init(side: side, contacts: contacts, seconds: seconds)
        func each(_ amount: Int64) -> Double { Double(amount) / Double(max(contacts, 1)) }
        serverMicroseconds = side == .service ? each(after.server - before.server) / 1000 : nil
        clientMicroseconds = each(after.client - before.client) / 1000
        databaseMicroseconds = each(after.database - before.database) / 1000
        walBytes = each(after.wal - before.wal)
    }
}

/// One number of the report, with its target if it has one.
struct Figure: Codable, Sendable {
    enum Bound: String, Codable, Sendable {
        case atLeast = ">="
        case atMost = "<="
    }

    var scenario: String
    var name: String
    /// The median of the runs or pairs.
    var value: Double
    var low: Double
    var high: Double
    var unit: String
    var bound: Bound?
    var target: Double?

    /// `nil` without a target.
    var isMet: Bool? {
        guard let bound, let target else { return nil }
        return bound == .atLeast ? value >= target : value <= target
    }

    init(
        _ scenario: String, _ name: String, _ values: [Double], unit: String,
        _ bound: Bound? = nil, _ target: Double? = nil
    ) {
        self.scenario = scenario
        self.name = name
        value = values.median
        low = values.min() ?? .nan
        high = values.max() ?? .nan
        self.unit = unit
        self.bound = bound
        self.target = target
    }
}

/// A comparison with psql: a pair of bars of the plot.
struct Comparison: Codable, Sendable {
    var scenario: String
    var title: String
    var psqlPerSecond: Double
    var servicePerSecond: Double
    var ratio: Figure
}

struct Report: Codable, Sendable {
    struct Machine: Codable, Sendable {
        var processor: String
        var cores: Int
        var memoryMegabytes: Int
        var kernel: String
        var postgres: String
        var date: String
    }

    struct Settings: Codable, Sendable {
        var contacts: Int
        var pairs: Int
        var seed: UInt64
        var sharedBuffersMegabytes: Int
        var lanes: Int?
    }

    var machine: Machine
    var settings: Settings
    /// PostgreSQL's.
    var database: [String: String] = [:]
    var comparisons: [Comparison] = []
    var figures: [Figure] = []
    var runs: [RunRecord] = []

    var json: Data {
        get throws {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
            encoder.nonConformingFloatEncodingStrategy = .convertToString(
                positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
            return try encoder.encode(self)
        }
    }

    init(machine: Machine, settings: Settings) {
        self.machine = machine
        self.settings = settings
    }

    init(json: Data) throws {
        let decoder = JSONDecoder()
        decoder.nonConformingFloatDecodingStrategy = .convertFromString(
            positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        self = try decoder.decode(Report.self, from: json)
    }
}

extension [Double] {
    /// Not a number when there is none.
    var median: Double {
        guard !isEmpty else { return .nan }
        let sorted = sorted()
        let middle = count / 2
        return count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    }
}
