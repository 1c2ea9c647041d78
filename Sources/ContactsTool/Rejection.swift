// The two ways in which input can be wrong: one record is refused and set aside (`Rejection`), or
// the file as a whole cannot be read (`FormatError`). Values, made on the reading task.

/// Why one record is refused: the stable word, the field, and what to do about it.
package struct Rejection: Sendable, Equatable {
    /// The server's word where the fault is the same, else one of `LocalReason`.
    package var reason: String
    /// The field or column at fault; empty when it is the record as a whole.
    package var field: String
    /// For people.
    package var message: String
    /// The column at fault, counted from 0, while its name is not known yet.
    var column: Int?

    package init(_ reason: String, field: String = "", column: Int? = nil, _ message: String) {
        self.reason = reason
        self.field = field
        self.column = column
        self.message = message
    }
}

/// The words of faults that only a file can have. What the server would say too goes by its word.
package enum LocalReason {
    /// A CSV row has more or fewer fields than the header.
    package static let raggedRow = "RAGGED_ROW"
    /// A quoted field is never closed.
    package static let unclosedQuote = "UNCLOSED_QUOTE"
    /// Something stands between a closing quote and the delimiter.
    package static let textAfterQuote = "TEXT_AFTER_QUOTE"
    /// A record is longer than a contact can be.
    package static let recordTooLong = "RECORD_TOO_LONG"
    /// A line is not one JSON object.
    package static let jsonInvalid = "JSON_INVALID"
    /// A JSON object has a key that means nothing here.
    package static let keyUnknown = "KEY_UNKNOWN"
}

/// The file as a whole cannot be read as what it was taken for.
package struct FormatError: Error, Sendable, Equatable, CustomStringConvertible {
    package var description: String

    package init(_ description: String) {
        self.description = description
    }
}

package enum InputLimits {
    /// The longest record that is looked at: ten times the largest contact that a server takes, so
    /// that an unclosed quote is noticed long before it has swallowed the file.
    package static let recordBytes = 1 << 20
}

enum ASCII {
    static let nul: UInt8 = 0x00
    static let tab: UInt8 = 0x09
    static let lineFeed: UInt8 = 0x0A
    static let carriageReturn: UInt8 = 0x0D
    static let space: UInt8 = 0x20
    static let quote: UInt8 = 0x22
    static let comma: UInt8 = 0x2C
    static let backslash: UInt8 = 0x5C
}
