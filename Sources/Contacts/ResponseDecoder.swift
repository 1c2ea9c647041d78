// Wire bytes to answers, by protobuf-c: the client's side.
//
// In: one whole response message. Out: values. Any thread, one at a time.

internal import CContactsProto
internal import CProtobufC

/// One message of the response side of a bulk upsert.
package enum BulkUpsertAnswer: Sendable {
    case started(UpsertStarted)
    /// The results themselves went to where the caller said.
    case results(committedThrough: UInt64)
    case summary(UpsertSummary)
}

package final class ResponseDecoder {
    private let arena = Arena(budget: .max)

    package init() {}

    /// One message; its results are appended to `results`.
    package func bulkUpsert(
        _ bytes: UnsafeRawBufferPointer, appendingTo results: inout [ContactResult]
    ) throws(DecodeError) -> BulkUpsertAnswer {
        if let answer = plainResults(bytes, &results) { return answer }
        let response = try unpack(bytes, contacts__v1__bulk_upsert_response__unpack).pointee
        switch response.response_case {
        case CONTACTS__V1__BULK_UPSERT_RESPONSE__RESPONSE_STARTED:
            guard let started = response.started?.pointee else { throw .malformed }
            return .started(Self.started(started))
        case CONTACTS__V1__BULK_UPSERT_RESPONSE__RESPONSE_RESULTS:
            guard let message = response.results?.pointee else { throw .malformed }
            results += try Self.results(message.results, message.n_results)
            return .results(committedThrough: message.committed_through)
        case CONTACTS__V1__BULK_UPSERT_RESPONSE__RESPONSE_SUMMARY:
            guard let summary = response.summary?.pointee else { throw .malformed }
            return .summary(Self.summary(summary))
        default:
            throw .malformed
        }
    }

    /// Results as the server writes them; `nil`, and nothing appended, for what is written in any
    /// other way.
    private func plainResults(
        _ bytes: UnsafeRawBufferPointer, _ results: inout [ContactResult]
    ) -> BulkUpsertAnswer? {
        guard var reader = ResultReader(bytes) else { return nil }
        let before = results.count
        results.makeRoom(for: bytes.count / ResultReader.usualByteCount + 1)
        while let entry = reader.next() {
            switch entry {
            case .result(let result):
                results.append(result)
                continue
            case .message(let bytes):
                if let message = try? unpack(bytes, contacts__v1__contact_result__unpack),
                    let result = try? Self.result(message.pointee)
                {
                    results.append(result)
                    continue
                }
            case .foreign: break
            }
            results.removeSubrange(before...)
            return nil
        }
        return .results(committedThrough: reader.committedThrough)
    }

    package func upsertContacts(
        _ bytes: UnsafeRawBufferPointer
    ) throws(DecodeError) -> (results: [ContactResult], summary: UpsertSummary) {
        let response = try unpack(bytes, contacts__v1__upsert_contacts_response__unpack).pointee
        let summary = response.summary.map { Self.summary($0.pointee) } ?? UpsertSummary()
        return (try Self.results(response.results, response.n_results), summary)
    }

    package func getContacts(
        _ bytes: UnsafeRawBufferPointer
    ) throws(DecodeError) -> [ContactRecord?] {
        let response = try unpack(bytes, contacts__v1__get_contacts_response__unpack).pointee
        let entries = UnsafeBufferPointer(start: response.entries, count: response.n_entries)
        return entries.map { entry in
            entry?.pointee.record.flatMap(Self.record)
        }
    }

    /// The C message of the bytes; it lives until the next one.
    func unpack<Message>(
        _ bytes: UnsafeRawBufferPointer,
        _ function: (
            UnsafeMutablePointer<ProtobufCAllocator>?, Int, UnsafePointer<UInt8>?
        ) -> UnsafeMutablePointer<Message>?
    ) throws(DecodeError) -> UnsafeMutablePointer<Message> {
        guard let message = arena.unpack(bytes, function) else { throw .malformed }
        return message
    }
}

extension ResponseDecoder {
    private static func results(
        _ start: UnsafeMutablePointer<UnsafeMutablePointer<Contacts__V1__ContactResult>?>?,
        _ count: Int
    ) throws(DecodeError) -> [ContactResult] {
        var results: [ContactResult] = []
        results.reserveCapacity(count)
        for pointer in UnsafeBufferPointer(start: start, count: count) {
            guard let message = pointer?.pointee else { throw .malformed }
            results.append(try result(message))
        }
        return results
    }

    private static func result(
        _ message: Contacts__V1__ContactResult
    ) throws(DecodeError) -> ContactResult {
        guard let status = UpsertStatus(rawValue: UInt8(clamping: message.status.rawValue))
        else { throw .malformed }
        return ContactResult(
            sequence: message.sequence, status: status,
            contactID: ContactID(utf8: message.id.buffer),
            error: message.error.map { error($0.pointee) })
    }

