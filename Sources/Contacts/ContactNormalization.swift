// The order in which one contact's faults are looked for, and the one place that calls the rules.
//
// In: a decoded contact. Out: its normalised values, or the first fault in the order that the
// contract fixes: size, text validity, the matching identifier, the other identifiers, custom
// fields, lists. Event loop thread; no allocation for a contact without a fault.

internal import CContactsProto
internal import CProtobufC

extension ContactRules {
    func normalize(
        _ pointer: UnsafeMutablePointer<Contacts__V1__Contact>, isLarge: Bool,
        into output: inout NormalizedContact
    ) -> ContactError? {
        output.reset()
        if isLarge {
            let byteCount = contacts__v1__contact__get_packed_size(pointer)
            if byteCount > ContactLimits.contactBytes {
                return ContactError(
                    .contactTooLarge, "",
                    "the contact has \(byteCount) bytes; the limit is \(ContactLimits.contactBytes)"
                )
            }
        }
        let contact = WireContact(pointer: pointer)
        return texts(contact, into: &output)
            ?? identifiers(contact, into: &output).map { fieldTextFault(pointer) ?? $0 }
            ?? names(contact, into: &output)
            ?? fields(pointer, into: &output).map { fieldTextFault(pointer) ?? $0 }
            ?? lists(pointer, into: &output)
    }

    /// UTF-8, NUL and length of everything that is kept as it is, and the validity of the rest.
    private func texts(_ contact: WireContact, into output: inout NormalizedContact)
        -> ContactError?
    {
        for field in TextField.allCases {
            guard let value = contact.text(field), !value.isEmpty else { continue }
            let limit =
                switch field {
                case .email, .phone: Int.max  // their own rules know the limit, after trimming
                case .externalID: ContactLimits.externalIDBytes
                case .name, .firstName, .lastName: ContactLimits.textBytes
                }
            if let fault = TextRule.check(value.span, limit: limit) {
                return ContactError(fault, field.wireName)
            }
        }
        if let id = contact.id, let fault = TextRule.check(id.span, limit: .max) {
            return ContactError(fault, "id")
        }
        return nil
    }

    private func identifiers(
        _ contact: WireContact, into output: inout NormalizedContact
    ) -> ContactError? {
        let key = matchBy.textField
        if let key {
            if let error = identifier(key, contact, into: &output) { return error }
            guard output.texts[key.rawValue].length > 0 else {
                return ContactError(
                    .keyMissing, key.wireName,
                    "contacts are matched by \(key.wireName) and this one has none")
            }
        } else if let error = matchingID(contact, into: &output) {
            return error
        }
        for field in [TextField.email, .phone, .externalID] where field != key {
            if let error = identifier(field, contact, into: &output) { return error }
        }
        if let id = contact.id, !id.isEmpty, matchBy != .id {
            return ContactError(
                .fieldInvalid, "id", "an id is given only when contacts are matched by id")
        }
        return nil
    }

    private func matchingID(
        _ contact: WireContact, into output: inout NormalizedContact
    ) -> ContactError? {
        guard let text = contact.id, !text.isEmpty else {
            return ContactError(
                .keyMissing, "id", "contacts are matched by id and this one has none")
        }
        output.id = ContactID(utf8: text)
        guard output.id == nil else { return nil }
        return ContactError(
            .fieldInvalid, "id",
            "it is no UUID such as 01890a5d-ac96-774b-bcce-b302099a8057")
    }

    private func identifier(
        _ field: TextField, _ contact: WireContact, into output: inout NormalizedContact
    ) -> ContactError? {
        guard let value = contact.text(field) else { return nil }
        let start = output.bytes.count
        if !value.isEmpty {
            if let fault = identifierFault(field, value, into: &output.bytes) {
                return ContactError(fault, field.wireName)
            }
        }
        output.texts[field.rawValue] = .init(start: start, end: output.bytes.count)
        return nil
    }

    /// White space alone is no email and no phone number: it counts as empty.
    private func identifierFault(
        _ field: TextField, _ value: UnsafeBufferPointer<UInt8>, into bytes: inout [UInt8]
    ) -> RuleFault? {
        switch field {
        case .email where !EmailRule.isBlank(value.span):
            return EmailRule.normalize(value.span, into: &bytes)
        case .phone where !PhoneRule.isBlank(value.span):
            return PhoneRule.normalize(value.span, defaultDialCode: dialCode, into: &bytes)
        case .email, .phone:
            return nil
        default:
            bytes.append(value.span)
            return nil
        }
    }

    private func names(_ contact: WireContact, into output: inout NormalizedContact)
        -> ContactError?
    {
        for field in [TextField.name, .firstName, .lastName] {
            guard let value = contact.text(field) else { continue }
            let start = output.bytes.count
            output.bytes.append(value.span)
            output.texts[field.rawValue] = .init(start: start, end: output.bytes.count)
        }
        return nil
    }

