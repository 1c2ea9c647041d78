// Brings a patch of custom fields into the stored ones, as JSON texts in jsonb's form.
// In: stored fields and kinds as the database prints them, a patch and its kinds as
// `CustomFieldsEncoder` writes them. Out: the merged texts, and whether anything differs.
// Pure functions, any thread. Both objects are in the same order, so one walk over both does it;
// values are raw tokens, so what other programs stored (nested objects, nulls) stays as it is.
// Stored fields that are no object in jsonb's order count as none, and differ.

package enum CustomFieldsMerge {
    /// Appends the stored fields with the patch's values in place of theirs and without what the
    /// patch removes, and their kinds, nothing when there are none. Whether that differs from what
    /// is stored, in a value or its kind.
    package static func merge(
        stored: Span<UInt8>, storedKinds: Span<UInt8>, patch: Span<UInt8>, patchKinds: Span<UInt8>,
        intoFields fields: inout [UInt8], kinds: inout [UInt8]
    ) -> Bool {
        if same(stored, patch), same(storedKinds, patchKinds), !mayHoldNull(patch) {
            fields.append(stored)
            kinds.append(storedKinds)
            return false
        }
        let fieldsStart = fields.count
        let kindsStart = kinds.count
        var run = MergeRun(fields: fieldsStart, kinds: kindsStart)
        if let differs = run.merge(stored, storedKinds, patch, patchKinds, &fields, &kinds) {
            return differs
        }
        fields.removeSubrange(fieldsStart...)
        kinds.removeSubrange(kindsStart...)
        withoutNulls(patch, into: &fields)
        kinds.append(patchKinds)
        return true
    }

    /// Appends the patch without the fields that it removes: the fields of a new contact.
    package static func withoutNulls(_ patch: Span<UInt8>, into fields: inout [UInt8]) {
        if !mayHoldNull(patch), !patch.isEmpty {
            fields.append(patch)
            return
        }
        let start = fields.count
        var walk = JSONWalk()
        walk.advance(patch)
        while walk.state == .member {
            if !isNull(patch, walk.member) {
                appendMember(patch.extracting(walk.member.whole), since: start, to: &fields)
            }
            walk.advance(patch)
        }
        close(&fields, since: start, emptyObject: true)
    }

    /// What a contact may not have become by merging: the limits of a contact hold for all its custom
    /// fields, however many calls they came with.
    ///
    /// - Parameter standing: What they were; fields that are past a limit already may get fewer.
    package static func fault(
        ofMerged fields: Span<UInt8>, standing: Span<UInt8>
    ) -> RuleFault? {
        guard fields.count <= max(ContactLimits.storedFieldBytes, standing.count) else {
            return RuleFault(
                .contactTooLarge,
                """
                the contact's custom fields would have \(fields.count) bytes as JSON; the limit is \
                \(ContactLimits.storedFieldBytes)
                """)
        }
        // The shortest field, with what parts it from the next, is `"a": 1, `.
        guard fields.count > ContactLimits.fields * 8 else { return nil }
        let count = memberCount(fields)
        guard count > ContactLimits.fields, count > memberCount(standing) else { return nil }
        return RuleFault(
            .fieldInvalid,
            """
            the contact would have \(count) custom fields; the limit is \(ContactLimits.fields), \
            remove some with null or replace them
            """)
    }

    private static func memberCount(_ fields: Span<UInt8>) -> Int {
        var count = 0
        var walk = JSONWalk()
        walk.advance(fields)
        while walk.state == .member {
            count += 1
            walk.advance(fields)
        }
        return count
    }

    /// Whether the patch, without the fields that it removes, is what is stored: fields and kinds.
    package static func isEqual(
        stored: Span<UInt8>, storedKinds: Span<UInt8>, patch: Span<UInt8>, patchKinds: Span<UInt8>
    ) -> Bool {
        if same(stored, patch), same(storedKinds, patchKinds), !mayHoldNull(patch) { return true }
        var left = KindedWalk()
        var right = KindedWalk()
        left.advance(stored, storedKinds)
        right.advanceOverNulls(patch, patchKinds)
        while left.state == .member, right.state == .member {
            guard JSONName.compare(stored, left.member, patch, right.member) == 0,
                sameValue(stored, left, patch, right)
            else { return false }
            left.advance(stored, storedKinds)
            right.advanceOverNulls(patch, patchKinds)
        }
        return left.state == .end && right.state == .end
    }

    // MARK: - Shared with the walk

    static func isNull(_ text: Span<UInt8>, _ member: JSONMember) -> Bool {
        // No other value begins with n.
        member.value.count == 4 && text[member.value.lowerBound] == UInt8(ascii: "n")
    }

    static func sameValue(
        _ leftText: Span<UInt8>, _ left: KindedWalk, _ rightText: Span<UInt8>, _ right: KindedWalk
    ) -> Bool {
        left.isTimestamp == right.isTimestamp
            && same(
                leftText.extracting(left.member.value), rightText.extracting(right.member.value))
    }

    static func same(_ left: Span<UInt8>, _ right: Span<UInt8>) -> Bool {
        guard left.count == right.count else { return false }
        return left.withUnsafeBytes { a in
            right.withUnsafeBytes { b in
                var index = 0
                while index + 8 <= a.count {
                    if a.loadUnaligned(fromByteOffset: index, as: UInt64.self)
                        != b.loadUnaligned(fromByteOffset: index, as: UInt64.self)
                    {
                        return false
                    }
                    index += 8
                }
                while index < a.count {
                    if a[index] != b[index] { return false }
                    index += 1
                }
                return true
            }
        }
    }

    /// False only when no member is null; a text that holds these bytes makes it true too.
    private static func mayHoldNull(_ patch: Span<UInt8>) -> Bool {
        patch.withUnsafeBytes { bytes in
            var index = 3
            while index < bytes.count {
                let byte = bytes[index]
                if byte == UInt8(ascii: "l"), bytes[index - 1] == byte,
                    bytes[index - 2] == UInt8(ascii: "u"), bytes[index - 3] == UInt8(ascii: "n")
                {
                    return true
                }
                // A byte that is not in `null`: the next one can end four bytes on at the earliest.
                let isInside =
                    byte == UInt8(ascii: "n") || byte == UInt8(ascii: "u")
                    || byte == UInt8(ascii: "l")
                index += isInside ? 1 : 4
            }
            return false
        }
    }

    /// Appends `{` or `, `, and the member.
    static func appendMember(_ member: Span<UInt8>, since start: Int, to output: inout [UInt8]) {
        let isFirst = output.count == start
        output.write(upTo: member.count + 2) { begin in
            var end = ByteCursor(begin)
            end.put(isFirst ? ASCII.openBrace : ASCII.comma)
            if !isFirst { end.put(ASCII.space) }
            end.put(member)
            return end.count(from: begin)
        }
    }

    static func close(_ output: inout [UInt8], since start: Int, emptyObject: Bool) {
        if output.count > start {
            output.append(ASCII.closeBrace)
        } else if emptyObject {
            JSONText.append("{}", to: &output)
        }
    }
}

