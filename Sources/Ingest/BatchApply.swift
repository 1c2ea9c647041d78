// Contacts applied one at a time in order, in memory.
//
// In: a batch with what stands in the database. Out: the status of each contact, and the rows that
// stand after it. Deciding here, and not in SQL, makes an answer independent of where transactions
// are cut: repeats of a key, and identifiers that move from one contact to another, need no special
// case. One lane's thread.

internal import Contacts

extension UpsertBatch {
    /// What applying one item came to.
    enum Applied {
        case done
        /// The slot's custom fields are needed first.
        case needsFields(slot: Int32)
    }

    /// Applies one item to what stands after all items before it. Faults are looked for in the
    /// contract's order: lists, existence, identifiers of others.
    func apply(_ index: Int) -> Applied {
        let item = items[index]
        guard !isDropped(item.work), !isRejected(index) else { return .done }
        let plan = plans[item.plan]
        let owner = identifiers[owner: item.entries[plan.key.rawValue]]
        if item.isReplay {
            replay(index, owner)
            return .done
        }
        if let list = unknownList(item, plan) {
            fail(index, .listUnknown, "list_ids", "the workspace has no list \(list)")
            return .done
        }
        guard owner >= 0 else {
            create(index, item, plan)
            return .done
        }
        if plan.existence == .createOnly {
            fail(
                index, .alreadyExists, plan.key.name,
                "the contact is there and only new ones are taken", conflicting: id(of: owner))
            return .done
        }
        let touchesFields = plan.writeMode == .replace || item.mentions(RowBlock.fieldsBit)
        if slots[Int(owner)].lacksFields && touchesFields { return .needsFields(slot: owner) }
        return update(index, item, plan, owner)
    }

    /// What an earlier call decided stands, whatever has become of the contact.
    private func replay(_ index: Int, _ owner: Int32) {
        if let error = replayedErrors[index] {
            outcomes[index] = Outcome(status: .failed, id: Self.noID)
            errors[index] = error
        } else {
            outcomes[index] = Outcome(status: .replayed, id: owner >= 0 ? id(of: owner) : Self.noID)
        }
    }

    /// Marks an item that the database itself refused.
    ///
    /// - Parameter races: Whether other writers were faster each time, which may be over later.
    func reject(_ index: Int, races: Bool) {
        rejected.insert(index)
        fail(
            index, .databaseRejected, "",
            races
                ? "other programs write this contact all the time; try again"
                : "a constraint or trigger of the database refuses the contact",
            retryable: races)
    }

    private func id(of slot: Int32) -> ContactID {
        RowLayout.id(of: memory.base + slots[Int(slot)].row)
    }

    private func unknownList(_ item: Item, _ plan: WritePlan) -> Int64? {
        guard joinsLists(item, plan) else { return nil }
        let known = knownLists[plan.workspace.id] ?? []
        let lists = ListBytes(RowView(memory.base + item.row).lists)
        for place in 0..<lists.count where !known.contains(lists[place]) { return lists[place] }
        return plan.lists.first { !known.contains($0) }
    }

    private func create(_ index: Int, _ item: Item, _ plan: WritePlan) {
        guard plan.key != .id else {
            return fail(index, .notFound, "id", "no contact has this id")
        }
        guard plan.existence != .updateOnly else {
            return fail(
                index, .notFound, plan.key.name,
                "no contact has this \(plan.key.name) and only existing ones are updated")
        }
        let slot = Int32(slots.count)
        for identifier in Identifier.settable {
            let entry = item.entries[identifier.rawValue]
            guard entry >= 0, identifiers[owner: entry] >= 0 else { continue }
            return failTaken(index, identifier, by: identifiers[owner: entry])
        }
        for identifier in Identifier.settable {
            let entry = item.entries[identifier.rawValue]
            if entry >= 0 { identifiers.take(entry, for: slot) }
        }
        let row = newRow(item, plan)
        slots.append(
            Slot(
                row: row, byteCount: row == item.row ? item.byteCount : memory.count - row,
                workspace: plan.workspace, version: 0, isNew: true))
        outcomes[index] = Outcome(status: .created, id: id(of: slot))
        note(.created, index, slot, plan)
    }