    private func fields(
        _ contact: UnsafeMutablePointer<Contacts__V1__Contact>,
        into output: inout NormalizedContact
    ) -> ContactError? {
        guard contact.pointee.n_fields > 0 else { return nil }
        output.fieldsEncoder.reset()
        let fields = UnsafeBufferPointer(
            start: contact.pointee.fields, count: contact.pointee.n_fields)
        for (index, field) in fields.enumerated() {
            guard let field else { continue }
            if let fault = Self.encode(field, &output.fieldsEncoder) {
                return ContactError(fault, "fields.\(index)")
            }
        }
        let start = output.bytes.count
        output.fieldsEncoder.finish(into: &output.bytes, kinds: &output.fieldKinds)
        output.fields = .init(start: start, end: output.bytes.count)
        output.removesFields = output.fieldsEncoder.hasNulls
        return nil
    }

    /// Custom fields come after identifiers, but not whether their texts are texts. Asked for only
    /// when something behind the texts is at fault.
    private func fieldTextFault(
        _ contact: UnsafeMutablePointer<Contacts__V1__Contact>
    ) -> ContactError? {
        let fields = UnsafeBufferPointer(
            start: contact.pointee.fields, count: contact.pointee.n_fields)
        for (index, field) in fields.enumerated() {
            guard let field = field?.pointee else { continue }
            let isString =
                field.value_case == CONTACTS__V1__CUSTOM_FIELD__VALUE_STRING_VALUE
            let value = isString ? field.string_value.buffer : field.name.buffer
            if let fault = TextRule.check(field.name.buffer.span, limit: .max)
                ?? TextRule.check(value.span, limit: .max)
            {
                return ContactError(fault, "fields.\(index)")
            }
        }
        return nil
    }

    private static func encode(
        _ pointer: UnsafeMutablePointer<Contacts__V1__CustomField>,
        _ encoder: inout CustomFieldsEncoder
    ) -> RuleFault? {
        let field = pointer.pointee
        let name = field.name.buffer.span
        switch field.value_case {
        case CONTACTS__V1__CUSTOM_FIELD__VALUE_STRING_VALUE:
            return encoder.appendString(name: name, value: field.string_value.buffer.span)
        case CONTACTS__V1__CUSTOM_FIELD__VALUE_INTEGER_VALUE:
            return encoder.appendInteger(name: name, value: field.integer_value)
        case CONTACTS__V1__CUSTOM_FIELD__VALUE_NUMBER_VALUE:
            return encoder.appendNumber(name: name, value: field.number_value)
        case CONTACTS__V1__CUSTOM_FIELD__VALUE_BOOLEAN_VALUE:
            return encoder.appendBoolean(name: name, value: field.boolean_value != 0)
        case CONTACTS__V1__CUSTOM_FIELD__VALUE_TIMESTAMP_VALUE:
            let time = field.timestamp_value?.pointee
            return encoder.appendTimestamp(
                name: name, seconds: time?.seconds ?? 0, nanos: time?.nanos ?? 0)
        case CONTACTS__V1__CUSTOM_FIELD__VALUE_NULL_VALUE:
            return encoder.appendNull(name: name)
        default:
            return encoder.appendMissing(name: name)
        }
    }

    /// 0 means all contacts and is no list. Whether the others exist is seen when they are joined.
    private func lists(
        _ contact: UnsafeMutablePointer<Contacts__V1__Contact>, into output: inout NormalizedContact
    ) -> ContactError? {
        let count = contact.pointee.n_list_ids
        guard count <= ContactLimits.lists else {
            return ContactError(
                .fieldInvalid, "list_ids",
                "the contact names \(count) lists; the limit is \(ContactLimits.lists)")
        }
        for list in UnsafeBufferPointer(start: contact.pointee.list_ids, count: count)
        where list != 0 {
            output.lists.append(list)
        }
        return nil
    }
}

/// The texts of a decoded contact; `nil` is absent.
private struct WireContact {
    let pointer: UnsafeMutablePointer<Contacts__V1__Contact>

    func text(_ field: TextField) -> UnsafeBufferPointer<UInt8>? {
        switch field {
        case .email:
            pointer.pointee._email_case.rawValue == 0 ? nil : pointer.pointee.email.buffer
        case .phone:
            pointer.pointee._phone_case.rawValue == 0 ? nil : pointer.pointee.phone.buffer
        case .externalID:
            pointer.pointee._external_id_case.rawValue == 0
                ? nil : pointer.pointee.external_id.buffer
        case .name:
            pointer.pointee._name_case.rawValue == 0 ? nil : pointer.pointee.name.buffer
        case .firstName:
            pointer.pointee._first_name_case.rawValue == 0 ? nil : pointer.pointee.first_name.buffer
        case .lastName:
            pointer.pointee._last_name_case.rawValue == 0 ? nil : pointer.pointee.last_name.buffer
        }
    }

    var id: UnsafeBufferPointer<UInt8>? {
        pointer.pointee._id_case.rawValue == 0 ? nil : pointer.pointee.id.buffer
    }
}

extension NormalizedContact.Location {
    init(start: Int, end: Int) {
        self.init(offset: Int32(start), length: Int32(end - start))
    }
}

extension ContactError {
    init(_ reason: Reason, _ field: String, _ message: String) {
        self.init(reasonText: reason.rawValue, field: field, message: message)
    }

    init(_ fault: RuleFault, _ field: String) {
        self.init(fault.reason, field, fault.message)
    }
}

extension MatchBy {
    /// The column that is matched; `nil` for the id.
    package var textField: TextField? {
        switch self {
        case .email: .email
        case .phone: .phone
        case .externalID: .externalID
        case .id: nil
        }
    }
}
