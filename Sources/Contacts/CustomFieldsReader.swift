// Reads stored custom fields back as the typed values that were written.
// In: fields and kinds as the database prints them. Out: fields in jsonb's order.
// Pure functions, any thread. What other programs stored and the API has no kind for, a nested
// object or array, comes as a string with its JSON text; null comes as null. Text that is no JSON
// object gives the fields before the place where it breaks.

package enum CustomFieldsReader {
    package static func read(fields: Span<UInt8>, kinds: Span<UInt8>) -> [CustomField] {
        var result: [CustomField] = []
        var walk = KindedWalk()
        walk.advance(fields, kinds)
        while walk.state == .member {
            let member = walk.member
            let name = text(fields.extracting(member.name), isEscaped: member.nameIsEscaped)
            let value = value(fields.extracting(member.value), isTimestamp: walk.isTimestamp)
            result.append(CustomField(name, value))
            walk.advance(fields, kinds)
        }
        return result
    }

    private static func value(_ token: Span<UInt8>, isTimestamp: Bool) -> CustomField.Value {
        switch token[0] {
        case ASCII.quote:
            let inside = token.extracting(1..<token.count - 1)
            if isTimestamp, let time = TimestampText.parse(inside) { return .timestamp(time) }
            return .string(text(inside, isEscaped: true))
        case UInt8(ascii: "t") where token.count == 4:
            return .boolean(true)
        case UInt8(ascii: "f") where token.count == 5:
            return .boolean(false)
        case UInt8(ascii: "n") where token.count == 4:
            return .null
        case ASCII.hyphen, ASCII.zero...ASCII.nine:
            return number(TextRule.string(token))
        default:
            return .string(TextRule.string(token))
        }
    }

    /// Whole when it has neither point nor exponent and fits; a number that no double comes near
    /// stays a text.
    private static func number(_ text: String) -> CustomField.Value {
        if let whole = Int64(text) { return .integer(whole) }
        if let number = Double(text), number.isFinite { return .number(number) }
        return .string(text)
    }

    private static func text(_ inside: Span<UInt8>, isEscaped: Bool) -> String {
        isEscaped
            ? String(decoding: JSONString.unescape(inside), as: UTF8.self)
            : TextRule.string(inside)
    }
}
