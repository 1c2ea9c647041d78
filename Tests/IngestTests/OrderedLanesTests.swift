// What lanes do with contacts that contend for identifiers: which wait for which. A gate in the
// database, a trigger that waits for a lock, holds transactions where they can be counted.

import Contacts
import Foundation
import NIOConcurrencyHelpers
import Postgres
import Testing
import TestSupport

@testable import Ingest

@Suite struct OrderedLanesTests {
    let harness: EngineHarness
    let workspace: Workspace
    /// Holds the gate closed.
    let owner: Connection
    let all: UniqueIdentifiers = [.email, .phone, .externalID]

    init() throws {
        harness = try EngineHarness(lanes: 3, orderedLimit: 1)
        workspace = try harness.workspace(all)
        owner = try harness.database.connect()
        try owner.execute(
            """
            CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF NEW.name IN ('waits', 'breaks') THEN
                    PERFORM pg_advisory_xact_lock(4711, 0);
                END IF;
                IF NEW.name = 'breaks' THEN
                    RAISE EXCEPTION 'no' USING ERRCODE = 'insufficient_privilege';
                END IF;
                RETURN NEW;
            END $$;
            CREATE TRIGGER gate BEFORE INSERT OR UPDATE ON contacts
                FOR EACH ROW EXECUTE FUNCTION gate();
            SELECT pg_advisory_lock(4711, 0)
            """)
    }

    private func call(_ matchBy: MatchBy = .email) throws -> PipelinedCall {
        var options = UpsertOptions()
        options.matchBy = matchBy
        return try PipelinedCall(options, in: workspace, harness.engine)
    }

    private func openTheGate() throws { try owner.execute("SELECT pg_advisory_unlock(4711, 0)") }

    private func waitingAtTheGate() throws -> Int64 {
        try harness.connection.query(
            """
            SELECT count(*) FROM pg_locks
            WHERE locktype = 'advisory' AND classid::bigint = 4711 AND NOT granted
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            """
        ).int64(0, 0) ?? 0
    }

    private func statuses(_ call: PipelinedCall) -> [UpsertStatus] {
        call.finish().results.map(\.status)
    }

    @Test func twoLanesWorkAtOnceOnContactsThatHaveNothingInCommon() throws {
        let call = try call()
        try call.send([Contact(email: "a@example.com", phone: "+16175551210", name: "waits")])
        try call.send([Contact(email: "b@example.com", phone: "+16175551211", name: "waits")])
        #expect(try harness.eventually { try waitingAtTheGate() == 2 })
        try openTheGate()
        #expect(statuses(call) == [.created, .created])
    }

    @Test func aLaterContactIsCommittedBeforeAnEarlierOneThatItHasNothingToDoWith() throws {
        let call = try call()
        try call.send([Contact(email: "a@example.com", phone: "+16175551210", name: "waits")])
        try call.send([Contact(email: "b@example.com", phone: "+16175551211")])
        #expect(try harness.eventually { try harness.count("contacts") == 1 })
        try openTheGate()
        #expect(statuses(call) == [.created, .created])
    }

    @Test func whatMentionsTheSameIsNotLookedUpBeforeTheFirstIsCommitted() throws {
        let call = try call()
        try call.send([Contact(email: "a@example.com", phone: "+16175551210", name: "waits")])
        #expect(try harness.eventually { try waitingAtTheGate() == 1 })
        try call.send([Contact(email: "b@example.com", phone: "+16175551210", name: "waits")])
        // Nor is what comes behind it: it would hold a lane up.
        try call.send([Contact(email: "a@example.com", name: "waits")])
        Thread.sleep(forTimeInterval: 0.3)
        #expect(try waitingAtTheGate() == 1)
        #expect(try openTransactions() == 1)
        try openTheGate()
        #expect(statuses(call) == [.created, .failed, .unchanged])
    }

    /// Of the lanes.
    private func openTransactions() throws -> Int64 {
        try harness.connection.query(
            """
            SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name LIKE 'contactsd lane%'
                AND xact_start IS NOT NULL
            """
        ).int64(0, 0) ?? 0
    }