    /// The row of a new contact: its own, with the lists of the import.
    private func newRow(_ item: Item, _ plan: WritePlan) -> Int {
        guard joinsLists(item, plan) else { return item.row }
        let view = RowView(memory.base + item.row)
        scratch.join(ListBytes(.null), ListBytes(view.lists), plan.lists)
        let row = scratch.withLists(of: view.columns) { write(view, $0) }
        joinedCount += ListBytes(RowView(memory.base + row).lists).count
        return row
    }

    private func update(
        _ index: Int, _ item: Item, _ plan: WritePlan, _ owner: Int32
    ) -> Applied {
        let slot = slots[Int(owner)]
        if stands(item, plan, slot) {
            outcomes[index] = Outcome(status: .unchanged, id: id(of: owner))
            return .done
        }
        var merge = RowMerge(
            current: RowView(memory.base + slot.row), incoming: RowView(memory.base + item.row),
            patch: patch(item), mentioned: item.mentioned, mode: plan.writeMode)
        switch merge.run(&scratch, lists: plan.lists) {
        case .unchanged:
            outcomes[index] = Outcome(status: .unchanged, id: id(of: owner))
            return .done
        case .refused(let fault):
            fail(index, fault.reason, "fields", fault.message)
            return .done
        case .changed: break
        }
        // The row is written whole.
        if slot.lacksFields { return .needsFields(slot: owner) }
        let unique = UInt8(truncatingIfNeeded: plan.workspace.uniqueBy.rawValue)
        let moved = merge.changed & unique
        if moved != 0, !move(moved, index, item, merge.current, to: owner) { return .done }
        rewrite(owner, write(merge))
        slots[Int(owner)].isChanged = true
        if merge.listsAreMerged {
            let lists = RowView(memory.base + slots[Int(owner)].row).lists
            joinedCount += (lists.count - merge.current.lists.count) / 8
        }
        if !slot.isNew { slots[Int(owner)].movedIdentifiers |= moved }
        outcomes[index] = Outcome(status: .updated, id: id(of: owner))
        note(.updated, index, owner, plan)
        return .done
    }

    /// Whether the contact is the row that stands, byte for byte: then nothing has to be merged,
    /// whatever it mentions. Most contacts that are sent again are.
    private func stands(_ item: Item, _ plan: WritePlan, _ slot: Slot) -> Bool {
        guard item.byteCount == slot.byteCount, item.patchByteCount == 0, plan.lists.isEmpty else {
            return false
        }
        let start = RowLayout.columnsOffset
        let standing = UnsafeRawPointer(memory.base + (slot.row + start))
        return UnsafeRawPointer(memory.base + (item.row + start))
            .compare(with: standing, byteCount: item.byteCount - start)
    }

    private func note(_ type: EventType, _ index: Int, _ slot: Int32, _ plan: WritePlan) {
        guard plan.runsWorkflow else { return }
        events.append(Event(item: index, type: type, slot: slot, row: slots[Int(slot)].row))
    }

    /// Gives identifiers to the contact and takes its old ones from it.
    ///
    /// - Returns: `false` when another contact has one; the item has failed then.
    private func move(
        _ moved: UInt8, _ index: Int, _ item: Item, _ current: RowView, to owner: Int32
    ) -> Bool {
        let moving = Identifier.settable.filter { moved & 1 << $0.rawValue != 0 }
        for identifier in moving {
            let entry = item.entries[identifier.rawValue]
            if entry >= 0, identifiers[owner: entry] >= 0 {
                failTaken(index, identifier, by: identifiers[owner: entry])
                return false
            }
        }
        let workspace = slots[Int(owner)].workspace
        for identifier in moving {
            let old = current[identifier.rawValue]
            if old.start != nil,
                let entry = identifiers.find(
                    old, workspaceID: workspace.id, field: identifier, in: memory)
            {
                identifiers[owner: entry] = -1
            }
            let entry = item.entries[identifier.rawValue]
            if entry >= 0 { identifiers.take(entry, for: owner) }
        }
        return true
    }

    private func patch(_ item: Item) -> ColumnBytes? {
        guard item.patchByteCount > 0 else { return nil }
        return ColumnBytes(
            start: memory.base + item.row + item.byteCount, count: item.patchByteCount)
    }

    private func failTaken(_ index: Int, _ identifier: Identifier, by owner: Int32) {
        fail(
            index, .identifierTaken, identifier.name,
            "another contact of the workspace has this \(identifier.name)",
            conflicting: id(of: owner))
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
