// In: the arguments of a process. Out: a command that a person can paste into a shell. Pure.

package enum CommandText {
    /// The command that goes on with an import which was begun with these arguments.
    package static func resuming(_ arguments: [String]) -> String {
        let flag = "--resume"
        var words = Array(arguments.drop { $0 != "import" }.dropFirst())
        words.removeAll { $0 == flag }
        return (["contacts", "import", flag] + words.map(quoted)).joined(separator: " ")
    }

    /// The word as a shell takes it for one.
    static func quoted(_ word: String) -> String {
        let isPlain = word.allSatisfy { character in
            character.isASCII
                && (character.isLetter || character.isNumber || "-_./:=,@%+".contains(character))
        }
        if isPlain, !word.isEmpty { return word }
        return "'" + word.replacing("'", with: "'\\''") + "'"
    }
}
