// contacts get: looks contacts up. In: keys. Out: records on standard output, what was not found
// on standard error. On the main task.

import ArgumentParser
import ContactsClient
import ContactsTool

struct GetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "get",
        abstract: "Prints contacts.",
        discussion: "Exits with 1 when one was not found. The JSON can be imported again.")

    @OptionGroup var server: ServerOptions

    @Argument(help: "Ids, emails, phone numbers or external ids.")
    var keys: [String]

    @Option(help: "What the keys are: id, email, phone or external-id; else each is guessed.")
    var by: Matching?

    @Flag(help: "Prints one JSON object a line.")
    var json = false

    func run() async throws {
        let configuration = try server.configuration()
        let keys = self.keys.map(key)
        var missing = 0
        do {
            let client = try await ContactsClient.connect(configuration)
            let records = try await client.getContacts(keys)
            await client.close()
            for (index, record) in records.enumerated() {
                if let record {
                    try Terminal.output(json ? record.json : text(record, isFirst: index == 0))
                } else {
                    missing += 1
                    Terminal.note("not found: \(keys[index].text)\n")
                }
            }
        } catch {
            throw Terminal.exitCode(error)
        }
        if missing > 0 { throw ExitCode(ExitStatus.someFailed) }
    }

    private func text(_ record: ContactRecord, isFirst: Bool) -> [UInt8] {
        Array(((isFirst ? "" : "\n") + record.text).utf8)
    }

    private func key(_ text: String) -> ContactKey {
        switch by {
        case .id: .id(text)
        case .email: .email(text)
        case .phone: .phone(text)
        case .externalID: .externalID(text)
        case nil: ContactKey(guessing: text)
        }
    }
}
