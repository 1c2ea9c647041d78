// One transaction's contacts, and what stands in the database of them.
//
// In: blocks of rows, and the rows of the contacts that stand in the database. Out: the status of
// each contact, and what has to be written so that the table is as if each had been applied alone
// (BatchApply.swift). One lane's thread; all memory is kept from transaction to transaction.
//
// What is touched for each contact is not checked for exclusive access at run time: twenty checks
// took more than a third of what a new contact costs. No access here spans a call that comes back
// to the same property.

internal import Contacts

final class UpsertBatch {
    /// A contact to be applied.
    struct Item {
        let sequence: UInt64
        let keyHash: UInt64
        let row: Int
        let byteCount: Int
        let patchByteCount: Int
        let mentioned: UInt8
        let isReplay: Bool
        let plan: Int
        /// The block it came with.
        let work: Int
        /// Entries of the identifiers it mentions, by `Identifier`; -1 for those that do not count.
        var entries: InlineArray<4, Int32>

        func mentions(_ bit: Int) -> Bool { mentioned & 1 << UInt8(bit) != 0 }
    }

    /// A contact as it stands after the items applied so far.
    struct Slot {
        /// The row in the work memory.
        private(set) var row: Int
        private(set) var byteCount: Int
        /// The row that stands in the database; that of a new contact when it is made.
        let firstRow: Int
        let workspace: Workspace
        /// PostgreSQL's xmin of the row looked up: it differs once another transaction wrote it.
        let version: UInt32
        /// Where that row was.
        var place = RowPlace()
        let isNew: Bool
        /// Microseconds since 2000; 0 for a new contact.
        var createdAt: Int64 = 0
        var isChanged = false
        /// Identifiers whose old value another contact may take in the same transaction.
        var movedIdentifiers: UInt8 = 0
        /// The custom fields are too large to be looked up with the others.
        var lacksFields = false

        init(row: Int, byteCount: Int, workspace: Workspace, version: UInt32, isNew: Bool) {
            self.row = row
            self.byteCount = byteCount
            firstRow = row
            self.workspace = workspace
            self.version = version
            self.isNew = isNew
        }

        mutating func replaceRow(_ row: Int, byteCount: Int) {
            self.row = row
            self.byteCount = byteCount
        }
    }

    struct Outcome {
        var status: UpsertStatus
        /// Zero when a contact that was decided before is not there.
        var id: ContactID
    }

    /// A change that a workflow wants to hear of.
    struct Event {
        let item: Int
        let type: EventType
        let slot: Int32
        /// The contact as it stood then.
        let row: Int
    }

    static let noID = ContactID(high: 0, low: 0)

    let memory = WorkMemory()
    @exclusivity(unchecked) var identifiers = IdentifierTable()
    @exclusivity(unchecked) private(set) var items: [Item] = []
    @exclusivity(unchecked) private(set) var plans: [WritePlan] = []
    @exclusivity(unchecked) var slots: [Slot] = []
    /// Identifiers in the order in which they are looked up and written.
    @exclusivity(unchecked) private(set) var order: [Int32] = []
    @exclusivity(unchecked) var outcomes: [Outcome] = []
    var errors: [Int: ContactError] = [:]
    /// Of contacts that an earlier call of their import decided, those that had failed.
    var replayedErrors: [Int: ContactError] = [:]
    @exclusivity(unchecked) var events: [Event] = []
    /// Of each workspace, the lists that the transaction's contacts join.
    private(set) var mentionedLists: [Int32: Set<Int64>] = [:]
    /// Those of them that exist.
    @exclusivity(unchecked) var knownLists: [Int32: Set<Int64>] = [:]
    @exclusivity(unchecked) var scratch = MergeScratch()
    /// Memberships that the items applied so far add.
    @exclusivity(unchecked) var joinedCount = 0
    private var planListsAreMentioned: [Bool] = []
    /// Items that the database itself refused.
    @exclusivity(unchecked) var rejected: Set<Int> = []
    @exclusivity(unchecked) private var droppedWorks: [Bool] = []
    /// The plan of each block.
    private var worksPlans: [Int] = []
    @exclusivity(unchecked) private var slotsByID: [ContactID: Int32] = [:]
    @exclusivity(unchecked) private var tracksIDs = false
    /// The bytes of the rows that came.
    private(set) var loadedByteCount = 0
    /// Of a batch from an ordered queue, with what its contacts mention.
    var turn: OrderedTurn?
    var turnMentions = Footprint()
    /// The transaction has one item and cannot be made smaller.
    private(set) var isSingle = false
    /// Whether the lists and the age of contacts have to be looked up with them.
    private(set) var needsWholeContacts = false
    /// No contact of the transaction has to be one that stands.
    private(set) var mayAllBeNew = true

