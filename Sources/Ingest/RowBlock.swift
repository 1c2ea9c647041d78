// Contacts of one call on their way to one lane: rows ready for COPY, back to back.
//
// In: normalised contacts, on the event loop. Out: the block as one value, handed to the lane's
// thread. No allocation per contact: both arrays grow and are handed over whole.

package import Contacts

/// What decides how the contacts of an import are written.
package struct WritePlan: Sendable, Hashable {
    package let workspace: Workspace
    package let matchBy: MatchBy
    package let writeMode: WriteMode
    package let existence: Existence
    package let runsWorkflow: Bool
    /// Lists that every contact joins beside its own, in order. Rows do not repeat them.
    let lists: [Int64]

    package init(workspace: Workspace, options: UpsertOptions) {
        self.workspace = workspace
        matchBy = options.matchBy
        writeMode = options.writeMode
        existence = options.existence
        runsWorkflow = options.runWorkflow
        lists = options.joinedLists
    }

    /// What is matched.
    var key: Identifier {
        switch matchBy {
        case .email: .email
        case .phone: .phone
        case .externalID: .externalID
        case .id: .id
        }
    }

    /// Whether any two contacts may contend for an identifier that is not the one matched.
    var contactsContend: Bool { workspace.uniqueBy.count > 1 || matchBy == .id }
}

package struct RowBlock: Sendable {
    /// One row and what COPY does not carry of it.
    struct Row {
        /// The contact's number in its import.
        var sequence: UInt64
        var keyHash: UInt64
        var offset: Int32
        var byteCount: Int32
        /// Bit 0...5 the texts, bit 6 the custom fields: what the contact mentions.
        var mentioned: UInt8
        /// Bytes after the row that hold the custom fields with their nulls; 0: the row's own.
        var patchByteCount: Int32
        /// An earlier call has decided it: only its id is looked up.
        var isReplay: Bool
    }

    /// A contact that broke a rule: it has no row, but counts in its import.
    package struct Refusal: Sendable {
        package let sequence: UInt64
        package let error: ContactError

        package init(sequence: UInt64, error: ContactError) {
            self.sequence = sequence
            self.error = error
        }
    }

    let plan: WritePlan
    private(set) var bytes: [UInt8] = []
    private(set) var rows: [Row] = []
    /// Refused contacts of the same call.
    package var refusals: [Refusal] = []

    package init(plan: WritePlan) {
        self.plan = plan
    }

    package var contactCount: Int { rows.count }
    package var byteCount: Int { bytes.count + refusals.count * Self.refusalByteCount }
    /// What an error takes, its texts and the memory around them.
    private static let refusalByteCount = 256
    package var isEmpty: Bool { rows.isEmpty && refusals.isEmpty }

    /// A block is taken whole, so it must not make a transaction too large.
    package var isFull: Bool {
        rows.count + refusals.count >= LaneQueue.blockContactLimit
            || byteCount >= LaneQueue.blockByteLimit
    }

    /// The bits of `Row.mentioned` for custom fields and for lists.
    static let fieldsBit = 6
    static let listsBit = 7

    /// Adds a contact.
    ///
    /// - Parameters:
    ///   - id: The id that it gets if it is new; unused when it is matched by id.
    ///   - keyHash: `KeyHash.of` its matching identifier.
    ///   - isReplay: Whether an earlier call of the import has decided it.
    package mutating func append(
        _ contact: borrowing NormalizedContact, sequence: UInt64, id: ContactID, keyHash: UInt64,
        isReplay: Bool = false
    ) {
        let id = contact.id ?? id
        let lists = contact.lists.isEmpty ? [] : Set(contact.lists).sorted()
        var byteCount = RowLayout.columnsOffset + 4 * RowLayout.variableColumnCount
        var mentioned: UInt8 = 0
        for index in 0..<RowLayout.textColumnCount {
            let length = contact.texts[index].length
            if length >= 0 { mentioned |= 1 << UInt8(index) }
            byteCount += Int(max(length, 0))
        }
        let patchLength = contact.fields.isAbsent ? 0 : Int(contact.fields.length)
        if patchLength > 0 { mentioned |= 1 << UInt8(Self.fieldsBit) }
        // A contact that removes fields carries the patch itself after the row; a new contact
        // would have nothing to remove.
        var kept: [UInt8] = []
        if contact.removesFields {
            CustomFieldsMerge.withoutNulls(
                contact.bytes.span.extracting(contact.fields.range), into: &kept)
        }
        let fieldsLength = contact.removesFields ? kept.count : max(patchLength, 2)
        byteCount += 1 + fieldsLength
        if !contact.fieldKinds.isEmpty { byteCount += 1 + contact.fieldKinds.count }
        byteCount += lists.count * 8
        if !lists.isEmpty { mentioned |= 1 << UInt8(Self.listsBit) }
        let patchByteCount = contact.removesFields ? 1 + patchLength : 0

        let offset = bytes.count
        bytes.grow(by: byteCount + patchByteCount) { [workspace = plan.workspace] row in
            RowLayout.writePrefix(row, workspace: workspace, id: id)
            contact.bytes.withUnsafeBytes { source in
                var writer = ColumnWriter(row: row)
                for index in 0..<RowLayout.textColumnCount {
                    writer.text(contact.texts[index], source)
                }
                if contact.removesFields {
                    kept.withUnsafeBytes { writer.json($0) }
                } else if patchLength > 0 {
                    writer.json(UnsafeRawBufferPointer(rebasing: source[contact.fields.range]))
                } else {
                    writer.noFields()
                }
                if contact.fieldKinds.isEmpty {
                    writer.null()
                } else {
                    contact.fieldKinds.withUnsafeBytes { writer.json($0) }
                }
                writer.lists(lists)
                if patchByteCount > 0 {
                    writer.patch(UnsafeRawBufferPointer(rebasing: source[contact.fields.range]))
                }
            }
        }
        rows.append(
            Row(
                sequence: sequence, keyHash: keyHash, offset: Int32(offset),
                byteCount: Int32(byteCount), mentioned: mentioned,
                patchByteCount: Int32(patchByteCount), isReplay: isReplay))
    }
}

