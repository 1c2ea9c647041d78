// What one try of a transaction came to, and what an error of the database means for the next.
//
// In: an error, and whether the COMMIT was on its way. Out: what the lane does now. One lane's
// thread.

internal import Contacts
internal import Logging
internal import Postgres

extension Lane {
    /// A transaction that may be committed or not.
    struct Doubt {
        let session: LaneSession
        let entries: [LedgerWriter.Entry]
        let end: Int
    }

    /// What one try of a transaction came to.
    enum Attempt {
        case committed(end: Int)
        /// Later calls go on with these imports.
        case takenOver([ImportLedger])
        /// Of the workspaces only these stand as they were when their contacts were taken.
        case settingsChanged(standing: Set<Workspace>)
        /// Earlier batches of the queue have to be waited for.
        case outOfTurn
        /// Another transaction was faster, or a deadlock was broken: try again at once.
        case lostRace
        /// A contact that was taken to be new is not: try again with a look-up.
        case wrongGuess
        /// The data is refused.
        case refused
        /// The contacts need more memory than a transaction has.
        case tooLarge
        /// No connection, or the database is full or read-only: try again later.
        case away(sqlstate: String?)
        /// The connection broke, and the COMMIT was on its way.
        case inDoubt(Doubt)
        /// The database says that it cannot work as it is.
        case faulty(sqlstate: String)
        /// Nothing that another try would change.
        case failed(IngestFailure)

        /// The connection, or the database's ability to write, was lost.
        var isLoss: Bool {
            switch self {
            case .away, .inDoubt: true
            default: false
            }
        }
    }

    mutating func recover(from error: PostgresError, _ doubt: Doubt?) -> Attempt {
        if error.isConnectionLoss || open == nil {
            return loseConnection(error, doubt)
        }
        rollBack()
        if error.isUniqueViolation, open?.store.takeGuessBack(batch) == true { return .wrongGuess }
        if error.isTransient || error.isUniqueViolation { return .lostRace }
        if let refuted = refuted(error) { return refuted }
        logger.warning(
            "transaction refused", metadata: ["lane": "\(number)", "error": "\(error)"])
        let sqlstate = error.sqlstate ?? "?????"
        // 53: insufficient resources, such as a full disk. 25006: read-only. 57014: timeout.
        if sqlstate.hasPrefix("53") || sqlstate == "25006" {
            onRefusal()
            // Of several hosts another may be the one that takes writes.
            closeConnection()
            return .away(sqlstate: sqlstate)
        }
        if sqlstate == "57014" { return .away(sqlstate: sqlstate) }
        // Whatever else the owner's constraints, triggers and functions raise is about a contact,
        // and they may raise anything.
        guard Self.faultsOfTheDatabase.contains(where: { sqlstate.hasPrefix($0) }) else {
            // An insert may be refused where a contact that stands would be updated.
            return open?.store.takeGuessBack(batch) == true ? .wrongGuess : .refused
        }
        // Whatever it is, it may hang on this connection.
        closeConnection()
        return .faulty(sqlstate: sqlstate)
    }

    private mutating func loseConnection(_ error: PostgresError, _ doubt: Doubt?) -> Attempt {
        let wasOpen = open != nil
        abandoned = open?.session ?? abandoned
        closeConnection()
        if awaySince == nil {
            logger.warning(
                "lane has no connection, trying again",
                metadata: ["lane": "\(number)", "error": "\(error)"])
        }
        if connector.isDryRun, wasOpen { return .failed(.dryRunLost) }
        // Statements are answered in their order, so a server that ends the connection at one has
        // not come to those behind it.
        let endedBefore =
            error.sqlstate != nil && error.statement.map { $0 != LaneConnector.commit } ?? false
        let hangs = error.kind == .deadlineExceeded
        // The backend may hold its locks for as long as it hangs; callers have waited long enough.
        if hangs {
            awaySince = min(awaySince ?? .now, .now - Self.patience + Self.patienceAfterHang)
        }
        guard let doubt, !endedBefore else {
            return hangs ? .failed(.databaseAway) : .away(sqlstate: nil)
        }
        return .inDoubt(doubt)
    }

    /// What a statement that must find something did not find (`ContactStatements.all`), now that
    /// its transaction is rolled back. What it was may have changed again; then another try tells.
    private mutating func refuted(_ error: PostgresError) -> Attempt? {
        guard error.sqlstate == "22012", let statement = error.statement, let open else {
            return nil
        }
        do {
            if statement == TransactionBegin.settings {
                let workspaces = batch.workspaces
                let standing = try open.begin.standing(workspaces)
                return standing == workspaces ? .lostRace : .settingsChanged(standing: standing)
            }
            if LedgerWriter.fences.contains(statement) {
                let ledgers = works.compactMap { $0.isDone ? nil : $0.ledger }
                let lost = try open.ledgers?.takenOver(ledgers) ?? []
                return lost.isEmpty ? .lostRace : .takenOver(lost)
            }
        } catch {
            return loseConnection(error, nil)
        }
        return ContactUpsert.raced.contains(statement) ? .lostRace : nil
    }

    /// SQLSTATEs that say nothing of a contact (PostgreSQL, appendix A): features, transactions and
    /// statements out of place, access rights and missing objects, operators, the system, damage.
    private static let faultsOfTheDatabase = [
        "0A", "25", "26", "28", "34", "3D", "42", "55", "57", "58", "F0", "XX001", "XX002", "?",
    ]
}
