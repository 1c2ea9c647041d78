// The answers about lists, the export and events to wire bytes.
//
// In: values. Out: one packed message, which lives until the encoder's next reset. Event loop
// thread.

internal import CContactsProto
internal import CProtobufC

extension ResponseEncoder {
    /// A `CreateListResponse`.
    package func createList(_ list: ContactList) -> PackedMessage {
        let response = builder.make(
            Contacts__V1__CreateListResponse.self, contacts__v1__create_list_response__init)
        response?.pointee.list = makeList(list)
        return PackedMessage(response)
    }

    /// A `ListListsResponse`.
    package func listLists(_ lists: [ContactList]) -> PackedMessage {
        let response = builder.make(
            Contacts__V1__ListListsResponse.self, contacts__v1__list_lists_response__init)
        response?.pointee.n_lists = lists.count
        response?.pointee.lists = builder.array(lists.map(makeList))
        return PackedMessage(response)
    }

    /// A `DeleteListResponse`.
    package func deleteList() -> PackedMessage {
        PackedMessage(
            builder.make(
                Contacts__V1__DeleteListResponse.self, contacts__v1__delete_list_response__init))
    }

    /// An `ExportContactsResponse`.
    package func exportContacts(_ records: [ContactRecord]) -> PackedMessage {
        let response = builder.make(
            Contacts__V1__ExportContactsResponse.self, contacts__v1__export_contacts_response__init)
        response?.pointee.n_records = records.count
        response?.pointee.records = builder.array(records.map(makeRecord))
        return PackedMessage(response)
    }

    /// A `WatchEventsResponse`.
    package func watchEvents(_ events: [ContactEvent]) -> PackedMessage {
        let response = builder.make(
            Contacts__V1__WatchEventsResponse.self, contacts__v1__watch_events_response__init)
        response?.pointee.n_events = events.count
        response?.pointee.events = builder.array(events.map(makeEvent))
        return PackedMessage(response)
    }

    private func makeList(_ list: ContactList) -> UnsafeMutablePointer<Contacts__V1__List>? {
        let message = builder.make(Contacts__V1__List.self, contacts__v1__list__init)
        message?.pointee.id = list.id
        message?.pointee.name = arena.copy(list.name)
        message?.pointee.created_at = builder.timestamp(list.createdAt)
        return message
    }

    private func makeEvent(
        _ event: ContactEvent
    ) -> UnsafeMutablePointer<Contacts__V1__ContactEvent>? {
        let message = builder.make(
            Contacts__V1__ContactEvent.self, contacts__v1__contact_event__init)
        message?.pointee.offset = event.offset
        message?.pointee.type = Contacts__V1__EventType(UInt32(event.type.rawValue))
        message?.pointee.contact_id = arena.copy(event.record.contact.id ?? "")
        message?.pointee.record = makeRecord(event.record)
        message?.pointee.import_id = arena.copy(event.importID)
        message?.pointee.occurred_at = builder.timestamp(event.occurredAt)
        return message
    }
}
