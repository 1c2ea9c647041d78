// A request with contacts as it was decoded, still in the arena of its decoder.
//
// In: structs of protobuf-c. Out: options as values, and contacts one at a time through the rules into
// a `NormalizedContact`. Event loop thread. It says where things lie and owns nothing: it must not be
// used after its decoder's next decode.

internal import CContactsProto

/// A `BulkUpsertRequest` or an `UpsertContactsRequest`.
package struct DecodedUpsert {
    /// The number of the first contact, as the message has it.
    package let firstSequence: UInt64
    package let contacts: DecodedContacts
    private let optionsPointer: UnsafeMutablePointer<Contacts__V1__UpsertOptions>?

    init(
        firstSequence: UInt64, contacts: DecodedContacts,
        options: UnsafeMutablePointer<Contacts__V1__UpsertOptions>?
    ) {
        self.firstSequence = firstSequence
        self.contacts = contacts
        optionsPointer = options
    }

    package var hasOptions: Bool { optionsPointer != nil }

    /// The options, if the message has any.
    package func options() throws(DecodeError) -> UpsertOptions? {
        guard let optionsPointer else { return nil }
        return try RequestDecoder.options(optionsPointer)
    }
}

/// The contacts of one message.
package struct DecodedContacts {
    package let count: Int
    private let start: UnsafeMutablePointer<UnsafeMutablePointer<Contacts__V1__Contact>?>?
    /// The message is so long that a contact may be over its limit.
    private let mayBeLarge: Bool
    /// They are unpacked one at a time.
    private let apart: ContactsApart?

    init(
        _ start: UnsafeMutablePointer<UnsafeMutablePointer<Contacts__V1__Contact>?>?, count: Int,
        messageByteCount: Int
    ) {
        self.start = start
        self.count = count
        mayBeLarge = messageByteCount > ContactLimits.contactBytes
        apart = nil
    }

    init(_ apart: ContactsApart) {
        start = nil
        count = apart.count
        mayBeLarge = true
        self.apart = apart
    }

    /// Brings one contact through the rules.
    ///
    /// - Parameters:
    ///   - index: Its place in the message, below `count`.
    ///   - rules: The rules of the import.
    ///   - output: Where the normalised values go; unspecified after a failure.
    /// - Returns: `nil`, or the first rule that the contact breaks.
    package func normalize(
        at index: Int, by rules: ContactRules, into output: inout NormalizedContact
    ) -> ContactError? {
        precondition(index < count, "the message has \(count) contacts")
        let unpacked = if let apart { apart.contact(at: index) } else { start?[index] }
        guard let contact = unpacked else { return nil }
        return rules.normalize(contact, isLarge: mayBeLarge, into: &output)
    }
}
