// Contacts with several faults, from wire bytes. In: request messages made by the client's encoder
// and by hand. Out: the one fault that the server names. Any thread.

import Testing

@testable import Contacts

@Suite struct FaultOrderTests {
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
}
