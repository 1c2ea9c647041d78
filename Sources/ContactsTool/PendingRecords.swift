// In: records as they are sent, or refused before that, and results as they come. Out: each record
// with what became of it, in the order of the file. Holds the original bytes of what has no result
// yet and nothing else. One for each stream; pure.

package import ContactsClient

/// A record whose original bytes are still needed.
package struct PendingRecord: Sendable, Equatable {
    package var line: Int
    package var bytes: [UInt8]
    /// Where it ends.
    package var end: ReadingPosition

    package init(line: Int, bytes: [UInt8], end: ReadingPosition = ReadingPosition()) {
        self.line = line
        self.bytes = bytes
        self.end = end
    }
}

package struct PendingRecords: Sendable {
    private struct Entry {
        var record: PendingRecord
        /// Set when the record was refused before it was sent; then it has no number.
        var rejection: Rejection?
    }

    /// What became of one record.
    package enum Outcome: Sendable {
        case stored(ContactResult)
        case rejected(PendingRecord, sequence: UInt64?, Rejection)
    }

    /// A result came that no record waits for.
    package struct Mismatch: Error, CustomStringConvertible {
        var expected: UInt64
        var received: UInt64

        package var description: String {
            "the server answered contact \(received) where \(expected) was next; "
                + "what is stored can be seen by importing the file again"
        }
    }

    private var entries: [Entry] = []
    private var head = 0
    private var nextResult: UInt64 = 1
    /// Original bytes that are held.
    package private(set) var byteCount = 0
    /// All lines up to this one are decided.
    package private(set) var settledLine = 0
    /// Where the last of these ends; nil when there is none.
    package private(set) var settledEnd: ReadingPosition?

    /// - Parameters:
    ///   - sequence: The number of the last contact that is decided already.
    ///   - line: All lines up to this one are.
    package init(after sequence: UInt64 = 0, line: Int = 0) {
        nextResult = sequence + 1
        settledLine = line
    }

    /// The number of the last contact that is decided.
    package var lastSequence: UInt64 { nextResult - 1 }

    /// The line of the first record that is not decided.
    package var firstPendingLine: Int? { head < entries.count ? entries[head].record.line : nil }

    /// Records that are held.
    package var count: Int { entries.count - head }

    /// These, and those settled whose places are not given back yet.
    var placeCount: Int { entries.count }

    /// Takes a record that is being sent, or the reason why it is not.
    package mutating func append(_ record: PendingRecord, rejection: Rejection? = nil) {
        byteCount += record.bytes.count
        entries.append(Entry(record: record, rejection: rejection))
    }

    /// Settles the refused records that nothing stands before any more.
    package mutating func settleRefused(_ settle: (Outcome) throws -> Void) rethrows {
        while head < entries.count, let rejection = entries[head].rejection {
            try settle(.rejected(takeFirst(), sequence: nil, rejection))
        }
        compact()
    }

    /// Settles the records that the results are about, and the refused ones between them.
    package mutating func settle(
        _ results: [ContactResult], _ settle: (Outcome) throws -> Void
    ) throws {
        for result in results {
            try settleRefused(settle)
            guard head < entries.count, result.sequence == nextResult else {
                throw Mismatch(expected: nextResult, received: result.sequence)
            }
            nextResult += 1
            let record = takeFirst()
            guard result.status == .failed else {
                try settle(.stored(result))
                continue
            }
            let rejection = Rejection(
                result.error?.reasonText ?? "UNKNOWN", field: result.error?.field ?? "",
                result.error?.message ?? "")
            try settle(.rejected(record, sequence: result.sequence, rejection))
        }
        try settleRefused(settle)
    }

    private mutating func takeFirst() -> PendingRecord {
        let record = entries[head].record
        entries[head].record.bytes = []
        entries[head].rejection = nil
        head += 1
        byteCount -= record.bytes.count
        settledLine = record.line
        settledEnd = record.end
        return record
    }

    private mutating func compact() {
        guard head > 1024, head * 2 > entries.count else { return }
        entries.removeSubrange(..<head)
        head = 0
    }
}
