// How far an import of a file has come, so that another run can go on with it: a value, and its
// JSON. Pure.

import ContactsClient

package struct SavedImport: Sendable, Equatable {
    /// How long the files of rejects were.
    package struct Rejects: Sendable, Equatable {
        package var count = 0
        package var bytes = 0
        package var reasonsBytes = 0

        package init() {}
    }

    /// Another layout has another number.
    private static let version = 1

    /// The import's id on the server.
    package var importID: String
    package var file: FileIdentity
    /// The options that say what the file means, each by its flag.
    package var options: [String: String]
    /// Behind the last record that is decided.
    package var position: ReadingPosition
    /// The number of the last contact that is decided.
    package var sequence: UInt64 = 0
    /// The counts of the records before the position.
    package var report = ImportReport()
    package var rejects = Rejects()

    package init(importID: String, file: FileIdentity, options: [String: String]) {
        self.importID = importID
        self.file = file
        self.options = options
        position = ReadingPosition()
    }

    package var json: [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in
            writer.set("version", Self.version)
            writer.set("import_id", importID)
            writer.object("file") { writer in
                writer.set("bytes", file.byteCount)
                writer.set("modified", file.modified)
                writer.set("fingerprint", file.fingerprint)
            }
            writer.object("options") { writer in
                for (flag, value) in options.sorted(by: { $0.key < $1.key }) {
                    writer.set(flag, value)
                }
            }
            writer.object("position") { writer in
                writer.set("offset", position.offset)
                writer.set("line", position.line)
                writer.set("skips_line", position.skipsLine)
                writer.set("sequence", sequence)
            }
            write(report, to: &writer)
            writer.object("rejects") { writer in
                writer.set("count", rejects.count)
                writer.set("bytes", rejects.bytes)
                writer.set("reasons_bytes", rejects.reasonsBytes)
            }
        }
        writer.endLine()
        return writer.bytes
    }

    private func write(_ report: ImportReport, to writer: inout JSONWriter) {
        writer.object("counts") { writer in
            writer.set("created", report.created)
            writer.set("updated", report.updated)
            writer.set("unchanged", report.unchanged)
            writer.set("replayed", report.replayed)
            writer.set("failed", report.failed)
            writer.set("seconds", report.seconds)
        }
        writer.object("failed_by_reason") { writer in
            for (reason, count) in report.reasons { writer.set(reason, count) }
        }
    }

    /// Reads the JSON; nil when it is not whole or of another version.
    package init?(json: [UInt8]) {
        guard let value = try? JSONText.parse(json), let root = JSONFields(value),
            root.integer("version") == Self.version, let importID = root.string("import_id"),
            let file = root.fields("file"), let options = root.fields("options"),
            let position = root.fields("position"), let counts = root.fields("counts"),
            let reasons = root.fields("failed_by_reason"), let rejects = root.fields("rejects"),
            let byteCount = file.integer("bytes"), let modified = file.integer("modified"),
            let fingerprint = file.string("fingerprint"), let offset = position.integer("offset"),
            let line = position.integer("line"), let skipsLine = position.boolean("skips_line"),
            let sequence = position.integer("sequence"), offset >= 0, line > 0, sequence >= 0,
            let report = ImportReport(counts, reasons), let rejectCount = rejects.integer("count"),
            let bytes = rejects.integer("bytes"),
            let reasonsBytes = rejects.integer("reasons_bytes")
        else { return nil }
        self.init(
            importID: importID,
            file: FileIdentity(
                byteCount: byteCount, modified: modified, fingerprint: fingerprint),
            options: options.strings)
        self.position = ReadingPosition(offset: offset, line: line, skipsLine: skipsLine)
        self.sequence = UInt64(sequence)
        self.report = report
        self.rejects.count = rejectCount
        self.rejects.bytes = bytes
        self.rejects.reasonsBytes = reasonsBytes
    }
}

extension ImportReport {
    fileprivate init?(_ counts: JSONFields, _ reasons: JSONFields) {
        self.init()
        guard let created = counts.integer("created"), let updated = counts.integer("updated"),
            let unchanged = counts.integer("unchanged"),
            let replayed = counts.integer("replayed"), let failed = counts.integer("failed"),
            let seconds = counts.number("seconds")
        else { return nil }
        self.created = created
        self.updated = updated
        self.unchanged = unchanged
        self.replayed = replayed
        self.failed = failed
        self.seconds = seconds
        failedByReason = reasons.integers
        read = settled
    }
}

/// The members of a JSON object.
private struct JSONFields {
    private let members: [String: JSONValue]

    init?(_ value: JSONValue?) {
        guard case .object(let members) = value else { return nil }
        self.members = Dictionary(members.map { ($0.key, $0.value) }, uniquingKeysWith: { $1 })
    }

    func fields(_ key: String) -> JSONFields? { JSONFields(members[key]) }

    func integer(_ key: String) -> Int? {
        if case .integer(let number) = members[key] { Int(number) } else { nil }
    }

    func number(_ key: String) -> Double? {
        if case .number(let number) = members[key] { return number }
        return integer(key).map(Double.init)
    }

    func string(_ key: String) -> String? {
        if case .string(let text) = members[key] { text } else { nil }
    }

    func boolean(_ key: String) -> Bool? {
        if case .boolean(let flag) = members[key] { flag } else { nil }
    }

    var strings: [String: String] {
        members.compactMapValues { if case .string(let text) = $0 { text } else { nil } }
    }

    var integers: [String: Int] {
        members.compactMapValues { if case .integer(let number) = $0 { Int(number) } else { nil } }
    }
}
