// contacts export: writes contacts to a file that `contacts import` takes back. In: flags. Out: the
// file, or standard output; a summary on standard error; an exit code. On the main task, with a
// task for the progress and one for the work, which Ctrl-C cancels.

import ArgumentParser
import ContactsClient
import ContactsTool

struct ExportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Writes all contacts, or those of a list, as CSV or NDJSON.",
        discussion: """
            contacts export --workspace old | contacts import - --workspace new

            The contacts come in the order of their ids, each with email, phone, external_id, \
            name, first_name, last_name and its custom fields. In CSV these stand in one column, \
            "fields", as a JSON object that keeps their kinds. Lists and times are left out: they \
            are the workspace's own. With --with-ids the file can change contacts by \
            import --match-by id.

            A file is there as a whole or not at all.
            """)

    @OptionGroup var server: ServerOptions

    @Option(help: "csv or ndjson; else by the name of the file, else csv.")
    var format: FileFormat?

    @Option(help: ArgumentHelp("Only the contacts of this list.", valueName: "id"))
    var list: Int64?

    @Flag(name: .customLong("with-ids"), help: "Writes ids too.")
    var withIDs = false

    @Option(
        name: [.short, .long],
        help: ArgumentHelp("Where to write; - is standard output.", valueName: "file"))
    var output = "-"

    @Option(help: "auto, bar, plain or none.")
    var progress = ProgressStyle.auto

    func run() async throws {
        let configuration = try server.configuration()
        do {
            // Before the connection, see there.
            let file = try ExportFile(path: output)
            let exporter = Exporter(options: options)
            let work = Task {
                let client = try await ContactsClient.connect(configuration)
                try await exporter.run(client: client, file: file)
                await client.close()
            }
            let interrupt = Interrupt {
                file.interrupt()
                work.cancel()
            }
            defer { interrupt.cancel() }
            let result = await reporting(exporter) { await work.result }
            try finish(result, exporter, file)
        } catch let code as ExitCode {
            throw code
        } catch {
            throw Terminal.exitCode(error)
        }
    }

    private func reporting<Value>(
        _ exporter: Exporter, _ body: () async -> Value
    ) async -> Value {
        let reporter = ProgressReporter(style: progress) { exporter.progress() }
        let task = Task { await reporter.run() }
        let value = await body()
        task.cancel()
        await task.value
        return value
    }

    private func finish(
        _ result: Result<Void, any Error>, _ exporter: Exporter, _ file: ExportFile
    ) throws {
        file.discard()
        if exporter.progress().rows > 0 || (try? result.get()) != nil {
            Terminal.note(exporter.summary)
        }
        guard case .failure(let error) = result else { return }
        Terminal.note(
            output == "-" ? "the output is not whole\n" : "\(output) was not written\n")
        if file.wasInterrupted { throw Interrupt.exitCode }
        throw error
    }

    private var options: Exporter.Options {
        var options = Exporter.Options()
        let named = FileFormat.detect(name: output, beginning: [])
        options.format = format ?? named ?? .csv
        options.listID = list
        options.writesIDs = withIDs
        return options
    }
}