    @Test func anIdentifierThatIsGivenUpUnmentionedIsFreeForWhatComesBehind() throws {
        _ = try harness.upsert(
            [
                Contact(email: "a@example.com", phone: "+16175551210"),
                Contact(email: "c@example.com", phone: "+16175551213"),
            ], in: workspace)
        let call = try call()
        try call.send([Contact(email: "a@example.com", phone: "+16175551211", name: "waits")])
        #expect(try harness.eventually { try waitingAtTheGate() == 1 })
        try call.send([Contact(email: "b@example.com", phone: "+16175551210")])
        try call.send([Contact(email: "c@example.com", phone: "+16175551214")])
        Thread.sleep(forTimeInterval: 0.3)
        #expect(try harness.count("contacts") == 2)
        try openTheGate()
        #expect(statuses(call) == [.updated, .created, .updated])
    }

    @Test func oneContactMatchedInTwoWaysIsWrittenInOrder() throws {
        let created = try harness.upsert(
            [Contact(email: "a@example.com", phone: "+16175551210")], in: workspace)
        let byEmail = try call()
        let byPhone = try call(.phone)
        let byID = try call(.id)
        try byEmail.send([Contact(email: "a@example.com", name: "waits")])
        #expect(try harness.eventually { try waitingAtTheGate() == 1 })
        try byPhone.send([Contact(phone: "+16175551210", name: "second")])
        try byID.send([Contact(id: created[0].id, name: "third")])
        try openTheGate()
        for call in [byEmail, byPhone, byID] { #expect(statuses(call) == [.updated]) }
        #expect(
            try harness.connection.query("SELECT name FROM contacts").text(0, 0) == "third")
    }

    @Test func whatWaitsForABlockWithoutAnAnswerIsLeftOutAndOtherCallsGoOn() throws {
        let calls = try [call(), call()]
        try calls[0].send([Contact(email: "a@example.com", name: "breaks")])
        #expect(try harness.eventually { try waitingAtTheGate() == 1 })
        try calls[0].send([Contact(email: "a@example.com", name: "later")])
        try calls[1].send([Contact(email: "a@example.com", name: "other")])
        Thread.sleep(forTimeInterval: 0.1)
        try openTheGate()
        let answers = calls.map { $0.finish() }
        #expect(answers[0].results.isEmpty && answers[0].failures.count == 2)
        #expect(answers[1].results.map(\.status) == [.created])
        #expect(
            try harness.connection.query("SELECT name FROM contacts").text(0, 0) == "other")
    }

    @Test func anEngineThatStopsLetsThoseThatWaitFinish() throws {
        let call = try call()
        for name in ["waits", "b", "c", "d", "e"] {
            try call.send([Contact(email: "a@example.com", name: name)])
        }
        #expect(try harness.eventually { try waitingAtTheGate() == 1 })
        let opened = WorkAfter(milliseconds: 300, owner) {
            try? $0.execute("SELECT pg_advisory_unlock(4711, 0)")
        }
        #expect(harness.engine.stop(within: .seconds(20)))
        opened.wait()
        #expect(statuses(call) == [.created, .updated, .updated, .updated, .updated])
    }

    @Test func aSettingsChangeRefusesWhatWaitsUnderTheOldOnes() throws {
        let call = try call()
        try call.send([Contact(email: "a@example.com", phone: "+16175551210", name: "waits")])
        #expect(try harness.eventually { try waitingAtTheGate() == 1 })
        try call.send([Contact(email: "a@example.com", name: "later")])
        let name = "w\(all.rawValue)"
        let setter = try harness.database.connect()
        let changed = WorkAfter(milliseconds: 0, setter) {
            try? WorkspaceSettings.change(
                name, uniqueBy: [.email, .phone], eventRetention: nil, $0)
        }
        #expect(
            try harness.eventually {
                try harness.connection.query(
                    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                        + " AND mode = 'ExclusiveLock' AND classid::bigint <> 4711"
                ).int64(0, 0) ?? 0 > 0
            })
        try openTheGate()
        changed.wait()
        let answer = call.finish()
        #expect(answer.results.map(\.status) == [.created])
        #expect(answer.failures.count == 1)
    }
}
