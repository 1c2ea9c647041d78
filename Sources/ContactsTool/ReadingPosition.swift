// A place between two records of a file, from which it can be read on. A value.

/// Where a record ends and the next one begins.
package struct ReadingPosition: Sendable, Equatable {
    /// Bytes of the file before it.
    package var offset = 0
    /// The line that begins there, from 1.
    package var line = 1
    /// What is left of the line belongs to a record that was too long, and is dropped.
    package var skipsLine = false

    package init() {}

    package init(offset: Int, line: Int, skipsLine: Bool = false) {
        self.offset = offset
        self.line = line
        self.skipsLine = skipsLine
    }
}
