// contacts health: asks whether the server can commit contacts. In: flags. Out: one word on standard
// output, an exit code. On the main task.

import ArgumentParser
import ContactsClient
import ContactsTool

struct HealthCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "health",
        abstract: "Prints SERVING or NOT_SERVING.",
        discussion: "Exits with 0 when the server can commit contacts, with 1 when it cannot.")

    @OptionGroup var server: ServerOptions

    func run() async throws {
        let configuration = try server.configuration()
        let status: ServingStatus
        do {
            let client = try await ContactsClient.connect(configuration)
            status = try await client.health()
            await client.close()
            try Terminal.output(Array("\(word(status))\n".utf8))
        } catch {
            throw Terminal.exitCode(error)
        }
        if status != .serving { throw ExitCode(ExitStatus.someFailed) }
    }

    private func word(_ status: ServingStatus) -> String {
        switch status {
        case .serving: "SERVING"
        case .notServing: "NOT_SERVING"
        case .unknown: "UNKNOWN"
        }
    }
}
