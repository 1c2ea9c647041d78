// One contact onto another: what stands, what comes, and what comes of both.
//
// In: two rows. Out: whether anything differs, and the columns of the row that results. Pure; the
// columns point into the two rows, or into the scratch memory when custom fields were merged.

internal import Contacts

/// Where merged custom fields are written; kept from contact to contact.
struct MergeScratch {
    fileprivate var fields: [UInt8] = []
    fileprivate var kinds: [UInt8] = []
    fileprivate var lists: [UInt8] = []

    /// Brings lists that are each in order together, each list once.
    /// The result is kept until the next use.
    mutating func join(_ standing: ListBytes, _ joined: ListBytes, _ more: [Int64]) {
        lists.removeAll(keepingCapacity: true)
        var (left, middle, right) = (0, 0, 0)
        while true {
            var next = Int64.max
            if left < standing.count { next = min(next, standing[left]) }
            if middle < joined.count { next = min(next, joined[middle]) }
            if right < more.count { next = min(next, more[right]) }
            if left == standing.count, middle == joined.count, right == more.count { return }
            if left < standing.count, standing[left] == next { left += 1 }
            if middle < joined.count, joined[middle] == next { middle += 1 }
            if right < more.count, more[right] == next { right += 1 }
            ListBytes.append(next, to: &lists)
        }
    }

    /// Columns with the lists that `join` gave.
    func withLists<Result>(of columns: RowColumns, _ body: (RowColumns) -> Result) -> Result {
        var columns = columns
        return lists.withUnsafeBytes { lists in
            columns[RowLayout.listsColumn] = ColumnBytes(
                start: lists.baseAddress, count: lists.count)
            return body(columns)
        }
    }

    /// What the merged custom fields take in a row, with their lengths.
    var fieldsByteCount: Int { 8 + fields.count + (hasKinds ? kinds.count : 0) }

    /// What the joined lists take in a row.
    var listsByteCount: Int { 4 + lists.count }

    func writeFields(_ writer: inout ColumnWriter) {
        writer.column(fields)
        if hasKinds { writer.column(kinds) } else { writer.null() }
    }

    func writeLists(_ writer: inout ColumnWriter) { writer.column(lists) }

    /// More than the version byte of jsonb.
    private var hasKinds: Bool { kinds.count > 1 }
}

extension ColumnWriter {
    fileprivate mutating func column(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { column(ColumnBytes(start: $0.baseAddress, count: $0.count)) }
    }
}

struct RowMerge {
    enum Result {
        case unchanged
        case changed
        /// The custom fields may not become what they would.
        case refused(RuleFault)
    }

    let current: RowView
    let incoming: RowView
    /// Custom fields with their nulls, when the contact removes any.
    let patch: ColumnBytes?
    let mentioned: UInt8
    let mode: WriteMode

    /// Bit 0...5: the texts that differ.
    private(set) var changed: UInt8 = 0
    private(set) var fieldsAreReplaced = false
    private(set) var fieldsAreMerged = false
    private(set) var listsAreMerged = false

    init(
        current: RowView, incoming: RowView, patch: ColumnBytes?, mentioned: UInt8, mode: WriteMode
    ) {
        self.current = current
        self.incoming = incoming
        self.patch = patch
        self.mentioned = mentioned
        self.mode = mode
    }

    /// A column of the row that results, unless it is in the scratch.
    @inline(__always)
    func piece(_ column: Int) -> RowPiece {
        let isTaken =
            column < RowLayout.textColumnCount
            ? changed & 1 << UInt8(column) != 0
            : column < RowLayout.listsColumn && fieldsAreReplaced
        return isTaken ? incoming.piece(column) : current.piece(column)
    }

    /// - Parameter lists: Lists to join beside those of the contact.
    mutating func run(_ scratch: inout MergeScratch, lists: [Int64]) -> Result {
        for index in 0..<RowLayout.textColumnCount {
            guard mode == .replace || mentioned & 1 << UInt8(index) != 0 else { continue }
            if !incoming.hasSame(index, as: current) { changed |= 1 << UInt8(index) }
        }
        if let fault = mergeFields(&scratch) { return .refused(fault) }
        mergeLists(&scratch, lists)
        let differs = changed != 0 || fieldsAreReplaced || fieldsAreMerged || listsAreMerged
        return differs ? .changed : .unchanged
    }

    /// Lists are joined, never left.
    private mutating func mergeLists(_ scratch: inout MergeScratch, _ lists: [Int64]) {
        let joined = ListBytes(incoming.lists)
        if joined.count == 0, lists.isEmpty { return }
        let standing = ListBytes(current.lists)
        let isMember =
            (0..<joined.count).allSatisfy { standing.contains(joined[$0]) }
            && lists.allSatisfy { standing.contains($0) }
        guard !isMember else { return }
        scratch.join(standing, joined, lists)
        listsAreMerged = true
    }

    private mutating func mergeFields(_ scratch: inout MergeScratch) -> RuleFault? {
        guard mode == .replace || mentioned & 1 << UInt8(RowBlock.fieldsBit) != 0 else {
            return nil
        }
        // A row holds its fields without nulls, in the form in which the database prints them.
        if mode == .replace || patch == nil, incoming.hasSame(6, as: current),
            incoming.hasSame(7, as: current)
        {
            return nil
        }
        if mode == .replace {
            fieldsAreReplaced = !CustomFieldsMerge.isEqual(
                stored: current.fields.json.span, storedKinds: current.fieldKinds.json.span,
                patch: incoming.fields.json.span, patchKinds: incoming.fieldKinds.json.span)
            return nil
        }
        scratch.fields.removeAll(keepingCapacity: true)
        scratch.kinds.removeAll(keepingCapacity: true)
        scratch.fields.append(RowLayout.jsonbVersion)
        scratch.kinds.append(RowLayout.jsonbVersion)
        fieldsAreMerged = CustomFieldsMerge.merge(
            stored: current.fields.json.span, storedKinds: current.fieldKinds.json.span,
            patch: (patch ?? incoming.fields).json.span,
            patchKinds: incoming.fieldKinds.json.span,
            intoFields: &scratch.fields, kinds: &scratch.kinds)
        guard fieldsAreMerged else { return nil }
        return CustomFieldsMerge.fault(
            ofMerged: scratch.fields.span.extracting(1...), standing: current.fields.json.span)
    }
}
