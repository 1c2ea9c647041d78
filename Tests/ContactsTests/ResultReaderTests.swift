// Results read as bytes against the same read by protobuf-c.
// In: messages as the server writes them, and as others might. Out: expectations, no side effects.
// Any thread; the suites run in parallel.

import Testing

@testable import Contacts

@Suite struct ResultReaderTests {
    private static let id = ContactID(high: 0x0189_0A5D_AC96_774B, low: 0xBCCE_B302_099A_8057)

    private func decoded(_ bytes: [UInt8]) throws -> ([ContactResult], committedThrough: UInt64) {
        var results: [ContactResult] = []
        let answer = try bytes.withUnsafeBytes {
            try ResponseDecoder().bulkUpsert($0, appendingTo: &results)
        }
        guard case .results(let committedThrough) = answer else { throw DecodeError.malformed }
        return (results, committedThrough)
    }

    /// A message around results that are written out.
    private func message(_ results: [[UInt8]], behind: [UInt8] = []) -> [UInt8] {
        let list = results.flatMap { [0x0A, UInt8($0.count)] + $0 } + behind
        return [0x12, UInt8(list.count)] + list
    }

    @Test func whatTheServerWritesIsRead() throws {
        let error = ContactError(
            reasonText: "IDENTIFIER_TAKEN", field: "email", message: "another contact has it",
            retryable: true, conflictingID: Self.id.description)
        let encoder = ResponseEncoder()
        var expected: [ContactResult] = []
        for sequence: UInt64 in [0, 1, 127, 128, 16_383, 16_384, 1 << 35, 1 << 62, 1 << 63, .max] {
            for status in UpsertStatus.allCases {
                encoder.results.append(sequence: sequence, status: status, id: Self.id)
                expected.append(
                    ContactResult(sequence: sequence, status: status, contactID: Self.id))
            }
            encoder.results.append(
                sequence: sequence, status: .replayed, id: ContactID(high: 0, low: 0))
            expected.append(ContactResult(sequence: sequence, status: .replayed, contactID: nil))
            encoder.results.append(sequence: sequence, error: error)
            expected.append(
                ContactResult(sequence: sequence, status: .failed, contactID: nil, error: error))
        }
        for committedThrough: UInt64 in [0, 300, .max] {
            let packed = encoder.finishResults(committedThrough: committedThrough)
            let answer = try decoded(RequestEncoder.packedBytes(packed))
            #expect(answer.0 == expected)
            #expect(answer.committedThrough == committedThrough)
        }
    }

    @Test func otherOrdersAndFieldsAreReadByProtobuf() throws {
        let text = Array(Self.id.description.utf8)
        let upper = Array(Self.id.description.uppercased().utf8)
        let written: [[UInt8]] = [
            [0x08, 7, 0x10, 1, 0x1A, 36] + text,
            [0x1A, 36] + text + [0x10, 1, 0x08, 7],
            [0x08, 6, 0x08, 7, 0x10, 2, 0x10, 1, 0x1A, 36] + text,
            [0x08, 7, 0x10, 1, 0x1A, 36] + text + [0x78, 5],
            [0x08, 0x87, 0, 0x10, 0x81, 0, 0x1A, 0xA4, 0] + text,
            [0x08, 7, 0x10, 1, 0x1A, 36] + upper,
        ]
        let expected = ContactResult(sequence: 7, status: .created, contactID: Self.id)
        for result in written {
            #expect(try decoded(message([result])).0 == [expected])
            // A field of the list that is not known, in front of which results were read.
            #expect(try decoded(message([result], behind: [0x78, 5])).0 == [expected])
        }
        #expect(try decoded(message([[0x10, 5, 0x1A, 2, 0x61, 0x62]])).0.first?.id == "")
    }

    @Test func whatIsMalformedLeavesNothing() throws {
        let good: [UInt8] = [0x08, 7, 0x10, 1]
        var cases = [
            message([good, [0x08, 7]]), message([good, [0x08, 7, 0x10, 9]]),
            message([good, [0x08]]), message([good], behind: [0x10]), [], [0x12], [0x12, 1],
            message([good], behind: [0x0A, 9]),
        ]
        let whole = message([good, good])
        cases += (1..<whole.count).map { Array(whole.prefix($0)) }
        for bytes in cases {
            var results: [ContactResult] = []
            #expect(throws: DecodeError.self) {
                _ = try bytes.withUnsafeBytes {
                    try ResponseDecoder().bulkUpsert($0, appendingTo: &results)
                }
            }
            #expect(results.isEmpty)
        }
    }

    @Test func resultsAreAppended() throws {
        var results = [ContactResult(sequence: 1, status: .created, contactID: nil)]
        let bytes = message([[0x08, 2, 0x10, 1], [0x08, 3, 0x10, 1]], behind: [0x10, 3])
        _ = try bytes.withUnsafeBytes {
            try ResponseDecoder().bulkUpsert($0, appendingTo: &results)
        }
        #expect(results.map(\.sequence) == [1, 2, 3])
    }

    @Test func onlyDigitsAreReadAsAnID() {
        let text = Array(Self.id.description.utf8)
        for place in text.indices {
            for byte in UInt8.min ... .max {
                var other = text
                other[place] = byte
                let character = Character(UnicodeScalar(byte))
                let isHyphen = [8, 13, 18, 23].contains(place)
                let isRight = isHyphen ? byte == 0x2D : byte < 0x80 && character.isHexDigit
                let id = other.withUnsafeBufferPointer { ContactID(utf8: $0) }
                #expect((id != nil) == isRight)
                if isRight {
                    let lower = String(decoding: other, as: UTF8.self).lowercased()
                    #expect(id?.description == lower)
                }
            }
        }
    }
}
