// Messages that are too much to unpack at once: what is taken of them, and what is refused.
//
// In: messages made by hand. Out: expectations, no side effects. Any thread.

import Testing

@testable import Contacts

@Suite struct ContactsApartTests {
    private func varint(_ value: Int) -> [UInt8] {
        value < 0x80 ? [UInt8(value)] : [UInt8(value & 0x7F | 0x80)] + varint(value >> 7)
    }

    private func field(_ number: UInt8, _ bytes: [UInt8]) -> [UInt8] {
        [number << 3 | 2] + varint(bytes.count) + bytes
    }

    private func text(_ number: UInt8, _ text: String) -> [UInt8] {
        field(number, Array(text.utf8))
    }

    private func custom(_ name: String, _ value: String) -> [UInt8] {
        field(9, text(1, name) + text(2, value))
    }

    private func apart(_ message: [UInt8]) throws -> ContactsApart {
        try message.withUnsafeBytes { try ContactsApart(of: 3, in: $0) }
    }

    /// The contact's values, or its fault.
    private func outcome(_ contacts: DecodedContacts, at index: Int) throws -> String {
        var output = NormalizedContact()
        let rules = try ContactRules(UpsertOptions())
        if let fault = contacts.normalize(at: index, by: rules, into: &output) {
            return "\(fault)"
        }
        let lengths = TextField.allCases.map { output.texts[$0.rawValue].length }
        return "\(lengths) \(output.lists) \(String(decoding: output.fieldKinds, as: UTF8.self)) "
            + String(decoding: output.bytes, as: UTF8.self)
    }

    /// 2.2 MB on the wire, and some 25 MB unpacked: each field has a place, and each place a note.
    @Test func aMessageWithinEveryLimitIsTaken() throws {
        let options = field(1, [3 << 3, 2])
        let fields = (10..<23).flatMap { custom("name\($0)", "v\($0)") }
        let contacts = (0..<10_000).flatMap { number in
            field(
                3,
                text(1, "somebody\(number)@x.io") + text(5, "Some Body") + text(6, "Some")
                    + text(7, "Body") + fields)
        }
        let message = [2 << 3, 7] + contacts + options
        let decoder = RequestDecoder()
        try message.withUnsafeBytes { bytes in
            let decoded = try decoder.decodeBulkUpsert(bytes)
            #expect(decoded.firstSequence == 7)
            #expect(try decoded.options()?.writeMode == .replace)
            #expect(decoded.contacts.count == 10_000)
            for index in [0, 4_999, 9_999, 1] {
                let outcome = try outcome(decoded.contacts, at: index)
                #expect(outcome.contains("somebody\(index)@x.io"))
                #expect(outcome.contains(#""name22": "v22""#))
            }
        }
        let unary = field(1, []) + contacts.withTags(of: 2)
        try unary.withUnsafeBytes { bytes in
            let decoded = try decoder.decodeUpsertContacts(bytes)
            #expect(decoded.contacts.count == 10_000)
            #expect(try outcome(decoded.contacts, at: 9_999).contains("somebody9999@x.io"))
        }
    }

    /// As columns of a CSV file are sent: 300 short ones, 500 rows at a time.
    @Test func widerContactsAreTaken() throws {
        let fields = (0..<300).flatMap { custom("c\($0)", "\($0)") }
        let message = (0..<500).flatMap { field(3, text(1, "a\($0)@x.io") + fields) }
        let decoder = RequestDecoder()
        try message.withUnsafeBytes { bytes in
            let contacts = try decoder.decodeBulkUpsert(bytes).contacts
            #expect(contacts.count == 500)
            #expect(try outcome(contacts, at: 499).contains(#""c299": "299""#))
        }
    }

