// In: a BulkUpsertRequest as another decoder gave it. Out: what the contract makes of it: the options
// or that they are bad, and each contact's values or its first fault in the contract's order. The
// rules of single values, which have test vectors of their own, are the project's.

@testable import Contacts
import Independent

struct RequestModel {
    let firstSequence: UInt64
    let contacts: [ContactModel]
    private(set) var options: UpsertOptions?
    private(set) var hasBadOptions = false
    private(set) var hasInvalidText = false
    let isStrictlyValid: Bool

    init(_ request: independent_request) {
        firstSequence = request.first_sequence
        isStrictlyValid = request.is_strictly_valid
        contacts = UnsafeBufferPointer(start: request.contacts, count: request.contact_count)
            .map(ContactModel.init)
        if request.has_options { options = read(request.options) }
    }

    private mutating func read(_ message: independent_options) -> UpsertOptions {
        var options = UpsertOptions()
        options.importID = text(message.import_id)
        if options.importID.unicodeScalars.count > 128 { hasBadOptions = true }
        options.matchBy = value(message.enums.0) ?? .email
        options.writeMode = value(message.enums.1) ?? .merge
        options.existence = value(message.enums.2) ?? .upsert
        options.results = value(message.enums.3) ?? .all
        options.defaultDialCode = text(message.default_dial_code)
        options.listIDs = Array(
            UnsafeBufferPointer(start: message.lists, count: message.list_count))
        options.runWorkflow = message.run_workflow
        options.validateOnly = message.validate_only
        options.maxFailures = message.max_failures
        let labels = UnsafeBufferPointer(start: message.labels, count: 2 * message.label_count)
        for index in 0..<message.label_count {
            let (name, value) = (labels[2 * index], labels[2 * index + 1])
            if name.count == 0 || name.count > 64 || value.count > 256 { hasBadOptions = true }
            options.labels[text(name)] = text(value)
        }
        if message.label_count > 32 || message.list_count > 100 { hasBadOptions = true }
        return options
    }

    private mutating func value<Value: RawRepresentable<UInt8>>(_ raw: Int32) -> Value? {
        if raw == 0 { return nil }
        let value = UInt8(exactly: raw).flatMap(Value.init(rawValue:))
        if value == nil { hasBadOptions = true }
        return value
    }

    private mutating func text(_ text: independent_text) -> String {
        guard let valid = ContactModel.text(text.array) else {
            hasBadOptions = true
            hasInvalidText = hasInvalidText || !text.array.contains(0)
            return ""
        }
        return valid
    }
}

struct ContactModel {
    /// What a contact comes to.
    enum Outcome: Equatable {
        case values(
            texts: [[UInt8]?], id: ContactID?, fields: [String: CustomField.Value]?, lists: [Int64])
        case fault(Reason, field: String)

        static func failure(_ error: ContactError) -> Outcome {
            .fault(error.reason ?? .databaseRejected, field: error.field)
        }
    }

    /// In the order of `TextField`.
    private var texts: [[UInt8]?]
    private let id: [UInt8]?
    private let lists: [Int64]
    private let fields: [independent_field]

    init(_ contact: independent_contact) {
        let all = [
            contact.texts.0, contact.texts.1, contact.texts.2, contact.texts.3, contact.texts.4,
            contact.texts.5, contact.texts.6,
        ].map { $0.is_present ? $0.array : nil }
        texts = [all[0], all[1], all[2], all[4], all[5], all[6]]
        id = all[3]
        lists = Array(UnsafeBufferPointer(start: contact.lists, count: contact.list_count))
        fields = Array(UnsafeBufferPointer(start: contact.fields, count: contact.field_count))
    }

    /// A text is not UTF-8; NUL is, for protobuf.
    var hasInvalidText: Bool {
        (texts + [id]).contains { $0.map(Self.isInvalid) ?? false }
            || fields.contains { Self.isInvalid($0.name.array) || Self.isInvalid($0.text.array) }
    }

    private static func isInvalid(_ bytes: [UInt8]) -> Bool {
        String(validating: bytes, as: UTF8.self) == nil
    }

    static func text(_ bytes: [UInt8]) -> String? {
        bytes.contains(0) ? nil : String(validating: bytes, as: UTF8.self)
    }

