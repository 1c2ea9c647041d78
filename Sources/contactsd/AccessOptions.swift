// Whether callers need a key. Flags win over the environment.

import Access
import ArgumentParser
import Foundation

struct AccessOptions: ParsableArguments {
    /// What `--auth` may be.
    enum Auth: String, ExpressibleByArgument, CaseIterable {
        case auto, always, never
    }

    @Option(
        help: ArgumentHelp(
            "Whether callers need a key: auto, always or never.",
            discussion: """
                auto: once any key was made, and wherever --listen is not a loopback address. A key \
                that is presented counts in every case. Else CONTACTS_AUTH, else auto.
                """))
    var auth: Auth?

    /// - Parameter host: Where the server listens.
    func demand(listeningOn host: String) throws -> KeyTable.Demand {
        let variable = ProcessInfo.processInfo.environment["CONTACTS_AUTH"]
        let named = variable.flatMap(Auth.init(rawValue:))
        guard auth != nil || variable == nil || named != nil else {
            throw ValidationError("CONTACTS_AUTH: give auto, always or never")
        }
        switch auth ?? named ?? .auto {
        case .always: return .always
        case .never: return .never
        case .auto: return Self.isLoopback(host) ? .onceMade : .always
        }
    }

    /// RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.3.
    static func isLoopback(_ host: String) -> Bool {
        if host == "localhost" || host == "::1" { return true }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }
}