    /// Gives memory back; the outcomes stay until the next load.
    func release() { memory.reset() }

    /// Takes the rows of blocks over; what was there before is forgotten.
    func load(_ works: [LaneWork]) {
        memory.reset()
        items.removeAll(keepingCapacity: true)
        plans.removeAll(keepingCapacity: true)
        outcomes.removeAll(keepingCapacity: true)
        errors.removeAll(keepingCapacity: true)
        replayedErrors.removeAll()
        rejected.removeAll()
        worksPlans.removeAll(keepingCapacity: true)
        droppedWorks = Array(repeating: false, count: works.count)
        for (index, work) in works.enumerated() { load(work.block, index) }
        tracksIDs = plans.contains { $0.contactsContend }
        loadedByteCount = memory.count
    }

    private func load(_ block: RowBlock, _ work: Int) {
        let base = block.bytes.withUnsafeBytes { memory.append($0) }
        let plan: Int
        if let known = plans.firstIndex(of: block.plan) {
            plan = known
        } else {
            plan = plans.count
            plans.append(block.plan)
        }
        worksPlans.append(plan)
        for row in block.rows {
            items.append(
                Item(
                    sequence: row.sequence, keyHash: row.keyHash, row: base + Int(row.offset),
                    byteCount: Int(row.byteCount), patchByteCount: Int(row.patchByteCount),
                    mentioned: row.mentioned, isReplay: row.isReplay, plan: plan, work: work,
                    entries: .init(repeating: -1)))
            outcomes.append(Outcome(status: .failed, id: Self.noID))
        }
    }

    /// Leaves the rest of a block out: its call writes no more.
    func drop(_ work: Int) { droppedWorks[work] = true }

    /// Those whose contacts are not left out.
    var workspaces: Set<Workspace> {
        var workspaces: Set<Workspace> = []
        for (work, plan) in worksPlans.enumerated() where !droppedWorks[work] {
            workspaces.insert(plans[plan].workspace)
        }
        return workspaces
    }

    /// The most unique identifiers that a contact of the batch can mention.
    var identifiersPerItem: Int { plans.map { $0.workspace.uniqueBy.count }.max() ?? 1 }

    func isDropped(_ work: Int) -> Bool { droppedWorks[work] }

    func isRejected(_ index: Int) -> Bool { !rejected.isEmpty && rejected.contains(index) }

    /// Begins the transaction of some items: finds the identifiers and the lists they mention.
    func begin(_ range: Range<Int>) {
        memory.truncate(to: loadedByteCount)
        isSingle = range.count == 1
        slots.removeAll(keepingCapacity: true)
        events.removeAll(keepingCapacity: true)
        slotsByID.removeAll(keepingCapacity: true)
        mentionedLists.removeAll(keepingCapacity: true)
        knownLists.removeAll(keepingCapacity: true)
        needsWholeContacts = false
        mayAllBeNew = true
        joinedCount = 0
        planListsAreMentioned = Array(repeating: false, count: plans.count)
        identifiers.reset(expecting: range.count * identifiersPerItem)
        for index in range where !isDropped(items[index].work) && !isRejected(index) {
            begin(index)
        }
    }

