// In: what somebody wrote for a server, and the environment. Out: where to connect. Pure.

package import ContactsClient

package enum ServerAddress {
    private static let defaultPort = 50051

    /// Reads `HOST:PORT`, `HOST` or `[IPv6]:PORT`; nil when it is none.
    package static func parse(_ text: String) -> (host: String, port: Int)? {
        var host = text[...]
        var port: Int? = defaultPort
        if text.hasPrefix("["), let end = text.firstIndex(of: "]") {
            host = text[text.index(after: text.startIndex)..<end]
            let rest = text[text.index(after: end)...]
            guard rest.isEmpty || rest.hasPrefix(":") else { return nil }
            if !rest.isEmpty { port = Int(rest.dropFirst()) }
        } else if let colon = text.lastIndex(of: ":") {
            host = text[..<colon]
            guard !host.contains(":") else { return nil }
            port = Int(text[text.index(after: colon)...])
        }
        guard let port, (1...65535).contains(port), !host.isEmpty else { return nil }
        return (String(host), port)
    }

    /// Where to connect: what the flags say, else the environment, else this machine.
    package static func configuration(
        server: String?, workspace: String?, environment: [String: String]
    ) -> ContactsClient.Configuration? {
        let text = server ?? environment["CONTACTS_SERVER"] ?? "127.0.0.1"
        guard let (host, port) = parse(text) else { return nil }
        let workspace = workspace ?? environment["CONTACTS_WORKSPACE"]
        return ContactsClient.Configuration(
            host: host, port: port, workspace: workspace?.isEmpty == true ? nil : workspace)
    }
}
