// In: a connection. Out: all contacts of a workspace or a list in a file. The server sends only as
// fast as the file takes it, so memory does not grow with the export. One task.

package import ContactsClient
import Synchronization

package struct Exporter: Sendable {
    /// What the caller asks of an export.
    package struct Options: Sendable {
        package var format = FileFormat.csv
        /// nil: all contacts.
        package var listID: Int64?
        package var writesIDs = false

        package init() {}
    }

    /// So much is gathered before it is written.
    private static let bufferBytes = 256 * 1024

    private let options: Options
    private let tally = ExportTally()

    package init(options: Options) {
        self.options = options
    }

    /// How far the export is.
    package func progress() -> ProgressSnapshot {
        var progress = ProgressSnapshot()
        progress.rows = tally.contacts.load(ordering: .relaxed)
        progress.failed = nil
        progress.seconds = tally.seconds
        return progress
    }

    /// Writes the contacts, in the order of their ids.
    ///
    /// - Throws: `ClientError`, `FileError`; anything at all once the file was interrupted.
    package func run(client: ContactsClient, file: ExportFile) async throws {
        var writer = ContactWriter(format: options.format, writesIDs: options.writesIDs)
        for try await records in client.exportContacts(listID: options.listID) {
            for record in records {
                writer.append(record.contact)
                if writer.bytes.count >= Self.bufferBytes { try await flush(&writer, file) }
            }
            tally.contacts.wrappingAdd(records.count, ordering: .relaxed)
        }
        try await flush(&writer, file)
        try file.finish()
    }

    private func flush(_ writer: inout ContactWriter, _ file: ExportFile) async throws {
        try await file.write(writer.bytes)
        tally.bytes.wrappingAdd(writer.bytes.count, ordering: .relaxed)
        writer.removeAll()
    }

    /// The counts, for people.
    package var summary: String {
        let contacts = tally.contacts.load(ordering: .relaxed)
        let seconds = tally.seconds
        let rate = seconds > 0 ? Int(Double(contacts) / seconds) : 0
        return ProgressText.table([
            ("exported", ProgressText.grouped(contacts)),
            ("bytes", ProgressText.grouped(tally.bytes.load(ordering: .relaxed))),
            ("seconds", ProgressText.fixed(seconds, places: 1)),
            ("contacts/s", ProgressText.grouped(rate)),
        ])
    }
}

/// The counts of an export, for the task that shows them.
private final class ExportTally: Sendable {
    let contacts = Atomic<Int>(0)
    let bytes = Atomic<Int>(0)
    private let start = ContinuousClock.now

    var seconds: Double { (ContinuousClock.now - start).seconds }
}