    /// Brings the identifiers of the items into order, or only those that contacts are matched by,
    /// which is enough where nothing is looked up.
    func arrange(_ range: Range<Int>, keysOnly: Bool) {
        let keys = keysOnly ? Set(plans.map(\.key)) : Set(Identifier.allCases)
        order = identifiers.sorted(keys, in: memory)
        dealIDs(range)
    }

    private func begin(_ index: Int) {
        let item = items[index]
        let plan = plans[item.plan]
        let row = UnsafeRawPointer(memory.base + item.row)
        var entries = InlineArray<4, Int32>(repeating: -1)
        if item.isReplay || plan.key == .id || plan.existence == .updateOnly { mayAllBeNew = false }
        for identifier in Identifier.settable where plan.workspace.uniqueBy.contains(identifier) {
            let isMatched = identifier == plan.key
            let key = RowLayout.column(identifier.rawValue, of: row)
            guard isMatched || !item.isReplay, key.start != nil else { continue }
            entries[identifier.rawValue] = identifiers.intern(
                key, hash: isMatched ? item.keyHash : KeyHash.of(key.buffer),
                workspaceID: plan.workspace.id, field: identifier, in: memory)
        }
        if plan.key == .id {
            entries[Identifier.id.rawValue] = identifiers.intern(
                ColumnBytes(start: row + RowLayout.idOffset, count: 16), hash: item.keyHash,
                workspaceID: plan.workspace.id, field: .id, in: memory)
        }
        items[index].entries = entries
        if joinsLists(item, plan) { mentionLists(item, plan) }
        if plan.runsWorkflow { needsWholeContacts = true }
    }

    private func mentionLists(_ item: Item, _ plan: WritePlan) {
        let lists = ListBytes(RowView(memory.base + item.row).lists)
        for place in 0..<lists.count {
            mentionedLists[plan.workspace.id, default: []].insert(lists[place])
        }
        if !planListsAreMentioned[item.plan] {
            planListsAreMentioned[item.plan] = true
            mentionedLists[plan.workspace.id, default: []].formUnion(plan.lists)
        }
        needsWholeContacts = true
    }

    /// Deals the ids that new contacts would get out again, the lowest to the first key: rows are
    /// written in the order of their keys, and the primary key's index is then written from left to
    /// right.
    private func dealIDs(_ range: Range<Int>) {
        var ids: [ContactID] = []
        ids.reserveCapacity(range.count)
        var firstItems = [Int32](repeating: -1, count: identifiers.entries.count)
        for index in range where !isDropped(items[index].work) && !isRejected(index) {
            let key = plans[items[index].plan].key
            let entry = items[index].entries[key.rawValue]
            guard key != .id, entry >= 0, firstItems[Int(entry)] < 0 else { continue }
            firstItems[Int(entry)] = Int32(index)
            ids.append(RowLayout.id(of: memory.base + items[index].row))
        }
        var next = 0
        for entry in order where firstItems[Int(entry)] >= 0 {
            let row = memory.base + items[Int(firstItems[Int(entry)])].row
            RowLayout.store(ids[next].high, row, RowLayout.idOffset)
            RowLayout.store(ids[next].low, row, RowLayout.idOffset + 8)
            next += 1
        }
    }

    func joinsLists(_ item: Item, _ plan: WritePlan) -> Bool {
        !item.isReplay && (item.mentions(RowBlock.listsBit) || !plan.lists.isEmpty)
    }

    /// Whether the contact of an identifier was found by another one already.
    ///
    /// - Throws: When another look-up of the transaction saw another version of the contact.
    func finds(
        _ id: ContactID, version: UInt32, owning entry: Int32
    ) throws(LostRace) -> Bool {
        guard tracksIDs, let slot = slotsByID[id] else { return false }
        guard slots[Int(slot)].version == version else { throw LostRace() }
        identifiers.find(entry, owner: slot)
        return true
    }

