// Values to the C structs of protobuf-c, for both sides. The structs live in an arena until its
// next reset; packing them is the caller's. One thread.

internal import CContactsProto
internal import CProtobufC

/// Makes C messages from values, in one arena.
struct MessageBuilder {
    let arena: Arena

    /// A message set to its defaults by its generated `init` function.
    func make<Message>(
        _ type: Message.Type, _ initialize: (UnsafeMutablePointer<Message>?) -> Void
    ) -> UnsafeMutablePointer<Message>? {
        let message = arena.allocate(type)
        if message != nil { initialize(message) }
        return message
    }

    func options(_ options: UpsertOptions) -> UnsafeMutablePointer<Contacts__V1__UpsertOptions>? {
        let message = make(
            Contacts__V1__UpsertOptions.self, contacts__v1__upsert_options__init)
        guard let message else { return nil }
        message.pointee.import_id = arena.copy(options.importID)
        message.pointee.match_by = Contacts__V1__MatchBy(UInt32(options.matchBy.rawValue))
        message.pointee.write_mode = Contacts__V1__WriteMode(UInt32(options.writeMode.rawValue))
        message.pointee.existence = Contacts__V1__Existence(UInt32(options.existence.rawValue))
        message.pointee.results = Contacts__V1__ResultMode(UInt32(options.results.rawValue))
        message.pointee.default_dial_code = arena.copy(options.defaultDialCode)
        message.pointee.run_workflow = options.runWorkflow ? 1 : 0
        message.pointee.validate_only = options.validateOnly ? 1 : 0
        message.pointee.max_failures = options.maxFailures
        message.pointee.n_list_ids = options.listIDs.count
        message.pointee.list_ids = array(options.listIDs)
        let labels = options.labels.sorted { $0.key < $1.key }.map { label in
            let entry = make(Contacts__V1__TextEntry.self, contacts__v1__text_entry__init)
            entry?.pointee.key = arena.copy(label.key)
            entry?.pointee.value = arena.copy(label.value)
            return entry
        }
        message.pointee.n_labels = labels.count
        message.pointee.labels = array(labels)
        return message
    }

    func contact(_ contact: Contact) -> UnsafeMutablePointer<Contacts__V1__Contact>? {
        let message = make(Contacts__V1__Contact.self, contacts__v1__contact__init)
        guard let message else { return nil }
        if let email = contact.email {
            message.pointee._email_case = CONTACTS__V1__CONTACT___EMAIL_EMAIL
            message.pointee.email = arena.copy(email)
        }
        if let phone = contact.phone {
            message.pointee._phone_case = CONTACTS__V1__CONTACT___PHONE_PHONE
            message.pointee.phone = arena.copy(phone)
        }
        if let externalID = contact.externalID {
            message.pointee._external_id_case = CONTACTS__V1__CONTACT___EXTERNAL_ID_EXTERNAL_ID
            message.pointee.external_id = arena.copy(externalID)
        }
        if let id = contact.id {
            message.pointee._id_case = CONTACTS__V1__CONTACT___ID_ID
            message.pointee.id = arena.copy(id)
        }
        if let name = contact.name {
            message.pointee._name_case = CONTACTS__V1__CONTACT___NAME_NAME
            message.pointee.name = arena.copy(name)
        }
        if let firstName = contact.firstName {
            message.pointee._first_name_case = CONTACTS__V1__CONTACT___FIRST_NAME_FIRST_NAME
            message.pointee.first_name = arena.copy(firstName)
        }
        if let lastName = contact.lastName {
            message.pointee._last_name_case = CONTACTS__V1__CONTACT___LAST_NAME_LAST_NAME
            message.pointee.last_name = arena.copy(lastName)
        }
        message.pointee.n_list_ids = contact.listIDs.count
        message.pointee.list_ids = array(contact.listIDs)
        message.pointee.n_fields = contact.fields.count
        message.pointee.fields = array(contact.fields.map(field))
        return message
    }

    private func field(_ field: CustomField) -> UnsafeMutablePointer<Contacts__V1__CustomField>? {
        let message = make(Contacts__V1__CustomField.self, contacts__v1__custom_field__init)
        guard let message else { return nil }
        message.pointee.name = arena.copy(field.name)
        switch field.value {
        case .string(let text):
            message.pointee.value_case = CONTACTS__V1__CUSTOM_FIELD__VALUE_STRING_VALUE
            message.pointee.string_value = arena.copy(text)
        case .integer(let integer):
            message.pointee.value_case = CONTACTS__V1__CUSTOM_FIELD__VALUE_INTEGER_VALUE
            message.pointee.integer_value = integer
        case .number(let number):
            message.pointee.value_case = CONTACTS__V1__CUSTOM_FIELD__VALUE_NUMBER_VALUE
            message.pointee.number_value = number
        case .boolean(let boolean):
            message.pointee.value_case = CONTACTS__V1__CUSTOM_FIELD__VALUE_BOOLEAN_VALUE
            message.pointee.boolean_value = boolean ? 1 : 0
        case .timestamp(let time):
            message.pointee.value_case = CONTACTS__V1__CUSTOM_FIELD__VALUE_TIMESTAMP_VALUE
            message.pointee.timestamp_value = timestamp(time)
        case .null:
            message.pointee.value_case = CONTACTS__V1__CUSTOM_FIELD__VALUE_NULL_VALUE
            message.pointee.null_value = CONTACTS__V1__NULL_VALUE__NULL_VALUE
        }
        return message
    }

    func timestamp(_ time: Timestamp) -> UnsafeMutablePointer<Contacts__V1__Timestamp>? {
        let message = make(Contacts__V1__Timestamp.self, contacts__v1__timestamp__init)
        message?.pointee.seconds = time.seconds
        message?.pointee.nanos = time.nanoseconds
        return message
    }

    func array<Element>(_ elements: [Element]) -> UnsafeMutablePointer<Element>? {
        guard !elements.isEmpty else { return nil }
        let byteCount = elements.count * MemoryLayout<Element>.stride
        guard let memory = arena.allocate(byteCount: byteCount) else { return nil }
        let start = memory.bindMemory(to: Element.self, capacity: elements.count)
        start.initialize(from: elements, count: elements.count)
        return start
    }
}
