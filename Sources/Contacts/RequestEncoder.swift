// Contacts to the bytes of a request message, by protobuf-c: the client's side.
//
// In: contacts one at a time. Out: the bytes of one `BulkUpsertRequest`. Any thread, one at a time.

internal import CContactsProto
internal import CProtobufC

/// Builds one request message from contacts, each encoded as it is appended.
public struct RequestEncoder: Sendable {
    /// The encoded message. Fields of a protobuf message may come in any order and in parts, so
    /// each contact is appended on its own.
    package private(set) var bytes: [UInt8] = []
    /// The contacts appended.
    public private(set) var count = 0
    /// The length of the message.
    public var byteCount: Int { bytes.count }

    /// An empty message.
    public init() {}

    /// Forgets everything and keeps the memory.
    public mutating func reset() {
        bytes.removeAll(keepingCapacity: true)
        count = 0
    }

    /// Adds a contact.
    public mutating func append(_ contact: Contact) {
        append([contact])
    }

    /// Adds contacts.
    public mutating func append(_ contacts: [Contact]) {
        let arena = Arena(budget: .max, blockByteCount: Self.arenaByteCount)
        for contact in contacts {
            arena.reset()
            guard let message = MessageBuilder(arena: arena).contact(contact) else { continue }
            let packed = PackedMessage(message)
            append(tag: Self.contactsTag, packed)
            count += 1
        }
    }

    package mutating func setOptions(_ options: UpsertOptions) {
        let arena = Arena(budget: .max, blockByteCount: Self.arenaByteCount)
        append(tag: Self.optionsTag, PackedMessage(MessageBuilder(arena: arena).options(options)))
    }

    /// A message of contacts with the number of the first one.
    package static func numbered(_ message: [UInt8], _ firstSequence: UInt64) -> [UInt8] {
        var numbered = RequestEncoder()
        numbered.bytes.reserveCapacity(message.count + 1 + Varint.maxByteCount)
        numbered.bytes.append(WireTag.varint(2))
        numbered.append(varint: firstSequence)
        numbered.bytes += message
        return numbered.bytes
    }

    /// A message of contacts without the first ones.
    ///
    /// - Parameter message: As this encoder has it, without options.
    package static func dropping(_ count: Int, of message: [UInt8]) -> [UInt8] {
        var start = 0
        for _ in 0..<count {
            precondition(message[start] == contactsTag, "the message holds other than contacts")
            start += 1
            var length = 0
            var shift = 0
            while message[start] >= 0x80 {
                length |= Int(message[start] & 0x7F) << shift
                shift += 7
                start += 1
            }
            length |= Int(message[start]) << shift
            start += 1 + length
        }
        return Array(message[start...])
    }

    /// The message of an `UpsertContactsRequest`, whose contacts have another number.
    package static func upsertContacts(_ contacts: [Contact], _ options: UpsertOptions) -> [UInt8] {
        let arena = Arena(budget: .max, blockByteCount: Self.arenaByteCount)
        let builder = MessageBuilder(arena: arena)
        let request = builder.make(
            Contacts__V1__UpsertContactsRequest.self, contacts__v1__upsert_contacts_request__init)
        request?.pointee.options = builder.options(options)
        request?.pointee.n_contacts = contacts.count
        request?.pointee.contacts = builder.array(contacts.map(builder.contact))
        return packedBytes(PackedMessage(request))
    }

    /// The message of a `GetContactsRequest`.
    package static func getContacts(_ keys: [ContactKey]) -> [UInt8] {
        let arena = Arena(budget: .max, blockByteCount: Self.arenaByteCount)
        let builder = MessageBuilder(arena: arena)
        let messages = keys.map { key in
            let message = builder.make(
                Contacts__V1__ContactKey.self, contacts__v1__contact_key__init)
            switch key {
            case .id(let text):
                message?.pointee.key_case = CONTACTS__V1__CONTACT_KEY__KEY_ID
                message?.pointee.id = arena.copy(text)
            case .email(let text):
                message?.pointee.key_case = CONTACTS__V1__CONTACT_KEY__KEY_EMAIL
                message?.pointee.email = arena.copy(text)
            case .phone(let text):
                message?.pointee.key_case = CONTACTS__V1__CONTACT_KEY__KEY_PHONE
                message?.pointee.phone = arena.copy(text)
            case .externalID(let text):
                message?.pointee.key_case = CONTACTS__V1__CONTACT_KEY__KEY_EXTERNAL_ID
                message?.pointee.external_id = arena.copy(text)
            }
            return message
        }
        let request = builder.make(
            Contacts__V1__GetContactsRequest.self, contacts__v1__get_contacts_request__init)
        request?.pointee.n_keys = messages.count
        request?.pointee.keys = builder.array(messages)
        return packedBytes(PackedMessage(request))
    }

    /// Enough for one contact of usual size; a larger one adds blocks.
    static let arenaByteCount = 4096

    private static let optionsTag: UInt8 = 1 << 3 | 2
    private static let contactsTag: UInt8 = 3 << 3 | 2

    private mutating func append(tag: UInt8, _ message: PackedMessage) {
        bytes.append(tag)
        append(varint: UInt64(message.byteCount))
        let start = bytes.count
        bytes.append(contentsOf: repeatElement(0, count: message.byteCount))
        bytes.withUnsafeMutableBytes { buffer in
            _ = message.write(to: UnsafeMutableRawBufferPointer(rebasing: buffer[start...]))
        }
    }

    private mutating func append(varint: UInt64) {
        var rest = varint
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    static func packedBytes(_ message: PackedMessage) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: message.byteCount) { buffer, count in
            count = message.write(to: UnsafeMutableRawBufferPointer(buffer))
        }
    }
}
