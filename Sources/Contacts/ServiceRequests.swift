// Requests of the calls beside the upsert to wire bytes, by protobuf-c: the client's side.
//
// In: what is asked for. Out: the bytes of one request message. Any thread.

internal import CContactsProto
internal import CProtobufC

/// The bytes of request messages of a few fields each.
package enum ServiceRequests {
    /// The message of an `ExportContactsRequest`; list 0 means all contacts.
    package static func exportContacts(listID: Int64) -> [UInt8] {
        bytes(contacts__v1__export_contacts_request__init) { request, _ in
            request.list_id = listID
        }
    }

    /// The message of a `GetImportRequest`.
    package static func getImport(_ importID: String) -> [UInt8] {
        bytes(contacts__v1__get_import_request__init) { request, arena in
            request.import_id = arena.copy(importID)
        }
    }

    /// The message of a `ListImportsRequest`; size 0 is the server's default.
    package static func listImports(pageSize: Int32, pageToken: String) -> [UInt8] {
        bytes(contacts__v1__list_imports_request__init) { request, arena in
            request.page_size = pageSize
            request.page_token = arena.copy(pageToken)
        }
    }

    /// The message of a `CreateListRequest`.
    package static func createList(_ name: String) -> [UInt8] {
        bytes(contacts__v1__create_list_request__init) { request, arena in
            request.name = arena.copy(name)
        }
    }

    /// The message of a `ListListsRequest`, which has no fields.
    package static func listLists() -> [UInt8] {
        bytes(contacts__v1__list_lists_request__init) { _, _ in }
    }

    /// The message of a `DeleteListRequest`.
    package static func deleteList(_ listID: Int64) -> [UInt8] {
        bytes(contacts__v1__delete_list_request__init) { request, _ in request.list_id = listID }
    }

    /// The message of a `WatchEventsRequest`.
    package static func watchEvents(after offset: UInt64) -> [UInt8] {
        bytes(contacts__v1__watch_events_request__init) { request, _ in
            request.after_offset = offset
        }
    }

    private static func bytes<Message>(
        _ initialize: (UnsafeMutablePointer<Message>?) -> Void,
        _ fill: (inout Message, Arena) -> Void
    ) -> [UInt8] {
        let arena = Arena(budget: .max, blockByteCount: RequestEncoder.arenaByteCount)
        let message = MessageBuilder(arena: arena).make(Message.self, initialize)
        if let message { fill(&message.pointee, arena) }
        return RequestEncoder.packedBytes(PackedMessage(message))
    }
}
