// Wire bytes to requests, by protobuf-c.
//
// In: one whole message. Out: what it holds; contacts as a `DecodedUpsert`, which lives until the
// next decode. Event loop thread; one decoder a loop.

internal import CContactsProto
internal import CProtobufC

/// Why a message could not be taken.
package enum DecodeError: Error, Equatable {
    /// It is not a message of this type.
    case malformed
    /// It unpacks to more memory than a message may have.
    case tooComplex
    /// It has more contacts than any message may have.
    case tooManyContacts(Int)
    /// A value in the options is not one of those allowed.
    case invalid(field: String, description: String)
}

package final class RequestDecoder {
    /// The most memory that one message may unpack to; with the message itself, and a copy of it
    /// while it comes, 16 MiB. Messages of up to 3 MiB with contacts of usual size need less; where
    /// the contacts need more they are unpacked one at a time.
    package static let unpackedByteLimit = 8 * 1024 * 1024

    /// The most contacts that a message may have anywhere.
    package static let contactLimit = 10_000
    /// Of messages up to this all fields may be unpacked: there are not so many.
    private static let largeByteCount = 64 * 1024
    /// Contacts beyond this are not counted any more.
    private static let countedContacts = 100_000

    private let arena = Arena(budget: RequestDecoder.unpackedByteLimit)

    package init() {}

    /// Gives back what the last message was unpacked to. Call it once the message was dealt with: a
    /// loop that then has nothing to do would keep it.
    package func release() { arena.reset() }

    /// Decodes a `BulkUpsertRequest`.
    package func decodeBulkUpsert(
        _ bytes: UnsafeRawBufferPointer
    ) throws(DecodeError) -> DecodedUpsert {
        try refuseTooMany(3, in: bytes)
        let unpack = contacts__v1__bulk_upsert_request__unpack
        if let message = try unpackWhole(bytes, unpack) {
            let contacts = DecodedContacts(
                message.pointee.contacts, count: message.pointee.n_contacts,
                messageByteCount: bytes.count)
            return try Self.upsert(
                message.pointee.first_sequence, contacts, message.pointee.options, bytes)
        }
        let contacts = try ContactsApart(of: 3, in: bytes)
        let message = try unpackRest(of: contacts, unpack)
        guard message.pointee.n_contacts == 0 else { throw DecodeError.tooComplex }
        return try Self.upsert(
            message.pointee.first_sequence, DecodedContacts(contacts), message.pointee.options,
            bytes)
    }

    /// Decodes an `UpsertContactsRequest`.
    package func decodeUpsertContacts(
        _ bytes: UnsafeRawBufferPointer
    ) throws(DecodeError) -> DecodedUpsert {
        try refuseTooMany(2, in: bytes)
        let unpack = contacts__v1__upsert_contacts_request__unpack
        if let message = try unpackWhole(bytes, unpack) {
            let contacts = DecodedContacts(
                message.pointee.contacts, count: message.pointee.n_contacts,
                messageByteCount: bytes.count)
            return try Self.upsert(0, contacts, message.pointee.options, bytes)
        }
        let contacts = try ContactsApart(of: 2, in: bytes)
        let message = try unpackRest(of: contacts, unpack)
        guard message.pointee.n_contacts == 0 else { throw DecodeError.tooComplex }
        return try Self.upsert(0, DecodedContacts(contacts), message.pointee.options, bytes)
    }

    /// Decodes a `GetContactsRequest`; a key that is not UTF-8 or breaks its rule finds nothing
    /// and comes as `nil`.
    package func decodeGetContacts(
        _ bytes: UnsafeRawBufferPointer
    ) throws(DecodeError) -> [ContactKey?] {
        let message = try unpack(bytes, contacts__v1__get_contacts_request__unpack)
        let keys = UnsafeBufferPointer(start: message.pointee.keys, count: message.pointee.n_keys)
        return try keys.enumerated().map { index, key throws(DecodeError) in
            guard let key, key.pointee.key_case != CONTACTS__V1__CONTACT_KEY__KEY__NOT_SET else {
                throw DecodeError.invalid(
                    field: "keys[\(index)]", description: "the key has no identifier")
            }
            return Self.key(key.pointee)
        }
    }

    func unpack<Message>(
        _ bytes: UnsafeRawBufferPointer,
        _ function: (
            UnsafeMutablePointer<ProtobufCAllocator>?, Int, UnsafePointer<UInt8>?
        ) -> UnsafeMutablePointer<Message>?
    ) throws(DecodeError) -> UnsafeMutablePointer<Message> {
        guard let message = try unpackWhole(bytes, function) else { throw DecodeError.tooComplex }
        return message
    }

    /// Looks at a large message before it is unpacked: 4 MiB may have two million fields, and to
    /// count some is much faster than to unpack them.
    ///
    /// - Parameter number: The contacts' field.
    private func refuseTooMany(
        _ number: UInt64, in bytes: UnsafeRawBufferPointer
    ) throws(DecodeError) {
        guard bytes.count > Self.largeByteCount else { return }
        var contactCount = 0
        var restCount = 0
        WireFields.walk(bytes) { field in
            if field.tag >> 3 == number { contactCount += 1 } else { restCount += 1 }
            return contactCount < Self.countedContacts && restCount <= ContactsApart.restFieldLimit
        }
        if restCount > ContactsApart.restFieldLimit { throw DecodeError.tooComplex }
        if contactCount > Self.contactLimit {
            throw DecodeError.tooManyContacts(contactCount)
        }
    }

    /// `nil` if it unpacks to more than the budget.
    private func unpackWhole<Message>(
        _ bytes: UnsafeRawBufferPointer,
        _ function: (
            UnsafeMutablePointer<ProtobufCAllocator>?, Int, UnsafePointer<UInt8>?
        ) -> UnsafeMutablePointer<Message>?
    ) throws(DecodeError) -> UnsafeMutablePointer<Message>? {
        let message = arena.unpack(bytes, function)
        guard message == nil else { return message }
        guard arena.isExhausted else { throw DecodeError.malformed }
        // What was unpacked so far must not stand beside what is tried next.
        arena.reset()
        return nil
    }

    private func unpackRest<Message>(
        of contacts: ContactsApart,
        _ function: (
            UnsafeMutablePointer<ProtobufCAllocator>?, Int, UnsafePointer<UInt8>?
        ) -> UnsafeMutablePointer<Message>?
    ) throws(DecodeError) -> UnsafeMutablePointer<Message> {
        let message = contacts.rest.withUnsafeBytes {
            arena.unpack($0, atMost: ContactsApart.restByteLimit, function)
        }
        guard let message else {
            throw arena.isExhausted ? DecodeError.tooComplex : DecodeError.malformed
        }
        return message
    }
}

