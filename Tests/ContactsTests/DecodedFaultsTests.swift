// What the server refuses in requests and contacts, from wire bytes made by hand. In: messages. Out: the
// one fault that the server names. Any thread.

import Testing

@testable import Contacts

@Suite struct DecodedFaultsTests {
    /// The first contact's fault.
    private func fault(_ message: [UInt8]) throws -> ContactError? {
        let decoder = RequestDecoder()
        let rules = try ContactRules(UpsertOptions())
        return try message.withUnsafeBytes { bytes in
            var output = NormalizedContact()
            return try decoder.decodeBulkUpsert(bytes).contacts
                .normalize(at: 0, by: rules, into: &output)
        }
    }

    private func field(_ number: UInt8, _ bytes: [UInt8]) -> [UInt8] {
        [number << 3 | 2, UInt8(bytes.count)] + bytes
    }

    /// Text validity comes before the custom fields, whichever of them holds the text.
    @Test func anInvalidTextBehindABadFieldIsNamed() throws {
        let email = field(1, Array("a@x.io".utf8))
        let unnamed = field(9, [3 << 3, 1])
        let invalid = field(9, field(1, [0x61]) + field(2, [0xFF]))
        let found = try fault(field(3, email + unnamed + invalid))
        #expect(found?.reason == .invalidUTF8)
        #expect(found?.field == "fields.1")
        #expect(try fault(field(3, email + unnamed))?.field == "fields.0")
    }

    /// Options that stand twice would be merged by other decoders and half lost by protobuf-c.
    @Test func optionsThatStandTwiceAreRefused() throws {
        let once = field(1, [3 << 3, 2]) + field(3, field(1, Array("a@x.io".utf8)))
        let decoder = RequestDecoder()
        let options = try once.withUnsafeBytes { try decoder.decodeBulkUpsert($0).options() }
        #expect(options?.writeMode == .replace)
        // Unknown fields of each kind stand before and between.
        let unknown: [UInt8] = [15 << 3, 0xFF, 1, 14 << 3 | 1] + [1, 2, 3, 4, 5, 6, 7, 8]
        let twice = unknown + once + field(13, [10]) + [12 << 3 | 5, 1, 2, 3, 4] + field(1, [])
        let refusal = DecodeError.invalid(
            field: "options", description: "they stand twice in one message")
        twice.withUnsafeBytes { bytes in
            #expect(throws: refusal) { _ = try decoder.decodeBulkUpsert(bytes) }
            #expect(throws: refusal) { _ = try decoder.decodeUpsertContacts(bytes) }
        }
    }
}
