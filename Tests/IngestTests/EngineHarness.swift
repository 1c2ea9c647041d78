// The engine on a database of its own, driven as a call drives it: through the wire format and the
// rules, in messages and blocks of any size.

import Contacts
import Ingest
import Logging
import NIOConcurrencyHelpers
import Postgres
import Synchronization
import TestSupport

final class EngineHarness {
    let database: TestDatabase
    let engine: IngestEngine
    let connection: Connection
    private let decoder = RequestDecoder()
    private var ids = ContactIDGenerator()

    /// - Parameter orderedLimit: Contacts of a transaction, where they contend for identifiers.
    init(
        lanes: Int = 2, orderedLimit: Int = LaneQueue.transactionContactLimit,
        sweepInterval: Duration = .seconds(60)
    ) throws {
        database = try TestDatabase.create()
        connection = try database.connect()
        try Schema.migrate(connection)
        engine = IngestEngine(
            conninfo: database.conninfo, laneCount: lanes, orderedLimit: orderedLimit,
            sweepInterval: sweepInterval,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    }

    deinit {
        engine.stop()
    }

    func workspace(_ unique: UniqueIdentifiers) throws -> Workspace {
        if unique == .email, let workspace = try Workspace.find("default", connection) {
            return workspace
        }
        let name = "w\(unique.rawValue)"
        if let workspace = try Workspace.find(name, connection) { return workspace }
        guard let workspace = try Workspace.create(name, uniqueBy: unique, connection) else {
            throw SchemaError.tooNew(database: 0, build: 0)
        }
        return workspace
    }

    /// Upserts contacts as one call.
    ///
    /// - Parameter cut: After how many contacts blocks are handed over and waited for; `nil`: once.
    func upsert(
        _ contacts: [Contact], _ options: UpsertOptions = UpsertOptions(), in workspace: Workspace,
        cut: Int? = nil
    ) throws -> [ContactResult] {
        var results: [ContactResult] = []
        var window = ResultWindow()
        let dryRun = options.validateOnly ? engine.dryRun() : nil
        defer { dryRun?.close() }
        let way = try Way(
            lanes: dryRun?.lanes ?? engine.lanes,
            plan: WritePlan(workspace: workspace, options: options),
            rules: ContactRules(options),
            ledger: dryRun == nil ? engine.newImport(named(options), in: workspace) {} : nil)
        let size = cut ?? max(contacts.count, 1)
        for start in stride(from: 0, to: contacts.count, by: size) {
            let part = Array(contacts[start..<min(start + size, contacts.count)])
            try run(part, way, &window)
            while let (sequence, answer) = window.popFirst() {
                switch answer {
                case .stored(let status, let id):
                    results.append(
                        ContactResult(sequence: sequence, status: status, id: id.description))
                case .failed(let error):
                    results.append(
                        ContactResult(sequence: sequence, status: .failed, id: "", error: error))
                }
            }
        }
        return results
    }

    /// Where the contacts of one call go, and by which rules.
    private struct Way {
        let lanes: LaneSet
        let plan: WritePlan
        let rules: ContactRules
        let ledger: ImportLedger?
    }

    private func named(_ options: UpsertOptions) -> UpsertOptions {
        var options = options
        if options.importID.isEmpty { options.importID = ids.next().description }
        return options
    }

    private func run(
        _ contacts: [Contact], _ way: Way, _ window: inout ResultWindow
    ) throws {
        var message = RequestEncoder()
        message.append(contacts)
        let request = try message.bytes.withUnsafeBytes { try decoder.decodeBulkUpsert($0) }
        var blocks = (0..<way.lanes.count).map { _ in RowBlock(plan: way.plan) }
        var contact = NormalizedContact()
        for index in contacts.indices {
            let sequence = window.open()
            if let error = request.contacts.normalize(at: index, by: way.rules, into: &contact) {
                blocks[0].refusals.append(.init(sequence: sequence, error: error))
                continue
            }
            let hash = KeyHash.of(contact, way.plan.matchBy)
            let lane = way.lanes.lane(of: way.plan, keyHash: hash)
            ids.advance(to: 1_700_000_000_000)
            blocks[lane].append(contact, sequence: sequence, id: ids.next(), keyHash: hash)
        }
        let filled = blocks.enumerated().filter { !$0.element.isEmpty }
        let outcomes = ConditionLock<Int>(value: 0)
        let received = NIOLockedValueBox<[BlockOutcome]>([])
        for (lane, block) in filled {
            let work = LaneWork(
                block: block, ledger: way.ledger, decidedThrough: window.first - 1
            ) { outcome in
                outcomes.lock()
                received.withLockedValue { $0.append(outcome) }
                outcomes.unlock(withValue: received.withLockedValue { $0.count })
            }
            way.lanes.add(work, to: lane)
        }
        outcomes.lock(whenValue: filled.count)
        outcomes.unlock()
        for block in blocks {
            for refusal in block.refusals { window.fail(refusal.sequence, refusal.error) }
        }
        for outcome in received.withLockedValue({ $0 }) {
            if let failure = outcome.failure { throw failure }
            let errors = Dictionary(
                uniqueKeysWithValues: outcome.errors.map { ($0.index, $0.error) })
            for (index, entry) in outcome.entries.enumerated() {
                if let error = errors[index] {
                    window.fail(entry.sequence, error)
                } else {
                    window.settle(entry.sequence, entry.status, entry.id)
                }
            }
        }
    }

    /// The whole table as text, in an order that does not depend on ids.
    func table() throws -> [String] {
        let result = try connection.query(
            """
            SELECT concat_ws('|', workspace_id, coalesce(email, '~'), coalesce(phone, '~'),
                coalesce(external_id, '~'), coalesce(name, '~'), coalesce(first_name, '~'),
                coalesce(last_name, '~'), fields::text, coalesce(field_kinds::text, '~'))
            FROM contacts ORDER BY 1
            """)
        return (0..<result.rowCount).compactMap { result.text($0, 0) }
    }

    /// Contacts, members, events and counts as text; what depends on time or chance is left out.
    func everything() throws -> [String] {
        try [
            """
            concat_ws('|', 'contact', id, coalesce(email, '~'), coalesce(phone, '~'),
                coalesce(external_id, '~'), coalesce(name, '~'), coalesce(first_name, '~'),
                coalesce(last_name, '~'), fields::text, coalesce(field_kinds::text, '~'))
            FROM contacts
            """,
            "concat_ws('|', 'member', contact_id, list_id) FROM list_members",
            """
            concat_ws('|', 'event', CASE type WHEN 1 THEN 'created' ELSE 'updated' END, contact_id,
                row_number() OVER (PARTITION BY contact_id ORDER BY event_offset), import_id,
                coalesce(email, '~'), coalesce(phone, '~'), coalesce(external_id, '~'),
                coalesce(name, '~'), coalesce(first_name, '~'), coalesce(last_name, '~'),
                fields::text, coalesce(field_kinds::text, '~'), list_ids::text)
            FROM events
            """,
            """
            concat_ws('|', 'import', import_id, place, sum(count)) FROM import_progress,
                unnest(counts) WITH ORDINALITY AS c (count, place) GROUP BY import_id, place
            """,
        ].flatMap { query in
            let result = try connection.query("SELECT \(query)")
            return (0..<result.rowCount).compactMap { result.text($0, 0) }
        }
    }

    func contact(email: String) throws -> Contact? {
        let workspace = try workspace(.email)
        let box = NIOLockedValueBox<Result<[ContactRecord?], ReaderError>?>(nil)
        let done = ConditionLock(value: false)
        engine.contacts([.email(email)], in: workspace) { result in
            done.lock()
            box.withLockedValue { $0 = result }
            done.unlock(withValue: true)
        }
        done.lock(whenValue: true)
        done.unlock()
        return try box.withLockedValue { $0 }?.get().first??.contact
    }
}