    /// Adds a contact that stands in the database, found by one of its identifiers.
    func addExisting(_ found: Slot, id: ContactID, owning entry: Int32) {
        let slot = Int32(slots.count)
        slots.append(found)
        identifiers.find(entry, owner: slot)
        if tracksIDs { slotsByID[id] = slot }
    }

    /// Whether an identifier that contacts mention belongs to none of them in the end: they gave it
    /// up again, or failed. No index of the table then shows whether it was free.
    var hasUnprovenIdentifier: Bool {
        tracksIDs && identifiers.hasUnowned
    }

    /// Contacts that changed what stands, and on how many pages of the table.
    var updates: (count: Int, pages: Int) {
        var pages: Set<UInt32> = []
        var count = 0
        for slot in slots where slot.isChanged && !slot.isNew {
            pages.insert(slot.place.block)
            count += 1
        }
        return (count, pages.count)
    }

    /// The slots in the order of their identifiers, each once.
    func slotsInKeyOrder() -> [Int32] {
        var seen = [Bool](repeating: false, count: slots.count)
        var sorted: [Int32] = []
        sorted.reserveCapacity(slots.count)
        for entry in order {
            let slot = identifiers[owner: entry]
            if slot >= 0, !seen[Int(slot)] {
                seen[Int(slot)] = true
                sorted.append(slot)
            }
        }
        return sorted
    }

    /// Replaces a slot's row by one that has its custom fields.
    func setFields(of slot: Int32, fields: [UInt8], kinds: [UInt8]?) {
        let view = RowView(memory.base + slots[Int(slot)].row)
        var columns = view.columns
        fields.withUnsafeBytes { fields in
            columns[6] = ColumnBytes(start: fields.baseAddress, count: fields.count)
            (kinds ?? []).withUnsafeBytes { kindBytes in
                columns[7] =
                    kinds == nil
                    ? .null : ColumnBytes(start: kindBytes.baseAddress, count: kindBytes.count)
                rewrite(slot, write(view, columns))
            }
        }
        slots[Int(slot)].lacksFields = false
    }

    /// Gives a slot the row that was written last.
    func rewrite(_ slot: Int32, _ row: Int) {
        slots[Int(slot)].replaceRow(row, byteCount: memory.count - row)
    }

    /// Writes a row with the fixed part of one and the columns given.
    func write(_ prefix: RowView, _ columns: RowColumns) -> Int {
        var byteCount = RowLayout.columnsOffset + 4 * RowLayout.variableColumnCount
        for index in columns.indices { byteCount += columns[index].count }
        let offset = memory.append(byteCount: byteCount)
        let row = memory.base + offset
        row.copyMemory(from: prefix.row, byteCount: RowLayout.columnsOffset)
        var writer = ColumnWriter(row: row)
        for index in columns.indices { writer.column(columns[index]) }
        return offset
    }

    /// Writes the row that comes of a merge whose results are in the scratch.
    func write(_ merge: RowMerge) -> Int {
        let texts = RowLayout.textColumnCount
        let lists = RowLayout.listsColumn
        var byteCount = RowLayout.columnsOffset
        for column in 0..<texts { byteCount += merge.piece(column).count }
        byteCount +=
            merge.fieldsAreMerged
            ? scratch.fieldsByteCount : merge.piece(texts).count + merge.piece(texts + 1).count
        byteCount += merge.listsAreMerged ? scratch.listsByteCount : merge.piece(lists).count
        let offset = memory.append(byteCount: byteCount)
        let row = memory.base + offset
        row.copyMemory(from: merge.current.row, byteCount: RowLayout.columnsOffset)
        var writer = ColumnWriter(row: row)
        for column in 0..<texts { writer.piece(merge.piece(column)) }
        if merge.fieldsAreMerged {
            scratch.writeFields(&writer)
        } else {
            for column in texts..<lists { writer.piece(merge.piece(column)) }
        }
        if merge.listsAreMerged {
            scratch.writeLists(&writer)
        } else {
            writer.piece(merge.piece(lists))
        }
        return offset
    }
}
