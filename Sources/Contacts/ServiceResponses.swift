// Wire bytes to the answers of the calls beside the upsert, by protobuf-c: the client's side.
//
// In: one whole response message. Out: values. Any thread, one at a time.

internal import CContactsProto
internal import CProtobufC

extension ResponseDecoder {
    /// The records of an `ExportContactsResponse`.
    package func exportContacts(
        _ bytes: UnsafeRawBufferPointer
    ) throws(DecodeError) -> [ContactRecord] {
        let response = try unpack(bytes, contacts__v1__export_contacts_response__unpack).pointee
        return try Self.values(response.records, response.n_records) { Self.record($0) }
    }

    /// The import of a `GetImportResponse`.
    package func getImport(_ bytes: UnsafeRawBufferPointer) throws(DecodeError) -> Import {
        let response = try unpack(bytes, contacts__v1__get_import_response__unpack).pointee
        guard let value = response.import.flatMap(Self.importValue) else { throw .malformed }
        return value
    }

    /// The page of a `ListImportsResponse`; the token is empty on the last one.
    package func listImports(
        _ bytes: UnsafeRawBufferPointer
    ) throws(DecodeError) -> (imports: [Import], nextPageToken: String) {
        let response = try unpack(bytes, contacts__v1__list_imports_response__unpack).pointee
        let imports = try Self.values(response.imports, response.n_imports) { Self.importValue($0) }
        return (imports, response.next_page_token.text)
    }

    /// The list of a `CreateListResponse`.
    package func createList(_ bytes: UnsafeRawBufferPointer) throws(DecodeError) -> ContactList {
        let response = try unpack(bytes, contacts__v1__create_list_response__unpack).pointee
        guard let list = response.list else { throw .malformed }
        return Self.list(list)
    }

    /// The lists of a `ListListsResponse`.
    package func listLists(_ bytes: UnsafeRawBufferPointer) throws(DecodeError) -> [ContactList] {
        let response = try unpack(bytes, contacts__v1__list_lists_response__unpack).pointee
        return try Self.values(response.lists, response.n_lists) { Self.list($0) }
    }

    /// A `DeleteListResponse`, which has no fields.
    package func deleteList(_ bytes: UnsafeRawBufferPointer) throws(DecodeError) {
        _ = try unpack(bytes, contacts__v1__delete_list_response__unpack)
    }

    /// The events of a `WatchEventsResponse`.
    package func watchEvents(
        _ bytes: UnsafeRawBufferPointer
    ) throws(DecodeError) -> [ContactEvent] {
        let response = try unpack(bytes, contacts__v1__watch_events_response__unpack).pointee
        return try Self.values(response.events, response.n_events) { Self.event($0) }
    }

    /// Each message as a value; the whole is malformed when one of them is.
    private static func values<Message, Value>(
        _ start: UnsafeMutablePointer<UnsafeMutablePointer<Message>?>?, _ count: Int,
        _ value: (UnsafeMutablePointer<Message>) -> Value?
    ) throws(DecodeError) -> [Value] {
        var values: [Value] = []
        values.reserveCapacity(count)
        for message in UnsafeBufferPointer(start: start, count: count) {
            guard let value = message.flatMap(value) else { throw .malformed }
            values.append(value)
        }
        return values
    }

    private static func importValue(
        _ message: UnsafeMutablePointer<Contacts__V1__Import>
    ) -> Import? {
        let message = message.pointee
        guard let state = ImportState(rawValue: UInt8(clamping: message.state.rawValue))
        else { return nil }
        return Import(
            importID: message.import_id.text, state: state,
            summary: message.summary.map { summary($0.pointee) } ?? UpsertSummary(),
            options: options(message.options), createdAt: timestamp(message.created_at),
            updatedAt: timestamp(message.updated_at))
    }

    private static func list(_ message: UnsafeMutablePointer<Contacts__V1__List>) -> ContactList {
        ContactList(
            id: message.pointee.id, name: message.pointee.name.text,
            createdAt: timestamp(message.pointee.created_at))
    }

    private static func event(
        _ message: UnsafeMutablePointer<Contacts__V1__ContactEvent>
    ) -> ContactEvent? {
        let message = message.pointee
        guard let type = EventType(rawValue: UInt8(clamping: message.type.rawValue)),
            var record = message.record.flatMap(Self.record)
        else { return nil }
        record.contact.id = record.contact.id ?? message.contact_id.text
        return ContactEvent(
            offset: message.offset, type: type, record: record, importID: message.import_id.text,
            occurredAt: timestamp(message.occurred_at))
    }
}