/// A walk over fields with their kinds beside them.
struct KindedWalk {
    private var fields = JSONWalk()
    private var kinds = JSONWalk()
    /// Whether the member is a timestamp: the kinds say so and the value is a string still, for
    /// another program may have put something else in its place.
    private(set) var isTimestamp = false

    var state: JSONWalk.State { fields.state }
    var member: JSONMember { fields.member }

    mutating func advance(_ text: Span<UInt8>, _ kindsText: Span<UInt8>) {
        fields.advance(text)
        isTimestamp = false
        if fields.state != .member { return }
        if kinds.state == .begin { kinds.advance(kindsText) }
        while kinds.state == .member {
            let order = JSONName.compare(kindsText, kinds.member, text, fields.member)
            if order > 0 { return }
            if order == 0 {
                isTimestamp = text[fields.member.value.lowerBound] == ASCII.quote
                return
            }
            kinds.advance(kindsText)
        }
    }

    mutating func advanceOverNulls(_ text: Span<UInt8>, _ kindsText: Span<UInt8>) {
        repeat {
            advance(text, kindsText)
        } while state == .member && CustomFieldsMerge.isNull(text, member)
    }
}

/// One merge on its way.
private struct MergeRun {
    /// Where its output begins.
    let fields: Int
    let kinds: Int
    private var differs = false
    /// Members that are still to be written: neighbours in one of the texts, with what parts them.
    private var pending = 0..<0
    private var pendingIsStored = false

