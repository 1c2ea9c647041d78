// The flags of an import that the server is told as they are. In: arguments. Out: options.

import ArgumentParser
import ContactsClient

struct UpsertFlags: ParsableArguments {
    enum Rule: String, ExpressibleByArgument, CaseIterable {
        case upsert, createOnly = "create-only", updateOnly = "update-only"
    }

    @Option(
        help: """
            upsert, create-only (a contact that is there fails) or update-only (one that is not \
            there fails).
            """)
    var existence = Rule.upsert

    @Option(
        name: .customLong("list"),
        help: ArgumentHelp(
            "Every contact joins this list; may be given more than once.", valueName: "id"))
    var lists: [Int64] = []

    @Flag(help: "Writes an event for each contact that is created or updated.")
    var runWorkflow = false

    @Flag(
        help: "Dry run: says what would happen and stores nothing. Refused records are set aside.")
    var dryRun = false

    @Option(
        name: .customLong("import-id"),
        help: ArgumentHelp(
            "Names the import on the server, 1 to 128 characters; not with more --streams.",
            valueName: "id"))
    var importID: String?

    @Option(
        name: .customLong("label"),
        help: ArgumentHelp(
            "Is kept with the import; may be given more than once.", valueName: "key=value"))
    var labels: [String] = []

    @Option(
        help: ArgumentHelp(
            "Stops once so many records have failed, those refused while reading included.",
            valueName: "n"))
    var maxFailures: UInt64?

    func validate() throws {
        if importID?.isEmpty == true { throw ValidationError("--import-id is empty") }
        if maxFailures == 0 { throw ValidationError("--max-failures has to be at least 1") }
        _ = try pairs()
    }

    /// Puts the flags into the options.
    func apply(to options: inout UpsertOptions) throws {
        options.existence =
            switch existence {
            case .upsert: .upsert
            case .createOnly: .createOnly
            case .updateOnly: .updateOnly
            }
        options.listIDs = lists
        options.runWorkflow = runWorkflow
        options.validateOnly = dryRun
        options.importID = importID ?? ""
        options.labels = try pairs()
        options.maxFailures = maxFailures ?? 0
    }

    private func pairs() throws -> [String: String] {
        var pairs: [String: String] = [:]
        for label in labels {
            guard let equals = label.firstIndex(of: "="), equals != label.startIndex else {
                throw ValidationError("--label has to be KEY=VALUE, such as source=fair")
            }
            pairs[String(label[..<equals])] = String(label[label.index(after: equals)...])
        }
        return pairs
    }
}