/// Writes the columns of a row one after another.
struct ColumnWriter {
    let row: UnsafeMutableRawPointer
    private(set) var offset = RowLayout.columnsOffset

    init(row: UnsafeMutableRawPointer) {
        self.row = row
    }

    /// A text; absent and cleared ones are NULL.
    mutating func text(_ value: NormalizedContact.Location, _ source: UnsafeRawBufferPointer) {
        guard value.length > 0 else { return null() }
        bytes(UnsafeRawBufferPointer(rebasing: source[value.range]))
    }

    mutating func column(_ value: ColumnBytes) {
        guard value.start != nil else { return null() }
        bytes(value.buffer)
    }

    /// A column of another row.
    @inline(__always)
    mutating func piece(_ piece: RowPiece) {
        (row + offset).copyMemory(from: piece.start, byteCount: piece.count)
        offset += piece.count
    }

    mutating func json(_ text: UnsafeRawBufferPointer) {
        RowLayout.store(Int32(text.count + 1), row, offset)
        offset += 4
        patch(text)
    }

    mutating func lists(_ lists: [Int64]) {
        guard !lists.isEmpty else { return null() }
        RowLayout.store(Int32(lists.count * 8), row, offset)
        offset += 4
        for list in lists {
            RowLayout.store(list, row, offset)
            offset += 8
        }
    }

    mutating func noFields() {
        json(UnsafeRawBufferPointer(start: RowLayout.noFields.utf8Start, count: 2))
    }

    /// A jsonb value without a length before it.
    mutating func patch(_ text: UnsafeRawBufferPointer) {
        row.storeBytes(of: RowLayout.jsonbVersion, toByteOffset: offset, as: UInt8.self)
        copy(text, to: offset + 1)
        offset += 1 + text.count
    }

    mutating func null() {
        RowLayout.store(Int32(-1), row, offset)
        offset += 4
    }

    private mutating func bytes(_ value: UnsafeRawBufferPointer) {
        RowLayout.store(Int32(value.count), row, offset)
        copy(value, to: offset + 4)
        offset += 4 + value.count
    }

    private func copy(_ value: UnsafeRawBufferPointer, to offset: Int) {
        guard let start = value.baseAddress else { return }
        (row + offset).copyMemory(from: start, byteCount: value.count)
    }
}

extension [UInt8] {
    /// Appends bytes that `body` writes, all of them; it gets their start.
    @inline(__always)
    mutating func grow(by byteCount: Int, _ body: (UnsafeMutableRawPointer) -> Void) {
        append(addingCapacity: byteCount) { output in
            output.withUnsafeMutableBufferPointer { buffer, count in
                precondition(buffer.count >= byteCount, "there is room for what is written")
                if let base = buffer.baseAddress { body(base) }
                count = byteCount
            }
        }
    }
}

/// The hash that places a contact in a lane and finds repeats of a key. It is seeded for each
/// process, so that nobody can choose keys that collide.
package enum KeyHash {
    private static let seed = UInt64.random(in: .min ... .max)

    /// Of the identifier that a contact is matched by.
    package static func of(_ contact: borrowing NormalizedContact, _ matchBy: MatchBy) -> UInt64 {
        guard let field = matchBy.textField else {
            return contact.id.map { of($0) } ?? 0
        }
        return contact.bytes.withUnsafeBytes { bytes in
            of(UnsafeRawBufferPointer(rebasing: bytes[contact.texts[field.rawValue].range]))
        }
    }

    private static func of(_ id: ContactID) -> UInt64 {
        withUnsafeBytes(of: (id.high.bigEndian, id.low.bigEndian)) { of($0) }
    }

    /// Multiply and fold, eight bytes at a time, as wyhash does.
    static func of(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        var hash = seed ^ UInt64(truncatingIfNeeded: bytes.count)
        var offset = 0
        while offset + 8 <= bytes.count {
            hash = mix(
                hash ^ bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self),
                0x9E37_79B9_7F4A_7C15)
            offset += 8
        }
        var rest: UInt64 = 0
        while offset < bytes.count {
            rest = rest << 8 | UInt64(bytes[offset])
            offset += 1
        }
        return mix(hash ^ rest, 0xD6E8_FEB8_6659_FD93)
    }

    static func mix(_ left: UInt64, _ right: UInt64) -> UInt64 {
        let product = left.multipliedFullWidth(by: right)
        return product.high ^ product.low
    }
}
