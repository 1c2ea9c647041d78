// Results written as bytes against the same packed by protobuf-c.
// In: results at their edges. Out: expectations, no side effects.
// Any thread; the suites run in parallel.

import CContactsProto
import Testing

@testable import Contacts

@Suite struct ResultListTests {
    private let arena = Arena(budget: .max)
    private static let none = ContactID(high: 0, low: 0)
    private static let some = ContactID(high: 0x0189_0A5D_AC96_774B, low: 0xBCCE_B302_099A_8057)
    private static let error = ContactError(
        reasonText: "IDENTIFIER_TAKEN", field: "email", message: "another contact has it",
        retryable: true, conflictingID: some.description)

    /// What protobuf-c makes of a result, as a field of the message around it.
    private func packed(
        _ sequence: UInt64, _ status: UpsertStatus, id: ContactID = none,
        error: ContactError? = nil
    ) -> UnsafeMutablePointer<Contacts__V1__ContactResult>? {
        let builder = MessageBuilder(arena: arena)
        let result = builder.make(
            Contacts__V1__ContactResult.self, contacts__v1__contact_result__init)
        result?.pointee.sequence = sequence
        result?.pointee.status = Contacts__V1__UpsertStatus(UInt32(status.rawValue))
        if id != Self.none { result?.pointee.id = arena.copy(id.description) }
        guard let error else { return result }
        let message = builder.make(
            Contacts__V1__ContactError.self, contacts__v1__contact_error__init)
        message?.pointee.reason = arena.copy(error.reasonText)
        message?.pointee.field = arena.copy(error.field)
        message?.pointee.message = arena.copy(error.message)
        message?.pointee.retryable = error.retryable ? 1 : 0
        message?.pointee.conflicting_id = arena.copy(error.conflictingID)
        result?.pointee.error = message
        return result
    }

    private func bytes(
        _ results: [UnsafeMutablePointer<Contacts__V1__ContactResult>?], through: UInt64
    ) -> [UInt8] {
        let builder = MessageBuilder(arena: arena)
        let message = builder.make(
            Contacts__V1__BulkUpsertResults.self, contacts__v1__bulk_upsert_results__init)
        message?.pointee.committed_through = through
        message?.pointee.n_results = results.count
        message?.pointee.results = builder.array(results)
        let response = builder.make(
            Contacts__V1__BulkUpsertResponse.self, contacts__v1__bulk_upsert_response__init)
        response?.pointee.response_case = CONTACTS__V1__BULK_UPSERT_RESPONSE__RESPONSE_RESULTS
        response?.pointee.results = message
        return RequestEncoder.packedBytes(PackedMessage(response))
    }

    @Test func noResultsAreAsProtobufHasThem() {
        let encoder = ResponseEncoder()
        for through in [0, 1, 127, 128, UInt64.max] {
            encoder.reset()
            let message = encoder.finishResults(committedThrough: through)
            #expect(RequestEncoder.packedBytes(message) == bytes([], through: through))
        }
    }

    @Test func resultsAreAsProtobufHasThem() {
        let encoder = ResponseEncoder()
        let sequences: [UInt64] = [0, 1, 127, 128, 16_383, 16_384, 1 << 35, .max]
        var expected: [UnsafeMutablePointer<Contacts__V1__ContactResult>?] = []
        for sequence in sequences {
            for status in UpsertStatus.allCases {
                for id in [Self.none, Self.some] {
                    encoder.results.append(sequence: sequence, status: status, id: id)
                    expected.append(packed(sequence, status, id: id))
                }
            }
            encoder.results.append(sequence: sequence, error: Self.error)
            expected.append(packed(sequence, .failed, error: Self.error))
        }
        #expect(encoder.results.count == expected.count)
        let message = encoder.finishResults(committedThrough: 7)
        #expect(RequestEncoder.packedBytes(message) == bytes(expected, through: 7))
        encoder.reset()
        #expect(encoder.results.count == 0)
    }

    @Test func aLongErrorHasALongLength() {
        let encoder = ResponseEncoder()
        for count in [0, 1, 60, 100, 127, 128, 5_000, 20_000] {
            let error = ContactError(
                reasonText: "X", field: "", message: String(repeating: "m", count: count))
            encoder.reset()
            encoder.results.append(sequence: 1, error: error)
            let message = encoder.finishResults(committedThrough: 1)
            #expect(
                RequestEncoder.packedBytes(message)
                    == bytes([packed(1, .failed, error: error)], through: 1))
        }
    }

    @Test func anIDIsWrittenInLowerCase() {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<1000 {
            let id = ContactID(high: random.next(), low: random.next())
            let digits = [id.high, id.low].map {
                String(repeating: "0", count: $0.leadingZeroBitCount / 4)
                    + ($0 == 0 ? "" : String($0, radix: 16))
            }.joined()
            var text = digits
            for place in [20, 16, 12, 8] {
                text.insert("-", at: text.index(text.startIndex, offsetBy: place))
            }
            #expect(id.description == text)
            #expect(ContactID(text) == id)
        }
    }
}
