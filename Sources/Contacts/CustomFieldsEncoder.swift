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
        /// Orders nearly all names: the length in the first byte, then the first seven bytes.
        var order: UInt64
        /// The name as it came. It is the inside of the quoted one if that has no escapes.
        var name: Int32
        /// `"name": value`, its first part the name in quotes.
        var member: Int32
        var quotedNameEnd: Int32
        var memberEnd: Int32
        var kind: Kind

        var nameByteCount: Int { Int(order >> 56) }
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
        if ByteText.isPlainJSON(value) {
            return append(name, .plain) { JSONText.append(plain: value, to: &$0) }
        }
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
        patch.write(upTo: bytes.count + 2 * entries.count + 2) { start in
            var end = ByteCursor(start)
            end.put(ASCII.openBrace)
            let bytes = bytes.span
            for index in entries.indices {
                let entry = entries[index]
                if index > 0 {
                    end.put(ASCII.comma)
                    end.put(ASCII.space)
                }
                end.put(bytes.extracting(Int(entry.member)..<Int(entry.memberEnd)))
            }
            end.put(ASCII.closeBrace)
            return end.count(from: start)
        }
        if timestamps > 0 { finish(kinds: &kinds) }
    }

    private func finish(kinds: inout [UInt8]) {
        var separator: StaticString = "{"
        for entry in entries where entry.kind == .timestamp {
            JSONText.append(separator, to: &kinds)
            kinds.append(bytes.span.extracting(Int(entry.member)..<Int(entry.quotedNameEnd)))
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
        let isPlain = ByteText.isPlainJSON(name)
        let isUsual = isPlain && !name.isEmpty && name.count <= ContactLimits.fieldNameBytes
        if !isUsual || appended == ContactLimits.fields, let fault = fault(inName: name) {
            return fault
        }
        appended += 1
        var entry = Entry(
            order: Self.order(name), name: Int32(bytes.count + 1), member: Int32(bytes.count),
            quotedNameEnd: 0, memberEnd: 0, kind: kind)
        if isPlain {
            append(plainName: name)
        } else {
            append(otherName: name, &entry)
        }
        entry.quotedNameEnd = Int32(bytes.count - 2)
        writeValue(&bytes)
        entry.memberEnd = Int32(bytes.count)
        place(entry)
        return nil
    }

    /// `"name": `
    private mutating func append(plainName name: Span<UInt8>) {
        bytes.write(upTo: name.count + 4) { start in
            var end = ByteCursor(start)
            end.put(ASCII.quote)
            end.put(name)
            end.put(ASCII.quote)
            end.put(ASCII.colon)
            end.put(ASCII.space)
            return end.count(from: start)
        }
    }

    /// The same with escapes, and in front of it the name as it came.
    private mutating func append(otherName name: Span<UInt8>, _ entry: inout Entry) {
        entry.name = Int32(bytes.count)
        bytes.append(name)
        entry.member = Int32(bytes.count)
        JSONText.append(string: name, to: &bytes)
        JSONText.append(": ", to: &bytes)
    }

    private static func order(_ name: Span<UInt8>) -> UInt64 {
        let length = UInt64(name.count) << 56
        if name.count >= 8 {
            let first = name.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) }
            return length | first.bigEndian >> 8
        }
        var word: UInt64 = 0
        for index in name.indices { word = word << 8 | UInt64(name[index]) }
        return length | word
    }

    /// Puts the entry where jsonb has it; of the same name the last one stands.
    private mutating func place(_ entry: Entry) {
        if entry.kind != .plain { count(entry, 1) }
        var low = entries.count
        // Fields that come in order need one look each.
        if low > 0, !precedes(entries[low - 1], entry) { low = firstNotBefore(entry) }
        if low == entries.count {
            entries.append(entry)
        } else if precedes(entry, entries[low]) {
            insert(entry, at: low)
        } else {
            count(entries[low], -1)
            entries[low] = entry
        }
    }

    /// `Array.insert` would cost more than all else that is done for the few fields of a contact.
    private mutating func insert(_ entry: Entry, at place: Int) {
        entries.append(entry)
        entries.withUnsafeMutableBufferPointer { entries in
            var index = entries.count - 1
            while index > place {
                entries[index] = entries[index - 1]
                index -= 1
            }
            entries[place] = entry
        }
    }

    private func firstNotBefore(_ entry: Entry) -> Int {
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if precedes(entries[middle], entry) {
                low = middle + 1
            } else {
                high = middle
            }
        }
        return low
    }

    private mutating func count(_ entry: Entry, _ change: Int) {
        if entry.kind == .null { nulls += change }
        if entry.kind == .timestamp { timestamps += change }
    }

    /// jsonb's order: the shorter name first, then by bytes.
    private func precedes(_ left: Entry, _ right: Entry) -> Bool {
        if left.order != right.order { return left.order < right.order }
        let span = bytes.span
        var offset = 7
        while offset < left.nameByteCount {
            let a = span[Int(left.name) + offset]
            let b = span[Int(right.name) + offset]
            if a != b { return a < b }
            offset += 1
        }
        return false
    }
}

extension ASCII {
    static let space = UInt8(ascii: " ")
}
