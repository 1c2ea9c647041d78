// What `load --verify` takes for stored, missing and different.

import ContactsClient
import Testing

@testable import ContactsTool

@Suite struct LoadVerifierTests {
    private static let time = Timestamp(seconds: 0, nanoseconds: 0)
    private static let id = ContactID(high: 1, low: 2)

    private static func options(
        contacts: Int = 1000, chunk: Int = 7, streams: Int = 1, repeats: Double = 0
    ) -> LoadOptions {
        var options = LoadOptions()
        options.contacts = contacts
        options.chunk = chunk
        options.streams = streams
        options.repeats = repeats
        return options
    }

    private static func verifier(_ options: LoadOptions) -> LoadVerifier {
        LoadVerifier(options, LoadContacts(options))
    }

    private static func judged(
        _ verifier: LoadVerifier, _ number: Int, _ stored: Contact?, id: ContactID = id
    ) -> LoadVerification {
        var found = LoadVerification()
        let record = stored.map { stored in
            var contact = stored
            contact.id = Self.id.description
            return ContactRecord(contact: contact, createdAt: time, updatedAt: time)
        }
        verifier.judge(record, id, number, &found)
        return found
    }

    @Test(arguments: [1, 3, 16]) func knowsTheNumberOfEachResult(_ streams: Int) {
        let options = Self.options(streams: streams)
        let verifier = Self.verifier(options)
        var numbers: [Int] = []
        for stream in 0..<streams {
            let sent = stride(from: stream, to: options.messages, by: streams).flatMap { message in
                (message * 7)..<min(message * 7 + 7, options.contacts)
            }
            #expect(sent.indices.map { verifier.number(at: $0, stream: stream) } == sent)
            numbers += sent
        }
        #expect(numbers.sorted() == Array(0..<options.contacts))
    }

    @Test func tellsStoredMissingAndDifferent() {
        let options = Self.options()
        let verifier = Self.verifier(options)
        let contact = LoadContacts(options).contact(5)
        #expect(Self.judged(verifier, 5, contact).stored == 1)
        #expect(Self.judged(verifier, 5, nil).missing == 1)
        #expect(Self.judged(verifier, 5, contact, id: ContactID(high: 1, low: 3)).different == 1)
        #expect(Self.judged(verifier, 6, contact).different == 1)
        var more = contact
        more.phone = "+4930123456"
        more.fields.append(CustomField("more", .boolean(true)))
        more.fields.swapAt(0, 1)
        #expect(Self.judged(verifier, 5, more).stored == 1)
        var less = contact
        less.fields[1].value = .integer(-1)
        #expect(Self.judged(verifier, 5, less).different == 1)
        less = contact
        less.lastName = nil
        #expect(Self.judged(verifier, 5, less).different == 1)
        #expect(!Self.judged(verifier, 5, less).isRight)
    }

    /// Of several contacts with one key the last one stands; with more streams it can be any.
    @Test(arguments: [1, 2]) func takesLaterContactsOfTheSameKey(_ streams: Int) throws {
        let options = Self.options(streams: streams, repeats: 0.5)
        let contacts = LoadContacts(options)
        let verifier = Self.verifier(options)
        let groups = Dictionary(grouping: 0..<options.contacts, by: contacts.identity)
        let group = try #require(groups.values.first { $0.count > 2 })
        #expect(Set(group.map { contacts.contact($0).email }).count == 1)
        for sent in group {
            for stored in group {
                let found = Self.judged(verifier, sent, contacts.contact(stored))
                #expect(found.isRight == (streams > 1 || stored >= sent))
            }
            let other = try #require((0..<1000).first { !group.contains($0) })
            #expect(!Self.judged(verifier, sent, contacts.contact(other)).isRight)
        }
    }
}
