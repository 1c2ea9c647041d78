// One transaction's contacts, applied one at a time in order, in memory.
//
// In: blocks of rows, and the rows of the contacts that stand in the database. Out: the status of
// each contact, and what has to be written so that the table is as if each had been applied alone.
// Deciding here, and not in SQL, makes an answer independent of where transactions are cut: repeats
// of a key, and identifiers that move from one contact to another, need no special case. One lane's
// thread; all memory is kept from transaction to transaction.

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
        let plan: Int
        /// Entries of the identifiers it mentions, by field; -1 for those that are not unique.
        var entries: InlineArray<3, Int32>
    }

    /// A contact as it stands after the items applied so far.
    struct Slot {
        /// The row in the work memory.
        var row: Int
        let workspace: Workspace
        /// PostgreSQL's xmin of the row looked up: it differs once another transaction wrote it.
        let version: UInt32
        let isNew: Bool
        var isChanged = false
        /// Identifiers whose old value another contact may take in the same transaction.
        var movedIdentifiers: UInt8 = 0
        /// The custom fields are too large to be looked up with the others.
        var lacksFields = false
    }

    struct Outcome {
        var status: UpsertStatus
        var id: ContactID
    }

    /// What applying one item came to.
    enum Applied {
        case done
        /// The slot's custom fields are needed first.
        case needsFields(slot: Int32)
    }

    let memory = WorkMemory()
    var identifiers = IdentifierTable()
    private(set) var items: [Item] = []
    private(set) var plans: [WritePlan] = []
    private(set) var slots: [Slot] = []
    /// Identifiers in the order in which they are looked up and written.
    private(set) var order: [Int32] = []
    private(set) var outcomes: [Outcome] = []
    private(set) var errors: [Int: ContactError] = [:]
    private var slotsByID: [ContactID: Int32] = [:]
    private var scratch = MergeScratch()
    private var loadedByteCount = 0
    /// The transaction has one item and cannot be made smaller.
    private(set) var isSingle = false

    /// Gives memory back; the outcomes stay until the next load.
    func release() { memory.reset() }

    /// Takes the rows of blocks over; what was there before is forgotten.
    func load(_ works: [LaneWork]) {
        memory.reset()
        items.removeAll(keepingCapacity: true)
        plans.removeAll(keepingCapacity: true)
        outcomes.removeAll(keepingCapacity: true)
        errors.removeAll(keepingCapacity: true)
        for work in works { load(work.block) }
        loadedByteCount = memory.count
    }

    private func load(_ block: RowBlock) {
        let base = block.bytes.withUnsafeBytes { memory.append($0) }
        let plan: Int
        if let known = plans.firstIndex(of: block.plan) {
            plan = known
        } else {
            plan = plans.count
            plans.append(block.plan)
        }
        for row in block.rows {
            items.append(
                Item(
                    sequence: row.sequence, keyHash: row.keyHash, row: base + Int(row.offset),
                    byteCount: Int(row.byteCount), patchByteCount: Int(row.patchByteCount),
                    mentioned: row.mentioned, plan: plan, entries: .init(repeating: -1)))
            outcomes.append(Outcome(status: .failed, id: ContactID(high: 0, low: 0)))
        }
    }

    /// Begins the transaction of some items: finds the identifiers they mention.
    func begin(_ range: Range<Int>) {
        memory.truncate(to: loadedByteCount)
        isSingle = range.count == 1
        slots.removeAll(keepingCapacity: true)
        slotsByID.removeAll(keepingCapacity: true)
        identifiers.reset(expecting: range.count)
        for index in range {
            let plan = plans[items[index].plan]
            let view = RowView(memory.base + items[index].row)
            items[index].entries = .init(repeating: -1)
            for fieldIndex in 0..<UniqueIdentifiers.identifierCount {
                guard plan.workspace.uniqueBy.rawValue & (1 << fieldIndex) != 0,
                    view.columns[fieldIndex].start != nil,
                    let field = TextField(rawValue: fieldIndex)
                else { continue }
                let key = view.columns[fieldIndex]
                items[index].entries[fieldIndex] = identifiers.intern(
                    key, hash: field == plan.key ? items[index].keyHash : KeyHash.of(key.buffer),
                    workspaceID: plan.workspace.id, field: field, in: memory)
            }
        }
        order = identifiers.sorted(in: memory)
    }

    /// Adds a contact that stands in the database, found by one of its identifiers.
    ///
    /// - Parameter row: Writes the contact's row at the offset that it returns.
    /// - Throws: When another look-up of the transaction saw another version of the contact.
    func addExisting(
        owning entry: Int32, id: ContactID, version: UInt32, workspace: Workspace,
        lacksFields: Bool, row: () -> Int
    ) throws(LostRace) {
        if workspace.uniqueBy.count > 1, let slot = slotsByID[id] {
            guard slots[Int(slot)].version == version else { throw LostRace() }
            identifiers[owner: entry] = slot
            return
        }
        let slot = Int32(slots.count)
        slots.append(
            Slot(
                row: row(), workspace: workspace, version: version, isNew: false,
                lacksFields: lacksFields))
        identifiers[owner: entry] = slot
        if workspace.uniqueBy.count > 1 { slotsByID[id] = slot }
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
                slots[Int(slot)].row = write(view, columns)
            }
        }
        slots[Int(slot)].lacksFields = false
    }

    /// Applies one item to what stands after all items before it.
    func apply(_ index: Int) -> Applied {
        let item = items[index]
        let plan = plans[item.plan]
        let key = item.entries[plan.key.rawValue]
        let owner = identifiers[owner: key]
        guard owner >= 0 else {
            create(index, item, plan)
            return .done
        }
        if plan.existence == .createOnly {
            let id = RowLayout.id(of: memory.base + slots[Int(owner)].row)
            fail(
                index, .alreadyExists, plan.key.wireName,
                "the contact is there and only new ones are taken", conflicting: id)
            return .done
        }
        let touchesFields =
            plan.writeMode == .replace || item.mentioned & 1 << UInt8(RowBlock.fieldsBit) != 0
        if slots[Int(owner)].lacksFields && touchesFields { return .needsFields(slot: owner) }
        return update(index, item, plan, owner)
    }

    private func create(_ index: Int, _ item: Item, _ plan: WritePlan) {
        guard plan.existence != .updateOnly else {
            fail(
                index, .notFound, plan.key.wireName,
                "no contact has this \(plan.key.wireName) and only existing ones are updated")
            return
        }
        let slot = Int32(slots.count)
        for fieldIndex in 0..<UniqueIdentifiers.identifierCount {
            let entry = item.entries[fieldIndex]
            guard entry >= 0, identifiers[owner: entry] >= 0 else { continue }
            failTaken(index, fieldIndex, by: identifiers[owner: entry])
            return
        }
        for fieldIndex in 0..<UniqueIdentifiers.identifierCount {
            let entry = item.entries[fieldIndex]
            if entry >= 0 { identifiers[owner: entry] = slot }
        }
        slots.append(Slot(row: item.row, workspace: plan.workspace, version: 0, isNew: true))
        outcomes[index] = Outcome(status: .created, id: RowLayout.id(of: memory.base + item.row))
    }

    private func update(
        _ index: Int, _ item: Item, _ plan: WritePlan, _ owner: Int32
    ) -> Applied {
        let slot = slots[Int(owner)]
        let current = RowView(memory.base + slot.row)
        let id = RowLayout.id(of: memory.base + slot.row)
        var merge = RowMerge(
            current: current, incoming: RowView(memory.base + item.row),
            patch: patch(item), mentioned: item.mentioned, mode: plan.writeMode)
        guard merge.run(&scratch) else {
            outcomes[index] = Outcome(status: .unchanged, id: id)
            return .done
        }
        // The row is written whole.
        if slot.lacksFields { return .needsFields(slot: owner) }
        let unique = UInt8(truncatingIfNeeded: plan.workspace.uniqueBy.rawValue)
        let moved = merge.changed & unique
        if moved != 0, !move(moved, index, item, merge.current, to: owner) { return .done }
        slots[Int(owner)].row = write(merge)
        slots[Int(owner)].isChanged = true
        if !slot.isNew { slots[Int(owner)].movedIdentifiers |= moved }
        outcomes[index] = Outcome(status: .updated, id: id)
        return .done
    }

    /// Gives identifiers to the contact and takes its old ones from it.
    ///
    /// - Returns: `false` when another contact has one; the item has failed then.
    private func move(
        _ moved: UInt8, _ index: Int, _ item: Item, _ current: RowView, to owner: Int32
    ) -> Bool {
        for fieldIndex in 0..<UniqueIdentifiers.identifierCount where moved & 1 << fieldIndex != 0 {
            let entry = item.entries[fieldIndex]
            if entry >= 0, identifiers[owner: entry] >= 0 {
                failTaken(index, fieldIndex, by: identifiers[owner: entry])
                return false
            }
        }
        let workspace = slots[Int(owner)].workspace
        for fieldIndex in 0..<UniqueIdentifiers.identifierCount where moved & 1 << fieldIndex != 0 {
            let old = current.columns[fieldIndex]
            if old.start != nil, let field = TextField(rawValue: fieldIndex),
                let entry = identifiers.find(
                    old, workspaceID: workspace.id, field: field, in: memory)
            {
                identifiers[owner: entry] = -1
            }
            let entry = item.entries[fieldIndex]
            if entry >= 0 { identifiers[owner: entry] = owner }
        }
        return true
    }

    private func patch(_ item: Item) -> ColumnBytes? {
        guard item.patchByteCount > 0 else { return nil }
        return ColumnBytes(
            start: memory.base + item.row + item.byteCount, count: item.patchByteCount)
    }

    private func write(_ merge: RowMerge) -> Int {
        guard merge.usesScratch else { return write(merge.current, merge.columns) }
        return scratch.withColumns(merge.columns) { write(merge.current, $0) }
    }

    /// Writes a row with the fixed part of one and the columns given.
    private func write(_ prefix: RowView, _ columns: InlineArray<8, ColumnBytes>) -> Int {
        var byteCount = RowLayout.columnsOffset + 4 * RowLayout.variableColumnCount
        for index in columns.indices { byteCount += columns[index].count }
        let offset = memory.append(byteCount: byteCount)
        let row = memory.base + offset
        row.copyMemory(from: prefix.row, byteCount: RowLayout.columnsOffset)
        var writer = ColumnWriter(row: row)
        for index in columns.indices { writer.column(columns[index]) }
        return offset
    }

    /// Marks an item that the database itself refused.
    ///
    /// - Parameter races: Whether other writers were faster each time, which may be over later.
    func reject(_ index: Int, races: Bool) {
        fail(
            index, .databaseRejected, "",
            races
                ? "other programs write this contact all the time; try again"
                : "a constraint or trigger of the database refuses the contact",
            retryable: races)
    }

    private func failTaken(_ index: Int, _ fieldIndex: Int, by owner: Int32) {
        let field = TextField(rawValue: fieldIndex)?.wireName ?? ""
        fail(
            index, .identifierTaken, field, "another contact of the workspace has this \(field)",
            conflicting: RowLayout.id(of: memory.base + slots[Int(owner)].row))
    }

    private func fail(
        _ index: Int, _ reason: Reason, _ field: String, _ message: String,
        conflicting: ContactID? = nil, retryable: Bool = false
    ) {
        outcomes[index].status = .failed
        errors[index] = ContactError(
            reasonText: reason.rawValue, field: field, message: message, retryable: retryable,
            conflictingID: conflicting?.description ?? "")
    }
}