    func outcome(by rules: ContactRules) -> Outcome {
        if let fault = textFault() { return fault }
        var values: [[UInt8]?] = texts
        var matchingID: ContactID?
        if let key = rules.matchBy.textField {
            if let fault = normalize(key, rules, &values) { return fault }
            guard values[key.rawValue]?.isEmpty == false else {
                return .fault(.keyMissing, field: key.wireName)
            }
        } else {
            guard let id, !id.isEmpty else { return .fault(.keyMissing, field: "id") }
            matchingID = ContactID(String(decoding: id, as: UTF8.self))
            if matchingID == nil { return .fault(.fieldInvalid, field: "id") }
        }
        for field in [TextField.email, .phone] where field != rules.matchBy.textField {
            if let fault = normalize(field, rules, &values) { return fault }
        }
        if matchingID == nil, let id, !id.isEmpty { return .fault(.fieldInvalid, field: "id") }
        if let index = fields.firstIndex(where: { Self.isBad($0) }) {
            return .fault(.fieldInvalid, field: "fields.\(index)")
        }
        if fields.count > 300 { return .fault(.fieldInvalid, field: "fields.300") }
        if lists.count > 100 { return .fault(.fieldInvalid, field: "list_ids") }
        return .values(
            texts: values, id: matchingID, fields: fieldValues, lists: lists.filter { $0 != 0 })
    }

    /// "Text validity" comes before everything else, whichever the field.
    private func textFault() -> Outcome? {
        let limits: [TextField: Int] = [
            .externalID: 255, .name: 1024, .firstName: 1024, .lastName: 1024,
        ]
        for field in TextField.allCases {
            guard let bytes = texts[field.rawValue] else { continue }
            if Self.text(bytes) == nil { return .fault(.invalidUTF8, field: field.wireName) }
            if bytes.count > limits[field] ?? .max {
                return .fault(.valueTooLong, field: field.wireName)
            }
        }
        if let id, Self.text(id) == nil { return .fault(.invalidUTF8, field: "id") }
        let index = fields.firstIndex {
            Self.text($0.name.array) == nil || Self.text($0.text.array) == nil
        }
        return index.map { .fault(.invalidUTF8, field: "fields.\($0)") }
    }

    private func normalize(
        _ field: TextField, _ rules: ContactRules, _ values: inout [[UInt8]?]
    ) -> Outcome? {
        guard field != .externalID, let bytes = texts[field.rawValue] else { return nil }
        let text = String(decoding: bytes, as: UTF8.self)
        if text.unicodeScalars.allSatisfy({ $0.properties.isWhitespace }) {
            values[field.rawValue] = []
            return nil
        }
        let isEmail = field == .email
        let normalized =
            isEmail
            ? EmailRule.normalize(text)
            : PhoneRule.normalize(text, defaultDialCode: rules.dialCode)
        switch normalized {
        case .success(let value): values[field.rawValue] = Array(value.utf8)
        case .failure(let fault): return .fault(fault.reason, field: field.wireName)
        }
        return nil
    }

    private static func isBad(_ field: independent_field) -> Bool {
        if !(1...150).contains(field.name.count) { return true }
        switch field.kind {
        case 0: return true
        case 4: return !field.number.isFinite
        case 6:
            return !(-62_135_596_800...253_402_300_799).contains(field.seconds)
                || !(0...999_999_999).contains(field.nanos)
        default: return false
        }
    }

    private var fieldValues: [String: CustomField.Value]? {
        if fields.isEmpty { return nil }
        var values: [String: CustomField.Value] = [:]
        for field in fields {
            values[Self.key(field.name.array)] =
                switch field.kind {
                case 2: .string(Self.key(field.text.array))
                case 3: .integer(field.integer)
                case 4: .number(field.number == 0 ? 0 : field.number)
                case 5: .boolean(field.boolean)
                case 6:
                    .timestamp(
                        Timestamp(
                            seconds: field.seconds, nanoseconds: field.nanos / 1000 * 1000))
                default: .null
                }
        }
        return values
    }

    /// Texts are the same when their bytes are; String's own `==` takes é for e and an accent.
    private static func key(_ bytes: some Sequence<UInt8>) -> String {
        bytes.map { String($0, radix: 16) }.joined(separator: " ")
    }

    /// What the server made of a contact without a fault, read back.
    static func values(of output: NormalizedContact) -> Outcome {
        let texts = TextField.allCases.map { field -> [UInt8]? in
            let place = output.texts[field.rawValue]
            return place.isAbsent ? nil : Array(output.bytes[place.range])
        }
        var fields: [String: CustomField.Value]?
        if !output.fields.isAbsent {
            fields = [:]
            let json = Array(output.bytes[output.fields.range])
            for field in CustomFieldsReader.read(fields: json.span, kinds: output.fieldKinds.span) {
                var value = field.value
                if case .string(let text) = value { value = .string(key(text.utf8)) }
                fields?[key(field.name.utf8)] = value
            }
        }
        return .values(texts: texts, id: output.id, fields: fields, lists: output.lists)
    }
}

extension independent_text {
    var array: [UInt8] { Array(UnsafeBufferPointer(start: bytes, count: count)) }
}
