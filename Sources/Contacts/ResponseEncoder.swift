// Results to wire bytes: the server's side of the response messages.
//
// In: outcomes one at a time. Out: one packed message, written where the caller says. Event loop
// thread; one encoder a loop, its memory reused.

internal import CContactsProto
internal import CProtobufC

package final class ResponseEncoder {
    let arena = Arena(budget: .max)
    /// Those of the message that was begun.
    package var results = ResultList()
    var builder: MessageBuilder { MessageBuilder(arena: arena) }

    package init() {}

    /// Begins a message.
    package func reset() {
        arena.reset()
        results.reset()
    }

    /// Ends a `BulkUpsertResponse` with the results appended.
    package func finishResults(committedThrough: UInt64) -> PackedMessage {
        let message = builder.make(
            Contacts__V1__BulkUpsertResults.self, contacts__v1__bulk_upsert_results__init)
        message?.pointee.committed_through = committedThrough
        return PackedMessage(message, behind: results.bytes, inside: WireTag.bytes(2))
    }

    /// A `BulkUpsertResponse` that begins a call.
    package func started(_ started: UpsertStarted) -> PackedMessage {
        let message = builder.make(
            Contacts__V1__BulkUpsertStarted.self, contacts__v1__bulk_upsert_started__init)
        message?.pointee.import_id = arena.copy(started.importID)
        message?.pointee.resumed = started.resumed ? 1 : 0
        message?.pointee.committed_through = started.committedThrough
        message?.pointee.options = builder.options(started.options)
        let limits = builder.make(Contacts__V1__Limits.self, contacts__v1__limits__init)
        limits?.pointee.max_message_bytes = started.limits.maxMessageBytes
        limits?.pointee.max_contacts_per_message = started.limits.maxContactsPerMessage
        limits?.pointee.max_contact_bytes = started.limits.maxContactBytes
        limits?.pointee.max_text_bytes = started.limits.maxTextBytes
        limits?.pointee.max_fields = started.limits.maxFields
        limits?.pointee.max_unacknowledged_contacts = started.limits.maxUnacknowledgedContacts
        message?.pointee.limits = limits
        let response = makeResponse(CONTACTS__V1__BULK_UPSERT_RESPONSE__RESPONSE_STARTED)
        response?.pointee.started = message
        return PackedMessage(response)
    }

    /// A `BulkUpsertResponse` that ends a call.
    package func summary(_ summary: UpsertSummary) -> PackedMessage {
        let response = makeResponse(CONTACTS__V1__BULK_UPSERT_RESPONSE__RESPONSE_SUMMARY)
        response?.pointee.summary = makeSummary(summary)
        return PackedMessage(response)
    }

    /// An `UpsertContactsResponse` with the results appended.
    package func finishUpsertContacts(
        importID: String, summary: UpsertSummary
    ) -> PackedMessage {
        let response = builder.make(
            Contacts__V1__UpsertContactsResponse.self, contacts__v1__upsert_contacts_response__init)
        response?.pointee.import_id = arena.copy(importID)
        response?.pointee.summary = makeSummary(summary)
        return PackedMessage(response, behind: results.bytes)
    }

    /// A `GetContactsResponse`; `nil` is a key that nobody has.
    package func getContacts(_ records: [ContactRecord?]) -> PackedMessage {
        let entries = records.map { record in
            let entry = builder.make(
                Contacts__V1__ContactEntry.self, contacts__v1__contact_entry__init)
            entry?.pointee.found = record == nil ? 0 : 1
            entry?.pointee.record = record.flatMap(makeRecord)
            return entry
        }
        let response = builder.make(
            Contacts__V1__GetContactsResponse.self, contacts__v1__get_contacts_response__init)
        response?.pointee.n_entries = entries.count
        response?.pointee.entries = builder.array(entries)
        return PackedMessage(response)
    }

    func makeRecord(
        _ record: ContactRecord
    ) -> UnsafeMutablePointer<Contacts__V1__ContactRecord>? {
        let message = builder.make(
            Contacts__V1__ContactRecord.self, contacts__v1__contact_record__init)
        message?.pointee.contact = builder.contact(record.contact)
        message?.pointee.created_at = builder.timestamp(record.createdAt)
        message?.pointee.updated_at = builder.timestamp(record.updatedAt)
        return message
    }

    private func makeResponse(
        _ which: Contacts__V1__BulkUpsertResponse__ResponseCase
    ) -> UnsafeMutablePointer<Contacts__V1__BulkUpsertResponse>? {
        let response = builder.make(
            Contacts__V1__BulkUpsertResponse.self, contacts__v1__bulk_upsert_response__init)
        response?.pointee.response_case = which
        return response
    }

    func makeSummary(
        _ summary: UpsertSummary
    ) -> UnsafeMutablePointer<Contacts__V1__BulkUpsertSummary>? {
        let message = builder.make(
            Contacts__V1__BulkUpsertSummary.self, contacts__v1__bulk_upsert_summary__init)
        message?.pointee.total = summary.total
        message?.pointee.created = summary.created
        message?.pointee.updated = summary.updated
        message?.pointee.unchanged = summary.unchanged
        message?.pointee.replayed = summary.replayed
        message?.pointee.failed = summary.failed
        message?.pointee.committed_through = summary.committedThrough
        let reasons = summary.failedByReason.sorted { $0.key < $1.key }.map { reason in
            let entry = builder.make(
                Contacts__V1__CountEntry.self, contacts__v1__count_entry__init)
            entry?.pointee.key = arena.copy(reason.key)
            entry?.pointee.value = reason.value
            return entry
        }
        message?.pointee.n_failed_by_reason = reasons.count
        message?.pointee.failed_by_reason = builder.array(reasons)
        return message
    }
}
