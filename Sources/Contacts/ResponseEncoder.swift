// Results to wire bytes: the server's side of the response messages.
//
// In: outcomes one at a time. Out: one packed message, written where the caller says. Event loop
// thread; one encoder a loop, its memory reused. Messages are packed by protobuf-c, but for the
// results of contacts that did not fail: those are nearly all, and each is four fields of known
// size, so their bytes are written as they come, in the order in which protobuf-c has them.

internal import CContactsProto
internal import CProtobufC

package final class ResponseEncoder {
    let arena = Arena(budget: .max)
    /// Packed, each behind its tag and length.
    private var results: [UInt8] = []
    var builder: MessageBuilder { MessageBuilder(arena: arena) }

    package init() {}

    /// Results appended since the last reset.
    package private(set) var resultCount = 0

    /// Begins a message.
    package func reset() {
        arena.reset()
        results.removeAll(keepingCapacity: true)
        resultCount = 0
    }

    /// Adds a result of a contact that did not fail.
    package func append(sequence: UInt64, status: UpsertStatus, id: ContactID) {
        resultCount += 1
        Self.append(sequence, status, id, to: &results)
    }

    private static func append(
        _ sequence: UInt64, _ status: UpsertStatus, _ id: ContactID, to results: inout [UInt8]
    ) {
        // A contact that is not there has no id to tell.
        let idByteCount = id == ContactID(high: 0, low: 0) ? 0 : ContactID.textByteCount
        let byteCount =
            (sequence == 0 ? 0 : 1 + Varint.byteCount(sequence)) + 2
            + (idByteCount == 0 ? 0 : 2 + idByteCount)
        results.write(upTo: 2 + byteCount) { start in
            var end = ByteCursor(start)
            end.put(WireTag.bytes(1))
            end.put(UInt8(byteCount))
            if sequence != 0 {
                end.put(WireTag.varint(1))
                end.put(varint: sequence)
            }
            end.put(WireTag.varint(2))
            end.put(status.rawValue)
            if idByteCount > 0 {
                end.put(WireTag.bytes(3))
                end.put(UInt8(idByteCount))
                end.put(id)
            }
            return end.count(from: start)
        }
    }

    /// Adds a result of a contact that failed.
    package func append(sequence: UInt64, error: ContactError) {
        resultCount += 1
        let result = builder.make(
            Contacts__V1__ContactResult.self, contacts__v1__contact_result__init)
        let message = builder.make(
            Contacts__V1__ContactError.self, contacts__v1__contact_error__init)
        message?.pointee.reason = arena.copy(error.reasonText)
        message?.pointee.field = arena.copy(error.field)
        message?.pointee.message = arena.copy(error.message)
        message?.pointee.retryable = error.retryable ? 1 : 0
        message?.pointee.conflicting_id = arena.copy(error.conflictingID)
        result?.pointee.sequence = sequence
        result?.pointee.status = Contacts__V1__UpsertStatus(UInt32(UpsertStatus.failed.rawValue))
        result?.pointee.error = message
        let packed = PackedMessage(result)
        results.write(upTo: 1 + Varint.maxByteCount + packed.byteCount) { start in
            var end = ByteCursor(start)
            end.put(WireTag.bytes(1))
            end.put(varint: UInt64(packed.byteCount))
            let count = end.count(from: start)
            return count
                + packed.write(
                    to: UnsafeMutableRawBufferPointer(
                        start: start + count, count: packed.byteCount))
        }
    }

    /// Ends a `BulkUpsertResponse` with the results appended.
    package func finishResults(committedThrough: UInt64) -> PackedMessage {
        let message = builder.make(
            Contacts__V1__BulkUpsertResults.self, contacts__v1__bulk_upsert_results__init)
        message?.pointee.committed_through = committedThrough
        return PackedMessage(message, behind: results, inside: WireTag.bytes(2))
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
        return PackedMessage(response, behind: results)
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