extension RequestDecoder {
    private static func upsert(
        _ firstSequence: UInt64, _ contacts: DecodedContacts,
        _ options: UnsafeMutablePointer<Contacts__V1__UpsertOptions>?,
        _ bytes: UnsafeRawBufferPointer
    ) throws(DecodeError) -> DecodedUpsert {
        if options != nil { try refuseSecondOptions(bytes) }
        return DecodedUpsert(firstSequence: firstSequence, contacts: contacts, options: options)
    }

    /// Both requests have them as their field 1. protobuf merges a message that stands twice
    /// ("Encoding", "Last One Wins"), but protobuf-c drops the plain fields of the first: options
    /// would vanish in silence.
    private static func refuseSecondOptions(
        _ bytes: UnsafeRawBufferPointer
    ) throws(DecodeError) {
        guard WireFields.count(of: 1, in: bytes) > 1 else { return }
        throw DecodeError.invalid(field: "options", description: "they stand twice in one message")
    }

    static func importID(_ text: ProtobufCBinaryData) throws(DecodeError) -> String {
        let importID = try Self.text(text, "import_id")
        guard importID.unicodeScalars.count <= 128 else {
            throw DecodeError.invalid(
                field: "import_id", description: "it has more than 128 characters")
        }
        return importID
    }

