// Rows in memory: read, compared, merged, and written as they were found.
// In: columns made by hand. Out: expectations, no side effects. Any thread.

import Contacts
import Postgres
import Testing

@testable import Ingest

@Suite struct RowTests {
    private let workspace = Workspace(id: 7, uniqueBy: .email)
    private let id = ContactID(high: 0x0102_0304_0506_0708, low: 9)

    /// The bytes of a row, of which each column is a text or NULL; what is missing is NULL.
    private func row(_ columns: [String?]) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: RowLayout.columnsOffset)
        bytes.withUnsafeMutableBytes {
            if let base = $0.baseAddress {
                RowLayout.writePrefix(base, workspace: workspace, id: id)
            }
        }
        for column in 0..<RowLayout.variableColumnCount {
            let value = column < columns.count ? columns[column] : nil
            let length = value.map { Int32($0.utf8.count) } ?? -1
            withUnsafeBytes(of: length.bigEndian) { bytes.append(contentsOf: $0) }
            bytes += Array((value ?? "").utf8)
        }
        return bytes
    }

    private func contact(
        _ texts: [String?] = [], fields: String = "{}", kinds: String? = nil, lists: String? = nil
    ) -> [UInt8] {
        let six = texts + [String?](repeating: nil, count: 6 - texts.count)
        return row(six + ["\u{1}" + fields, kinds.map { "\u{1}" + $0 }, lists])
    }

    private func withViews<Result>(
        _ left: [UInt8], _ right: [UInt8], _ body: (RowView, RowView) -> Result
    ) throws -> Result {
        try left.withUnsafeBytes { left in
            try right.withUnsafeBytes { right in
                body(
                    RowView(try #require(left.baseAddress)),
                    RowView(try #require(right.baseAddress)))
            }
        }
    }

    // MARK: Reading

    @Test func columnsAreFound() throws {
        let bytes = contact(["a@b.c", nil, ""], fields: #"{"a": 1}"#, lists: "12345678")
        try withViews(bytes, bytes) { view, _ in
            #expect(Array(view[0].buffer) == Array("a@b.c".utf8))
            #expect(view[1].start == nil)
            #expect(view[2].start != nil && view[2].count == 0)
            #expect(Array(view.fields.json) == Array(#"{"a": 1}"#.utf8))
            #expect(view.fieldKinds.start == nil)
            #expect(view.lists.count == 8)
            #expect(view.byteCount == bytes.count)
            #expect(view.tableByteCount == bytes.count - 12)
            #expect(view.tableByteCount == RowLayout.tableByteCount(view.row))
            for column in 0..<RowLayout.variableColumnCount {
                #expect(view.columns[column] == RowLayout.column(column, of: view.row))
            }
        }
    }

    @Test func nullIsNoEmptyText() throws {
        try withViews(contact([nil, "", "x"]), contact(["", "", "x"])) { left, right in
            #expect(!left.hasSame(0, as: right))
            #expect(!right.hasSame(0, as: left))
            #expect(left.hasSame(1, as: right))
            #expect(left.hasSame(2, as: right))
            #expect(left.hasSame(3, as: right))
            #expect(left.hasSame(RowLayout.listsColumn, as: right))
        }
    }

    // MARK: Merging

    /// What comes of a merge: the texts that differ, and whether anything does.
    private func merge(
        _ current: [UInt8], _ incoming: [UInt8], patch: String? = nil, mentioned: UInt8,
        _ mode: WriteMode = .merge, lists: [Int64] = []
    ) throws -> (isChanged: Bool, texts: UInt8, columns: [String?]) {
        let patchBytes = patch.map { Array(("\u{1}" + $0).utf8) } ?? []
        return try patchBytes.withUnsafeBytes { patchBytes in
            try withViews(current, incoming) { current, incoming in
                let batch = UpsertBatch()
                var merge = RowMerge(
                    current: current, incoming: incoming,
                    patch: patch == nil
                        ? nil
                        : ColumnBytes(start: patchBytes.baseAddress, count: patchBytes.count),
                    mentioned: mentioned, mode: mode)
                var isChanged = false
                if case .changed = merge.run(&batch.scratch, lists: lists) { isChanged = true }
                let row = batch.memory.base + batch.write(merge)
                let view = RowView(row)
                #expect(row + view.byteCount == batch.memory.base + batch.memory.count)
                let columns = (0..<RowLayout.variableColumnCount).map { column in
                    view[column].start == nil
                        ? nil : String(decoding: view[column].buffer, as: UTF8.self)
                }
                return (isChanged, merge.changed, columns)
            }
        }
    }

    @Test func onlyWhatIsMentionedCounts() throws {
        let merged = try merge(
            contact(["a", "1", nil, "n"]), contact([nil, "2", "", "n"]), mentioned: 0b1110)
        #expect(merged.isChanged)
        #expect(merged.texts == 0b0110)
        #expect(merged.columns[0..<4] == ["a", "2", "", "n"])
        let same = try merge(contact(["a", "1"]), contact([nil, "1"]), mentioned: 0b10)
        #expect(!same.isChanged)
    }

    @Test func replacingTakesAll() throws {
        let merged = try merge(
            contact(["a", "1"], fields: #"{"a": 1}"#), contact(["a"]), mentioned: 1, .replace)
        #expect(merged.isChanged)
        #expect(merged.texts == 0b10)
        #expect(merged.columns[1] == nil)
        #expect(merged.columns[6] == "\u{1}{}")
        let same = try merge(contact(["a"]), contact(["a"]), mentioned: 1, .replace)
        #expect(!same.isChanged)
    }

    @Test func customFieldsThatStandAreNoChange() throws {
        let fields = #"{"a": "null", "b": 2}"#
        let bit = UInt8(1) << UInt8(RowBlock.fieldsBit)
        let same = try merge(contact(fields: fields), contact(fields: fields), mentioned: bit)
        #expect(!same.isChanged)
        let unmentioned = try merge(contact(fields: fields), contact(), mentioned: 0)
        #expect(!unmentioned.isChanged)
        // The row of a contact that removes fields is without them, and may be what stands.
        let removed = try merge(
            contact(fields: #"{"a": 1}"#), contact(fields: #"{"a": 1}"#),
            patch: #"{"a": 1, "b": null}"#, mentioned: bit)
        #expect(!removed.isChanged)
        let less = try merge(
            contact(fields: #"{"a": 1}"#), contact(), patch: #"{"a": null}"#, mentioned: bit)
        #expect(less.isChanged)
        #expect(less.columns[6] == "\u{1}{}")
    }

    @Test func kindsAreACompanionOfTheFields() throws {
        let fields = #"{"t": "2020-01-01T00:00:00.000000Z"}"#
        let kinds = #"{"t": "timestamp"}"#
        let bit = UInt8(1) << UInt8(RowBlock.fieldsBit)
        let gained = try merge(
            contact(fields: fields), contact(fields: fields, kinds: kinds), mentioned: bit)
        #expect(gained.isChanged)
        #expect(gained.columns[7] == "\u{1}" + kinds)
        let lost = try merge(
            contact(fields: fields, kinds: kinds), contact(fields: fields), mentioned: bit)
        #expect(lost.isChanged)
        #expect(lost.columns[7] == nil)
    }

    @Test func listsAreJoined() throws {
        let one = "\0\0\0\0\0\0\0\u{1}"
        let two = "\0\0\0\0\0\0\0\u{2}"
        let merged = try merge(contact(lists: one), contact(lists: two), mentioned: 0)
        #expect(merged.isChanged)
        #expect(merged.columns[RowLayout.listsColumn] == one + two)
        let same = try merge(contact(lists: one + two), contact(lists: two), mentioned: 0)
        #expect(!same.isChanged)
        let planned = try merge(contact(lists: one), contact(), mentioned: 0, lists: [2])
        #expect(planned.columns[RowLayout.listsColumn] == one + two)
    }

    // MARK: Rows that were found

    private func written(_ columns: [String?], hasLists: Bool) -> [UInt8] {
        let memory = WorkMemory()
        var texts: [UInt8] = []
        var places: [Range<Int>?] = []
        for column in columns {
            let start = texts.count
            texts += Array((column ?? "").utf8)
            places.append(column == nil ? nil : start..<texts.count)
        }
        // An empty text has an address, too.
        texts.append(0)
        return texts.withUnsafeBytes { texts in
            var fields = FoundFields(repeating: .null)
            for (index, place) in places.enumerated() {
                guard let place, let base = texts.baseAddress else { continue }
                fields[4 + index] = QueryResult.Field(
                    start: base + place.lowerBound, count: place.count)
            }
            let offset = FoundRow.write(
                fields.span, hasLists: hasLists, id: id, workspace, memory)
            return Array(
                UnsafeRawBufferPointer(
                    start: memory.base + offset, count: memory.count - offset))
        }
    }

    @Test func foundRowsHaveTheLayoutOfAll() {
        let texts: [String?] = ["a@b.c", nil, "", "n", nil, "l"]
        let found = texts + ["\u{1}{}", nil]
        #expect(written(found, hasLists: false) == row(found))
        // Column 12 of a whole contact is its age.
        #expect(written(found + ["age", "12345678"], hasLists: true) == row(found + ["12345678"]))
        #expect(written(found + ["age", nil], hasLists: true) == row(found))
        // Fields that are too large to be looked up.
        #expect(written(texts, hasLists: false) == row(texts))
    }
}
