// Wire bytes to the requests of lists, the export and events.
//
// In: one whole message. Out: its values, checked as far as that needs no database. Event loop
// thread.

internal import CContactsProto
internal import CProtobufC

/// The limits of a list.
package enum ListLimits {
    /// What an index entry can hold with room to spare, and what the longest custom names have.
    package static let nameBytes = 255
}

extension RequestDecoder {
    /// Decodes a `CreateListRequest`.
    ///
    /// - Returns: The list's name.
    package func decodeCreateList(
        _ bytes: UnsafeRawBufferPointer
    ) throws(DecodeError) -> String {
        let message = try unpack(bytes, contacts__v1__create_list_request__unpack)
        let name = message.pointee.name
        guard (1...ListLimits.nameBytes).contains(name.len) else {
            throw DecodeError.invalid(
                field: "name",
                description: """
                    it has \(name.len) bytes; give 1 to \(ListLimits.nameBytes) bytes of UTF-8
                    """)
        }
        return try Self.text(name, "name")
    }

    /// Decodes a `ListListsRequest`, which has nothing in it.
    package func decodeListLists(_ bytes: UnsafeRawBufferPointer) throws(DecodeError) {
        _ = try unpack(bytes, contacts__v1__list_lists_request__unpack)
    }

    /// Decodes a `DeleteListRequest`.
    ///
    /// - Returns: The list's id.
    package func decodeDeleteList(_ bytes: UnsafeRawBufferPointer) throws(DecodeError) -> Int64 {
        try unpack(bytes, contacts__v1__delete_list_request__unpack).pointee.list_id
    }

    /// Decodes an `ExportContactsRequest`.
    ///
    /// - Returns: The list's id, 0 for all contacts.
    package func decodeExportContacts(
        _ bytes: UnsafeRawBufferPointer
    ) throws(DecodeError) -> Int64 {
        try unpack(bytes, contacts__v1__export_contacts_request__unpack).pointee.list_id
    }

    /// Decodes a `WatchEventsRequest`.
    ///
    /// - Returns: The offset after which events are asked for.
    package func decodeWatchEvents(
        _ bytes: UnsafeRawBufferPointer
    ) throws(DecodeError) -> UInt64 {
        try unpack(bytes, contacts__v1__watch_events_request__unpack).pointee.after_offset
    }
}
