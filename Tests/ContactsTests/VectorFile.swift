// Reads the tables of test vectors.
// In: the name of a TSV file. Out: its rows, cells decoded.
// Any thread.

import Foundation
import Testing

struct VectorFile {
    /// The rows' cells; lines that begin with `#` are left out.
    let rows: [[String]]

    init(_ name: String) throws {
        let url = try #require(
            Bundle.module.url(forResource: name, withExtension: "tsv", subdirectory: "Vectors"))
        let text = try String(contentsOf: url, encoding: .utf8)
        rows = text.split(separator: "\n" as Character)
            .filter { !$0.hasPrefix("#") }
            .map { line in
                line.split(separator: "\t" as Character, omittingEmptySubsequences: false)
                    .map(String.init)
            }
    }

    /// The bytes of a cell: a JSON string, or `hex:` and digits for what is not UTF-8.
    static func bytes(_ cell: String) throws -> [UInt8] {
        guard cell.hasPrefix("hex:") else { return Array(try text(cell).utf8) }
        let digits = Array(cell.dropFirst(4))
        return try stride(from: 0, to: digits.count, by: 2).map { index in
            try #require(UInt8(String(digits[index...index + 1]), radix: 16))
        }
    }

    /// The text of a cell with a JSON string.
    static func text(_ cell: String) throws -> String {
        try JSONDecoder().decode(String.self, from: Data(cell.utf8))
    }
}

/// Marks what stands in an output before a rule writes to it.
let sentinel: [UInt8] = [1, 2, 3]