    static func options(
        _ pointer: UnsafeMutablePointer<Contacts__V1__UpsertOptions>
    ) throws(DecodeError) -> UpsertOptions {
        let message = pointer.pointee
        var options = UpsertOptions()
        options.importID = try importID(message.import_id)
        options.matchBy = try value(message.match_by.rawValue, "match_by")
        options.writeMode = try value(message.write_mode.rawValue, "write_mode")
        options.existence = try value(message.existence.rawValue, "existence")
        options.results = try value(message.results.rawValue, "results")
        options.defaultDialCode = try text(message.default_dial_code, "default_dial_code")
        guard message.n_list_ids <= ContactLimits.lists else {
            throw DecodeError.invalid(
                field: "list_ids",
                description: "there are \(message.n_list_ids); the limit is \(ContactLimits.lists)")
        }
        options.listIDs = Array(
            UnsafeBufferPointer(start: message.list_ids, count: message.n_list_ids))
        options.runWorkflow = message.run_workflow != 0
        options.validateOnly = message.validate_only != 0
        options.maxFailures = message.max_failures
        options.labels = try labels(message)
        return options
    }

    private static func labels(
        _ message: Contacts__V1__UpsertOptions
    ) throws(DecodeError) -> [String: String] {
        guard message.n_labels <= LabelLimits.count else {
            throw DecodeError.invalid(
                field: "labels",
                description: "there are \(message.n_labels); the limit is \(LabelLimits.count)")
        }
        var labels: [String: String] = [:]
        for label in UnsafeBufferPointer(start: message.labels, count: message.n_labels) {
            guard let label = label?.pointee else { continue }
            guard (1...LabelLimits.nameBytes).contains(label.key.len),
                label.value.len <= LabelLimits.valueBytes
            else {
                throw DecodeError.invalid(
                    field: "labels",
                    description: """
                        a label's name has 1 to \(LabelLimits.nameBytes) bytes and its value at \
                        most \(LabelLimits.valueBytes); this one has \(label.key.len) and \
                        \(label.value.len)
                        """)
            }
            labels[try text(label.key, "labels")] = try text(label.value, "labels")
        }
        return labels
    }

    /// 0 is the first value, which is the default.
    private static func value<Value: RawRepresentable<UInt8>>(
        _ raw: some BinaryInteger, _ field: String
    ) throws(DecodeError) -> Value {
        guard let value = Value(rawValue: UInt8(clamping: raw == 0 ? 1 : raw)) else {
            throw DecodeError.invalid(field: field, description: "it has no value \(raw)")
        }
        return value
    }

    static func text(
        _ data: ProtobufCBinaryData, _ field: String
    ) throws(DecodeError) -> String {
        guard let text = String(validating: data.buffer, as: UTF8.self), !text.contains("\0") else {
            throw DecodeError.invalid(
                field: field, description: "it is not valid UTF-8 without NUL")
        }
        return text
    }

    private static func key(_ key: Contacts__V1__ContactKey) -> ContactKey? {
        guard let text = String(validating: key.id.buffer, as: UTF8.self) else { return nil }
        switch key.key_case {
        case CONTACTS__V1__CONTACT_KEY__KEY_ID:
            return ContactID(text).map { .id($0.description) }
        case CONTACTS__V1__CONTACT_KEY__KEY_EMAIL:
            return (try? EmailRule.normalize(text).get()).map { .email($0) }
        case CONTACTS__V1__CONTACT_KEY__KEY_PHONE:
            return (try? PhoneRule.normalize(text, defaultDialCode: nil).get()).map { .phone($0) }
        default:
            return text.isEmpty || text.contains("\0") ? nil : .externalID(text)
        }
    }
}

extension ProtobufCBinaryData {
    /// The bytes, for as long as the arena holds them.
    var buffer: UnsafeBufferPointer<UInt8> { UnsafeBufferPointer(start: data, count: len) }
}
