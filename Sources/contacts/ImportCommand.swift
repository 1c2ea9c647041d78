// contacts import: sends a file and says what became of it. In: flags. Out: rejects beside the
// file, a summary, an exit code. On the main task, with a task for the progress.

import ArgumentParser
import ContactsClient
import ContactsTool
import Foundation

extension FileFormat: ExpressibleByArgument {}
extension UnknownKeys: ExpressibleByArgument {}
extension ProgressStyle: ExpressibleByArgument {}

enum Matching: String, ExpressibleByArgument, CaseIterable {
    case email, phone, externalID = "external-id", id

    var matchBy: MatchBy {
        switch self {
        case .email: .email
        case .phone: .phone
        case .externalID: .externalID
        case .id: .id
        }
    }
}

enum Mode: String, ExpressibleByArgument, CaseIterable {
    case merge, replace
}

struct ImportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Imports contacts from a CSV or NDJSON file.",
        discussion: """
            CSV: the first line names the columns. Names such as "E-Mail", "Phone Number" or \
            "first_name" are known in any spelling; every other column becomes a custom field, \
            typed by a suffix: age:integer, score:number, active:boolean, joined:timestamp. The \
            column "fields" holds custom fields in one JSON object, as in NDJSON; that is how \
            contacts export writes them. In a file with that column a cell of spaces in quotes is \
            a text, and not as good as empty.

            NDJSON: one object a line with the keys email, phone, external_id, id, name, \
            first_name, last_name, list_ids and fields (an object of custom fields; a time is \
            {"timestamp":"2024-01-31T09:30:00Z"}; null removes a field). An empty text clears a \
            standard field, null leaves it. An unknown key is refused, see --unknown-keys.

            Refused records are set aside with their original bytes in FILE.rejects.csv, the \
            reasons beside it, so that they can be mended and imported again.

            While it lasts, FILE.import-state.json says how far it is; --resume goes on from there. \
            Ctrl-C waits for what was sent; a second one ends at once.
            """)

    @OptionGroup var server: ServerOptions

    @Argument(help: "The file; - reads standard input.")
    var file: String

    @Option(help: "csv or ndjson; else found out.")
    var format: FileFormat?

    @Option(help: "What finds an existing contact: email, phone, external-id or id.")
    var matchBy = Matching.email

    @Option(help: "merge keeps the fields that a record leaves out, replace clears them.")
    var mode = Mode.merge

    @OptionGroup var upsert: UpsertFlags

    @Option(
        help: """
            Calls at the same time. One keeps the file's order, so that of two records of one \
            contact the later one stands; more give that up for speed.
            """)
    var streams = 1

    @Option(help: "Contacts in a message.")
    var chunk = 500

    @Option(
        name: .customLong("map"),
        help: ArgumentHelp(
            "Names a field's column, such as email=E-Mail or age:integer=Alter.",
            valueName: "field=column"))
    var maps: [String] = []

    @Option(help: ArgumentHelp("Leaves a column out.", valueName: "column"))
    var ignore: [String] = []

    @Option(help: "The character between the fields, or tab; else found out.")
    var delimiter: String?

    @Option(help: "reject, field (make it a custom field) or ignore.")
    var unknownKeys = UnknownKeys.reject

    @Flag(help: "An empty cell, or null in JSON, clears the field instead of leaving it.")
    var emptyClears = false

    @Option(help: "The country code of phone numbers that have none, such as 1.")
    var dialCode: String?

    @Option(
        help: ArgumentHelp(
            """
            How long to go on without progress once the server was reached, when it goes away or \
            cannot work; 0: not at all.
            """, valueName: "seconds"))
    var retryFor = 600

    @Option(help: ArgumentHelp("Where refused records go.", valueName: "path"))
    var rejects: String?

    @Flag(help: "Prints the summary as JSON on standard output.")
    var json = false

    @Option(help: "auto, bar, plain or none.")
    var progress = ProgressStyle.auto

    @Flag(
        help: """
            Goes on where an import of the file broke off, with the same options; not for standard \
            input, more --streams or a dry run.
            """)
    var resume = false

    func validate() throws {
        guard streams > 0, chunk > 0 else {
            throw ValidationError("--streams and --chunk have to be at least 1")
        }
        guard retryFor >= 0 else { throw ValidationError("--retry-for has to be 0 or more") }
        if streams > 1, upsert.importID != nil {
            throw ValidationError(
                "--import-id names one call and its order; it does not go with --streams "
                    + "\(streams)")
        }
        if resume, file == "-" || streams > 1 || upsert.dryRun {
            throw ValidationError(
                "--resume does not go with standard input, more --streams or --dry-run: "
                    + "they keep no state")
        }
        if let rejects, path(rejects) == path(file) {
            throw ValidationError("--rejects names the file itself, which it would overwrite")
        }
        _ = try (mappings(), delimiterByte())
    }

    func run() async throws {
        let configuration = try server.configuration()
        do {
            let input = try InputFile(path: file)
            var importer = Importer(input: input, options: try options())
            let interrupt = Interrupt { input.interrupt() }
            defer { interrupt.cancel() }
            let understood = try await importer.understand()
            Terminal.note(
                "\(file): \(understood); matched by \(matchBy.rawValue), \(mode.rawValue), "
                    + "to \(configuration.host):\(configuration.port)"
                    + (upsert.dryRun ? "; a dry run, nothing is stored\n" : "\n"))
            if let note = try importer.lookBack(workspace: configuration.workspace) {
                Terminal.note("\(file): \(note)\n")
            }
            let result = await transfer(&importer, configuration)
            if input.wasInterrupted, case .failure = result {
                throw Interrupt.exitCode
            }
            let (report, failure) = try result.get()
            try finish(report, failure)
        } catch let code as ExitCode {
            throw code
        } catch {
            throw Terminal.exitCode(error)
        }
    }

    private func transfer(
        _ importer: inout Importer, _ configuration: ContactsClient.Configuration
    ) async -> Result<(report: ImportReport, failure: (any Error)?), any Error> {
        var task: Task<Void, Never>?
        do {
            let result = try await importer.run(configuration) { progress in
                let reporter = ProgressReporter(style: self.progress, snapshot: progress)
                task = Task { await reporter.run() }
            }
            await end(task)
            return .success(result)
        } catch {
            await end(task)
            return .failure(error)
        }
    }

    private func end(_ task: Task<Void, Never>?) async {
        task?.cancel()
        await task?.value
    }

    private func finish(_ report: ImportReport, _ failure: (any Error)?) throws {
        Terminal.note(report.text)
        if json { try Terminal.output(report.json) }
        let failed = failure.map(Terminal.exitCode)
        if report.statePath != nil {
            Terminal.note("to go on with it: \(CommandText.resuming(CommandLine.arguments))\n")
        }
        if report.wasInterrupted { throw Interrupt.exitCode }
        if let failed { throw failed }
        if report.failed > 0 { throw ExitCode(ExitStatus.someFailed) }
    }

    private func path(_ path: String) -> String {
        URL(fileURLWithPath: path).resolvingSymlinksInPath().path
    }

    private func options() throws -> Importer.Options {
        var options = Importer.Options()
        options.reading.format = format
        options.reading.delimiter = try delimiterByte()
        options.reading.unknownKeys = unknownKeys
        options.reading.mapping.map = try mappings()
        options.reading.mapping.ignore = ignore
        options.reading.mapping.emptyClears = emptyClears
        options.reading.mapping.matchBy = matchBy.matchBy
        try upsert.apply(to: &options.upsert)
        options.upsert.matchBy = matchBy.matchBy
        options.upsert.writeMode = mode == .merge ? .merge : .replace
        options.upsert.defaultDialCode = dialCode ?? ""
        options.streams = streams
        options.chunk = chunk
        options.rejectsPath = rejects
        options.resumes = resume
        options.retry.patience = .seconds(retryFor)
        return options
    }

    private func mappings() throws -> [(field: String, column: String)] {
        try maps.map { map in
            guard let equals = map.firstIndex(of: "="), equals != map.startIndex,
                map.index(after: equals) != map.endIndex
            else {
                throw ValidationError("--map has to be FIELD=COLUMN, such as email=E-Mail")
            }
            return (String(map[..<equals]), String(map[map.index(after: equals)...]))
        }
    }

    private func delimiterByte() throws -> UInt8? {
        guard let delimiter else { return nil }
        if delimiter == "tab" || delimiter == "\\t" { return UInt8(ascii: "\t") }
        guard delimiter.utf8.count == 1, let byte = delimiter.utf8.first,
            byte != UInt8(ascii: "\""), byte != 0x0A, byte != 0x0D
        else { throw ValidationError("--delimiter has to be one ASCII character, or tab") }
        return byte
    }
}
