// What a key may do. Plain values, any thread.

/// Rights, as they are stored and listed.
package struct Rights: OptionSet, Sendable, Hashable {
    package let rawValue: Int16

    package init(rawValue: Int16) { self.rawValue = rawValue }

    /// To upsert contacts, and to make and delete lists.
    package static let write = Rights(rawValue: 1)
    /// To look contacts, lists, imports and events up.
    package static let read = Rights(rawValue: 2)
    /// All of it.
    package static let admin = Rights(rawValue: 4)

    private static let names: [(Rights, String)] = [
        (.write, "write"), (.read, "read"), (.admin, "admin"),
    ]

    /// Reads a list such as `write,read`; `nil` if it is empty or has another word.
    package init?(list: String) {
        var rights: Rights = []
        for word in list.split(separator: ",", omittingEmptySubsequences: false) {
            guard let right = Self.names.first(where: { $0.1 == word }) else { return nil }
            rights.insert(right.0)
        }
        self = rights
    }

    /// The list that `init(list:)` reads.
    package var list: String {
        Self.names.filter { contains($0.0) }.map(\.1).joined(separator: ",")
    }

    /// Whether they are enough for something that any of some rights allows.
    package func allow(_ any: Rights) -> Bool {
        contains(.admin) || !isDisjoint(with: any)
    }
}
