// One contact onto another: what stands, what comes, and what comes of both.
//
// In: two rows. Out: whether anything differs, and the columns of the row that results. Pure; the
// columns point into the two rows, or into the scratch memory when custom fields were merged.

internal import Contacts

/// Where merged custom fields are written; kept from contact to contact.
struct MergeScratch {
    fileprivate var fields: [UInt8] = []
    fileprivate var kinds: [UInt8] = []

    /// The columns with the merged custom fields in place of those that stood.
    func withColumns<Result>(
        _ columns: InlineArray<8, ColumnBytes>, _ body: (InlineArray<8, ColumnBytes>) -> Result
    ) -> Result {
        var columns = columns
        return fields.withUnsafeBytes { fields in
            kinds.withUnsafeBytes { kinds in
                columns[6] = ColumnBytes(start: fields.baseAddress, count: fields.count)
                columns[7] =
                    kinds.count <= 1
                    ? .null : ColumnBytes(start: kinds.baseAddress, count: kinds.count)
                return body(columns)
            }
        }
    }
}

struct RowMerge {
    let current: RowView
    let incoming: RowView
    /// Custom fields with their nulls, when the contact removes any.
    let patch: ColumnBytes?
    let mentioned: UInt8
    let mode: WriteMode

    /// The columns of the row that results; the last two are in the scratch if `usesScratch`.
    private(set) var columns: InlineArray<8, ColumnBytes>
    private(set) var usesScratch = false
    /// Bit 0...5: the texts that differ.
    private(set) var changed: UInt8 = 0

    init(
        current: RowView, incoming: RowView, patch: ColumnBytes?, mentioned: UInt8, mode: WriteMode
    ) {
        self.current = current
        self.incoming = incoming
        self.patch = patch
        self.mentioned = mentioned
        self.mode = mode
        columns = current.columns
    }

    /// - Returns: Whether anything differs.
    mutating func run(_ scratch: inout MergeScratch) -> Bool {
        for index in 0..<RowLayout.textColumnCount {
            guard mode == .replace || mentioned & 1 << UInt8(index) != 0 else { continue }
            if !(incoming.columns[index] == columns[index]) {
                columns[index] = incoming.columns[index]
                changed |= 1 << UInt8(index)
            }
        }
        let fieldsDiffer = mergeFields(&scratch)
        return changed != 0 || fieldsDiffer
    }

    private mutating func mergeFields(_ scratch: inout MergeScratch) -> Bool {
        if mode == .replace {
            let isSame = CustomFieldsMerge.isEqual(
                stored: current.fields.json.span, storedKinds: current.fieldKinds.json.span,
                patch: incoming.fields.json.span, patchKinds: incoming.fieldKinds.json.span)
            if isSame { return false }
            columns[6] = incoming.fields
            columns[7] = incoming.fieldKinds
            return true
        }
        guard mentioned & 1 << UInt8(RowBlock.fieldsBit) != 0 else { return false }
        scratch.fields.removeAll(keepingCapacity: true)
        scratch.kinds.removeAll(keepingCapacity: true)
        scratch.fields.append(RowLayout.jsonbVersion)
        scratch.kinds.append(RowLayout.jsonbVersion)
        usesScratch = CustomFieldsMerge.merge(
            stored: current.fields.json.span, storedKinds: current.fieldKinds.json.span,
            patch: (patch ?? incoming.fields).json.span,
            patchKinds: incoming.fieldKinds.json.span,
            intoFields: &scratch.fields, kinds: &scratch.kinds)
        return usesScratch
    }
}