    /// Whatever stands around contacts, and twice in them.
    @Test func theyAreAsTheyAreTogether() throws {
        let odd: [[UInt8]] = [
            [],
            text(1, "a@x.io") + text(1, "b@x.io"),
            text(1, "A@X.io") + custom("f", "1") + text(15, "unknown") + custom("f", "2"),
            text(1, "a@x.io") + field(8, [1, 2, 0x80, 1]) + [8 << 3, 9],
            text(1, "nobody"),
            text(1, "a@x.io") + field(9, text(1, "t") + field(6, []) + field(6, [8, 5])),
        ]
        let between: [UInt8] = [15 << 3, 1] + text(14, "x") + [2 << 3, 9, 13 << 3 | 5, 1, 2, 3, 4]
        let message = odd.flatMap { field(3, $0) + between } + field(1, [])
        let decoder = RequestDecoder()
        try message.withUnsafeBytes { bytes in
            let together = try decoder.decodeBulkUpsert(bytes)
            let apart = DecodedContacts(try ContactsApart(of: 3, in: bytes))
            #expect(together.firstSequence == 9)
            #expect(together.contacts.count == odd.count)
            #expect(apart.count == odd.count)
            for index in odd.indices {
                #expect(
                    try outcome(apart, at: index) == outcome(together.contacts, at: index),
                    "contact \(index)")
            }
        }
        #expect(try apart(message).rest.count == odd.count * between.count + 2)
    }

    /// Before the first one is asked for.
    @Test func aMalformedContactRefusesTheWholeMessage() throws {
        let good = field(3, text(1, "a@x.io"))
        let malformed = [field(3, [1 << 3 | 2, 7, 0x61]), field(3, [1 << 3, 1])]
        for bad in malformed {
            for message in [good + bad, bad + good] {
                #expect(throws: DecodeError.malformed) { try apart(message) }
            }
        }
        // What is no whole field is left for protobuf-c to judge.
        for tail: [UInt8] in [[3 << 3 | 2, 9], [0xFF], [3 << 3, 1], [3 << 3 | 3]] {
            #expect(try apart(good + tail).rest == tail)
        }
    }

    @Test func theirNumberHasALimit() throws {
        let limit = RequestDecoder.contactLimit
        let contacts = Array(repeating: field(3, []), count: limit)
        #expect(try apart(Array(contacts.joined())).count == limit)
        #expect(throws: DecodeError.tooComplex) {
            try apart(Array(contacts.joined()) + field(3, []))
        }
        let others = Array(repeating: [15 << 3, 1] as [UInt8], count: ContactsApart.restFieldLimit)
        #expect(try apart(Array(others.joined())).rest == Array(others.joined()))
        #expect(throws: DecodeError.tooComplex) {
            try apart(Array(others.joined()) + [15 << 3, 1])
        }
    }

    /// Large messages are looked through before anything is unpacked.
    @Test func whatALargeMessageHasTooManyOfIsCounted() throws {
        let limit = RequestDecoder.contactLimit
        let contact = field(3, text(1, "a@x.io"))
        func decode(_ count: Int, _ rest: [UInt8] = []) throws(DecodeError) -> Int {
            let bytes = Array(repeating: contact, count: count).flatMap { $0 } + rest
            let decoder = RequestDecoder()
            var outcome = Result<Int, DecodeError>.success(0)
            bytes.withUnsafeBytes { wire in
                outcome = Result { () throws(DecodeError) in
                    try decoder.decodeBulkUpsert(wire).contacts.count
                }
            }
            return try outcome.get()
        }
        #expect(try decode(limit) == limit)
        for (count, told) in [(limit + 1, limit + 1), (100_000, 100_000), (100_001, 100_000)] {
            #expect(throws: DecodeError.tooManyContacts(told)) { try decode(count) }
        }
        func others(_ count: Int) -> [UInt8] {
            Array(repeating: [15 << 3, 1] as [UInt8], count: count).flatMap { $0 }
        }
        #expect(try decode(limit, others(ContactsApart.restFieldLimit)) == limit)
        #expect(throws: DecodeError.tooComplex) {
            try decode(limit, others(ContactsApart.restFieldLimit + 1))
        }
    }

    /// The shortest fields with a name and a value are taken, and the empty ones are not.
    @Test func anAmplifyingContactIsRefused() throws {
        let key = text(1, "a@x.io")
        let shortest = [
            custom("a", "b"), field(9, text(1, "a") + [3 << 3, 0]),
            field(9, text(1, "a") + field(6, [])),
        ]
        for fields in shortest {
            // A note more than a slab of them has.
            for count in [17, 49, 113, 241, 300] {
                let fields = Array(repeating: fields, count: count).flatMap { $0 }
                #expect(try apart(field(3, key + fields)).count == 1)
            }
        }
        let lists = Array(repeating: [8 << 3, 1] as [UInt8], count: 100).flatMap { $0 }
        #expect(try apart(field(3, key + lists)).count == 1)
        let empty = Array(repeating: field(9, []), count: 400).flatMap { $0 }
        #expect(throws: DecodeError.tooComplex) { try apart(field(3, key + empty)) }
    }
}

extension [UInt8] {
    /// The same contacts under another number; they must stand one behind the other.
    fileprivate func withTags(of number: UInt8) -> [UInt8] {
        var copy = self
        _ = withUnsafeBytes { bytes in
            WireFields.walk(bytes) { field in
                copy[field.whole.lowerBound] = number << 3 | 2
                return true
            }
        }
        return copy
    }
}