    init(fields: Int, kinds: Int) {
        self.fields = fields
        self.kinds = kinds
    }

    /// nil when a text is malformed.
    mutating func merge(
        _ stored: Span<UInt8>, _ storedKinds: Span<UInt8>, _ patch: Span<UInt8>,
        _ patchKinds: Span<UInt8>, _ output: inout [UInt8], _ kindsOutput: inout [UInt8]
    ) -> Bool? {
        var old = KindedWalk()
        var new = KindedWalk()
        old.advance(stored, storedKinds)
        new.advance(patch, patchKinds)
        while old.state == .member || new.state == .member {
            let order =
                new.state != .member
                ? -1
                : old.state != .member
                    ? 1 : JSONName.compare(stored, old.member, patch, new.member)
            if order < 0 {
                take(
                    old.member, old.isTimestamp, of: stored, isStored: true, other: patch, &output,
                    &kindsOutput)
            } else {
                if !CustomFieldsMerge.isNull(patch, new.member) {
                    take(
                        new.member, new.isTimestamp, of: patch, isStored: false, other: stored,
                        &output, &kindsOutput)
                    differs =
                        differs || order > 0
                        || !CustomFieldsMerge.sameValue(stored, old, patch, new)
                } else if order == 0 {
                    differs = true
                }
                new.advance(patch, patchKinds)
            }
            if order <= 0 { old.advance(stored, storedKinds) }
        }
        if old.state == .malformed || new.state == .malformed { return nil }
        write(pendingIsStored ? stored : patch, &output)
        CustomFieldsMerge.close(&output, since: fields, emptyObject: true)
        CustomFieldsMerge.close(&kindsOutput, since: kinds, emptyObject: false)
        return differs
    }

    /// Takes a member of one text over. One that follows in its text on the one before is written
    /// with it, as long as they are parted as jsonb parts them.
    @inline(__always)
    private mutating func take(
        _ member: JSONMember, _ isTimestamp: Bool, of text: Span<UInt8>, isStored: Bool,
        other: Span<UInt8>,
        _ output: inout [UInt8], _ kindsOutput: inout [UInt8]
    ) {
        let whole = member.whole
        let end = pending.upperBound
        if isStored == pendingIsStored, !pending.isEmpty, whole.lowerBound == end + 2,
            text[end] == ASCII.comma, text[end + 1] == ASCII.space
        {
            pending = pending.lowerBound..<whole.upperBound
        } else {
            write(isStored == pendingIsStored ? text : other, &output)
            pending = whole
            pendingIsStored = isStored
        }
        if isTimestamp {
            let name = member.name
            CustomFieldsMerge.appendMember(
                text.extracting(name.lowerBound - 1..<name.upperBound + 1), since: kinds,
                to: &kindsOutput)
            JSONText.append(": \"timestamp\"", to: &kindsOutput)
        }
    }

    /// Writes what is pending, of the text that it is in.
    private func write(_ text: Span<UInt8>, _ output: inout [UInt8]) {
        guard !pending.isEmpty else { return }
        CustomFieldsMerge.appendMember(text.extracting(pending), since: fields, to: &output)
    }
}
