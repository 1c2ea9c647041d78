// Makes the custom fields of one contact into the JSON that goes to the database.
// In: names and values as they came, one call each. Out: the patch and the kinds, as JSON text in
// exactly the form in which PostgreSQL's jsonb prints it, so that texts can be compared as bytes.
// A value of one thread; reused for each contact, it allocates nothing once its buffers have grown,
// but for doubles of 16 or 17 digits.
// Order and form of jsonb: PostgreSQL 15, src/backend/utils/adt/jsonb_util.c
// (lengthCompareJsonbString) and jsonb.c (JsonbToCString), json.c (escape_json).

package struct CustomFieldsEncoder {
    /// One field. All places are in `bytes`.
    private struct Entry {
        /// The name as it came.
        var name: Range<Int>
        /// `"name": value`, its first part the name in quotes.
        var member: Range<Int>
        var quotedNameEnd: Int
        var kind: Kind
    }

    private enum Kind {
        case plain
        case timestamp
        case null
    }

    private var bytes: [UInt8] = []
    /// In jsonb's order, each name once.
    private var entries: [Entry] = []
    private var appended = 0
    private var nulls = 0
    private var timestamps = 0

    package init() {}

    /// Whether no field was appended.
    package var isEmpty: Bool { entries.isEmpty }

    /// Whether the patch removes a field.
    package var hasNulls: Bool { nulls > 0 }

    /// Whether there are kinds to write.
    package var hasKinds: Bool { timestamps > 0 }

    /// Begins another contact.
    package mutating func reset() {
        bytes.removeAll(keepingCapacity: true)
        entries.removeAll(keepingCapacity: true)
        appended = 0
        nulls = 0
        timestamps = 0
    }

    // MARK: - Fields

    /// Any text, the empty one too.
    package mutating func appendString(name: Span<UInt8>, value: Span<UInt8>) -> RuleFault? {
        if let fault = TextRule.validity(value) {
            return RuleFault(fault.reason, "the value of a custom field " + fault.message)
        }
        return append(name, .plain) { JSONText.append(string: value, to: &$0) }
    }

    /// A whole number.
    package mutating func appendInteger(name: Span<UInt8>, value: Int64) -> RuleFault? {
        append(name, .plain) { JSONText.append(integer: value, to: &$0) }
    }

    /// A finite number.
    package mutating func appendNumber(name: Span<UInt8>, value: Double) -> RuleFault? {
        guard value.isFinite else {
            return RuleFault(.fieldInvalid, "a custom field is not a finite number")
        }
        return append(name, .plain) { JSONText.append(number: value, to: &$0) }
    }

    /// True or false.
    package mutating func appendBoolean(name: Span<UInt8>, value: Bool) -> RuleFault? {
        append(name, .plain) { JSONText.append(value ? "true" : "false", to: &$0) }
    }

    /// A point in time, cut to the microsecond.
    package mutating func appendTimestamp(
        name: Span<UInt8>, seconds: Int64, nanos: Int32
    ) -> RuleFault? {
        guard TimestampText.seconds.contains(seconds), (0...999_999_999).contains(nanos) else {
            return RuleFault(
                .fieldInvalid,
                "a custom field is a time outside of the years 1 to 9999 or with wrong nanoseconds")
        }
        return append(name, .timestamp) {
            TimestampText.append(seconds: seconds, nanos: nanos, to: &$0)
        }
    }

    /// Removes the field.
    package mutating func appendNull(name: Span<UInt8>) -> RuleFault? {
        append(name, .null) { JSONText.append("null", to: &$0) }
    }

    /// A field that came without any value.
    package mutating func appendMissing(name: Span<UInt8>) -> RuleFault? {
        fault(inName: name) ?? RuleFault(.fieldInvalid, "a custom field has no value")
    }

    // MARK: - The texts

    /// Appends the patch, and the kinds unless there are none.
    package func finish(into patch: inout [UInt8], kinds: inout [UInt8]) {
        patch.reserveCapacity(patch.count + bytes.count + 2 * entries.count + 2)
        patch.append(ASCII.openBrace)
        for (index, entry) in entries.enumerated() {
            if index > 0 { JSONText.append(", ", to: &patch) }
            patch.append(bytes.span.extracting(entry.member))
        }
        patch.append(ASCII.closeBrace)
        if timestamps == 0 { return }
        var separator: StaticString = "{"
        for entry in entries where entry.kind == .timestamp {
            JSONText.append(separator, to: &kinds)
            kinds.append(
                bytes.span.extracting(entry.member.lowerBound..<entry.quotedNameEnd))
            JSONText.append(": \"timestamp\"", to: &kinds)
            separator = ", "
        }
        kinds.append(ASCII.closeBrace)
    }

    // MARK: - Inside

    private func fault(inName name: Span<UInt8>) -> RuleFault? {
        if let fault = TextRule.validity(name) {
            return RuleFault(fault.reason, "the name of a custom field " + fault.message)
        }
        if name.isEmpty { return RuleFault(.fieldInvalid, "a custom field has no name") }
        if name.count > ContactLimits.fieldNameBytes {
            return RuleFault(
                .fieldInvalid,
                "the name of a custom field is longer than \(ContactLimits.fieldNameBytes) bytes")
        }
        if appended == ContactLimits.fields {
            return RuleFault(
                .fieldInvalid, "has more than \(ContactLimits.fields) custom fields")
        }
        return nil
    }

    @inline(__always)
    private mutating func append(
        _ name: Span<UInt8>, _ kind: Kind, _ writeValue: (inout [UInt8]) -> Void
    ) -> RuleFault? {
        if let fault = fault(inName: name) { return fault }
        appended += 1
        let nameStart = bytes.count
        bytes.append(name)
        let memberStart = bytes.count
        JSONText.append(string: name, to: &bytes)
        let quotedNameEnd = bytes.count
        JSONText.append(": ", to: &bytes)
        writeValue(&bytes)
        place(
            Entry(
                name: nameStart..<memberStart, member: memberStart..<bytes.count,
                quotedNameEnd: quotedNameEnd, kind: kind))
        return nil
    }

    /// Puts the entry where jsonb has it; of the same name the last one stands.
    private mutating func place(_ entry: Entry) {
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if precedes(entries[middle].name, entry.name) {
                low = middle + 1
            } else {
                high = middle
            }
        }
        count(entry, 1)
        if low < entries.count, !precedes(entry.name, entries[low].name) {
            count(entries[low], -1)
            entries[low] = entry
        } else {
            entries.insert(entry, at: low)
        }
    }

    private mutating func count(_ entry: Entry, _ change: Int) {
        if entry.kind == .null { nulls += change }
        if entry.kind == .timestamp { timestamps += change }
    }

    /// jsonb's order: the shorter name first, then by bytes.
    private func precedes(_ left: Range<Int>, _ right: Range<Int>) -> Bool {
        if left.count != right.count { return left.count < right.count }
        let span = bytes.span
        for offset in 0..<left.count {
            let a = span[left.lowerBound + offset]
            let b = span[right.lowerBound + offset]
            if a != b { return a < b }
        }
        return false
    }
}