    private static func error(_ error: Contacts__V1__ContactError) -> ContactError {
        ContactError(
            reasonText: error.reason.text, field: error.field.text, message: error.message.text,
            retryable: error.retryable != 0, conflictingID: error.conflicting_id.text)
    }

    private static func started(_ started: Contacts__V1__BulkUpsertStarted) -> UpsertStarted {
        let limits = started.limits?.pointee
        return UpsertStarted(
            importID: started.import_id.text, resumed: started.resumed != 0,
            committedThrough: started.committed_through,
            options: options(started.options),
            limits: Limits(
                maxMessageBytes: limits?.max_message_bytes ?? 0,
                maxContactsPerMessage: limits?.max_contacts_per_message ?? 0,
                maxContactBytes: limits?.max_contact_bytes ?? 0,
                maxTextBytes: limits?.max_text_bytes ?? 0,
                maxFields: limits?.max_fields ?? 0,
                maxUnacknowledgedContacts: limits?.max_unacknowledged_contacts ?? 0))
    }

    static func options(
        _ message: UnsafeMutablePointer<Contacts__V1__UpsertOptions>?
    ) -> UpsertOptions {
        message.flatMap { try? RequestDecoder.options($0) } ?? UpsertOptions()
    }

    static func summary(_ message: Contacts__V1__BulkUpsertSummary) -> UpsertSummary {
        var summary = UpsertSummary()
        summary.total = message.total
        summary.created = message.created
        summary.updated = message.updated
        summary.unchanged = message.unchanged
        summary.replayed = message.replayed
        summary.failed = message.failed
        summary.committedThrough = message.committed_through
        let reasons = UnsafeBufferPointer(
            start: message.failed_by_reason, count: message.n_failed_by_reason)
        for reason in reasons {
            guard let reason = reason?.pointee else { continue }
            summary.failedByReason[reason.key.text] = reason.value
        }
        return summary
    }

    /// `nil` when there is no contact in it.
    static func record(
        _ message: UnsafeMutablePointer<Contacts__V1__ContactRecord>
    ) -> ContactRecord? {
        let record = message.pointee
        return record.contact.map { contact in
            ContactRecord(
                contact: self.contact(contact.pointee), createdAt: timestamp(record.created_at),
                updatedAt: timestamp(record.updated_at))
        }
    }

    private static func contact(_ message: Contacts__V1__Contact) -> Contact {
        var contact = Contact()
        if message._email_case.rawValue != 0 { contact.email = message.email.text }
        if message._phone_case.rawValue != 0 { contact.phone = message.phone.text }
        if message._external_id_case.rawValue != 0 { contact.externalID = message.external_id.text }
        if message._id_case.rawValue != 0 { contact.id = message.id.text }
        if message._name_case.rawValue != 0 { contact.name = message.name.text }
        if message._first_name_case.rawValue != 0 { contact.firstName = message.first_name.text }
        if message._last_name_case.rawValue != 0 { contact.lastName = message.last_name.text }
        contact.listIDs = Array(
            UnsafeBufferPointer(start: message.list_ids, count: message.n_list_ids))
        let fields = UnsafeBufferPointer(start: message.fields, count: message.n_fields)
        contact.fields = fields.compactMap { $0.map { field($0.pointee) } }
        return contact
    }

    private static func field(_ field: Contacts__V1__CustomField) -> CustomField {
        let value: CustomField.Value =
            switch field.value_case {
            case CONTACTS__V1__CUSTOM_FIELD__VALUE_STRING_VALUE: .string(field.string_value.text)
            case CONTACTS__V1__CUSTOM_FIELD__VALUE_INTEGER_VALUE: .integer(field.integer_value)
            case CONTACTS__V1__CUSTOM_FIELD__VALUE_NUMBER_VALUE: .number(field.number_value)
            case CONTACTS__V1__CUSTOM_FIELD__VALUE_BOOLEAN_VALUE: .boolean(field.boolean_value != 0)
            case CONTACTS__V1__CUSTOM_FIELD__VALUE_TIMESTAMP_VALUE:
                .timestamp(timestamp(field.timestamp_value))
            default: .null
            }
        return CustomField(field.name.text, value)
    }

    static func timestamp(
        _ message: UnsafeMutablePointer<Contacts__V1__Timestamp>?
    ) -> Timestamp {
        Timestamp(
            seconds: message?.pointee.seconds ?? 0, nanoseconds: message?.pointee.nanos ?? 0)
    }
}

extension [ContactResult] {
    /// Room for more. Twice as much at least, or appending little by little would copy all each time.
    fileprivate mutating func makeRoom(for more: Int) {
        if count + more > capacity { reserveCapacity(Swift.max(count + more, 2 * capacity)) }
    }
}

extension ProtobufCBinaryData {
    /// What is not UTF-8 is replaced.
    var text: String { String(decoding: buffer, as: UTF8.self) }
}
