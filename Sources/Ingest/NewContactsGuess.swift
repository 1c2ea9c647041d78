// Whether the next contacts of a workspace are likely all new, so that looking them up would find
// nothing: told by what the last look-ups found.
//
// In: what became of transactions. Out: a guess. A value of one lane. A wrong guess costs a
// transaction that is rolled back, and leaves its rows for VACUUM; so after each there have to be
// twice as many look-ups that find nothing, up to a limit.

struct NewContactsGuess {
    private struct History {
        /// Transactions in a row in which no contact stood.
        var clean = 0
        /// As many have to be.
        var needed = 1
    }

    private static let mostNeeded = 64
    /// More workspaces than this at once do not gain from what is remembered of each.
    private static let workspaceLimit = 1000

    private var histories: [Int32: History] = [:]

    func expectsNew(_ workspaces: Set<Workspace>) -> Bool {
        workspaces.allSatisfy { workspace in
            histories[workspace.id].map { $0.clean >= $0.needed } ?? false
        }
    }

    mutating func lookedUp(_ workspaces: Set<Workspace>, foundAny: Bool) {
        if histories.count > Self.workspaceLimit { histories.removeAll() }
        for workspace in workspaces {
            if foundAny {
                histories[workspace.id, default: History()].clean = 0
            } else {
                histories[workspace.id, default: History()].clean += 1
            }
        }
    }

    /// The guess was right. After as many right ones, an earlier wrong one counts half.
    mutating func held(_ workspaces: Set<Workspace>) {
        for workspace in workspaces {
            guard var history = histories[workspace.id] else { continue }
            history.clean += 1
            if history.clean >= history.needed + Self.mostNeeded / 4 {
                history.needed = max(1, history.needed / 2)
                history.clean = history.needed
            }
            histories[workspace.id] = history
        }
    }

    mutating func failed(_ workspaces: Set<Workspace>) {
        for workspace in workspaces {
            let needed = histories[workspace.id]?.needed ?? 1
            histories[workspace.id] = History(clean: 0, needed: min(needed * 2, Self.mostNeeded))
        }
    }
}
