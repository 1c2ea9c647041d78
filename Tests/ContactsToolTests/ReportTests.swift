import ContactsClient
import Testing

@testable import ContactsTool

@Suite struct ReportTests {
    static func progress(_ change: (inout ProgressSnapshot) -> Void = { _ in }) -> ProgressSnapshot
    {
        var progress = ProgressSnapshot()
        progress.rows = 1_204_000
        progress.failed = 212
        progress.bytes = 38
        progress.totalBytes = 100
        progress.seconds = 30
        change(&progress)
        return progress
    }

    @Test func plainLines() {
        #expect(
            ProgressText.plain(Self.progress())
                == "progress: 30 s, 1,204,000 rows, 40,133 rows/s, 212 failed, 38 %, ETA 49 s")
        #expect(
            ProgressText.plain(Self.progress { $0.totalBytes = nil })
                == "progress: 30 s, 1,204,000 rows, 40,133 rows/s, 212 failed")
        #expect(
            ProgressText.plain(ProgressSnapshot()) == "progress: 0 s, 0 rows, 0 rows/s, 0 failed")
    }

    @Test func bars() {
        #expect(
            ProgressText.bar(Self.progress(), width: 80)
                == "[######............]  38 %  1,204,000 rows  212 failed  ETA 49 s  40,133 rows/s"
        )
        #expect(
            ProgressText.bar(Self.progress { $0.totalBytes = nil }, width: 80)
                == "1,204,000 rows  212 failed  40,133 rows/s")
    }

    @Test func aServerThatIsAwayIsTold() {
        let away = Self.progress {
            $0.outage = .init(seconds: 12, reason: "the connection was lost")
        }
        let words = "the server is not available, trying again (12 s)"
        #expect(
            ProgressText.plain(away)
                == "progress: 30 s, 1,204,000 rows, 40,133 rows/s, 212 failed, 38 %, \(words): "
                + "the connection was lost")
        #expect(
            ProgressText.bar(away, width: 90)
                == "38 %  1,204,000 rows  \(words)  212 failed")
    }

    @Test func aServerThatIsSilentIsTold() {
        let silent = Self.progress {
            $0.outage = .init(seconds: 12, reason: "it is busy", isServerAway: false)
        }
        #expect(
            ProgressText.plain(silent).hasSuffix("38 %, waiting for results (12 s): it is busy"))
    }

    @Test(arguments: 0...120)
    func aBarFitsItsTerminal(_ width: Int) {
        #expect(ProgressText.bar(Self.progress(), width: width).count <= max(0, width - 1))
        let away = Self.progress { $0.outage = .init(seconds: 12, reason: "gone") }
        #expect(ProgressText.bar(away, width: width).count <= max(0, width - 1))
    }

    @Test(
        arguments: [
            (ProgressStyle.auto, true, "xterm", ProgressStyle.bar), (.auto, true, "dumb", .plain),
            (.auto, true, nil, .plain), (.auto, false, "xterm", .plain), (.bar, false, nil, .bar),
            (.none, true, "xterm", .none),
        ] as [(ProgressStyle, Bool, String?, ProgressStyle)])
    func choosesAStyle(
        _ style: ProgressStyle, _ isTerminal: Bool, _ term: String?, _ expected: ProgressStyle
    ) {
        #expect(style.resolved(isTerminal: isTerminal, term: term) == expected)
    }

    @Test func numbers() {
        #expect(ProgressText.grouped(0) == "0")
        #expect(ProgressText.grouped(-1000) == "-1,000")
        #expect(ProgressText.grouped(999_999) == "999,999")
        #expect(ProgressText.fixed(1234.5678, places: 2) == "1,234.57")
        #expect(ProgressText.fixed(0.004, places: 3) == "0.004")
        #expect(ProgressText.duration(3_725) == "1 h 2 min")
    }

    @Test func aDryRunSaysThatNothingIsStored() {
        var report = ImportReport()
        report.read = 1
        report.count(.stored(ContactResult(sequence: 1, status: .created, id: "x")))
        #expect(!report.text.contains("would"))
        report.isDryRun = true
        report.failure = "broken off"
        let lines = report.text.split(separator: "\n").map(String.init)
        #expect(lines.contains("would be created      1"))
        #expect(lines.last == "a dry run: nothing was stored")
        #expect(!report.text.contains("stored or set aside"))
        #expect(String(decoding: report.json, as: UTF8.self).contains("\"dry_run\":true"))
    }

    @Test func importSummaries() throws {
        var report = ImportReport()
        report.read = 3
        report.count(.stored(ContactResult(sequence: 1, status: .created, id: "x")))
        let record = PendingRecord(line: 3, bytes: [])
        report.count(.rejected(record, sequence: 2, Rejection("EMAIL_INVALID", "no")))
        report.count(.rejected(record, sequence: nil, Rejection("RAGGED_ROW", "no")))
        report.seconds = 0.5
        report.rejectsPath = "a.rejects.csv"
        #expect(report.settled == 3)
        let lines = report.text.split(separator: "\n").map(String.init)
        #expect(lines.contains("read          3"))
        #expect(lines.contains("  EMAIL_INVALID  1"))
        #expect(lines.contains("rejected records: a.rejects.csv"))
        guard case .object(let members) = try JSONText.parse(report.json) else {
            Issue.record("no object")
            return
        }
        let values = Dictionary(members.map { ($0.key, $0.value) }, uniquingKeysWith: { $1 })
        #expect(values["failed"] == .integer(2))
        #expect(values["contacts_per_second"] == .number(6))
        #expect(values["error"] == .null)
        #expect(values["rejects"] == .string("a.rejects.csv"))
    }

    @Test func loadReports() throws {
        var options = LoadOptions()
        options.rate = 1000
        var times = SendTimes()
        let start = ContinuousClock.now
        times.sent(2, at: start)
        times.sent(1, at: start + .milliseconds(1))
        let failed = ContactError(reasonText: "EMAIL_INVALID", field: "email", message: "")
        times.received(
            [
                ContactResult(sequence: 1, status: .created, id: "a"),
                ContactResult(sequence: 2, status: .unchanged, id: "b"),
                ContactResult(sequence: 3, status: .failed, id: "", error: failed),
            ], at: start + .milliseconds(4))
        var report = LoadReport(options: options)
        report.counts.add(times.counts)
        report.seconds = 2
        report.bytes = 3_000_000
        #expect(report.counts.acknowledged == 3)
        guard case .object(let members) = try JSONText.parse(report.json),
            case .object(let latency)? = members.first(where: { $0.key == "latency_ns" })?.value
        else {
            Issue.record("no object")
            return
        }
        #expect(
            members.map(\.key) == [
                "options", "sent", "contacts", "created", "updated", "unchanged", "failed",
                "failed_by_reason", "seconds", "preparation_seconds", "contacts_per_second",
                "bytes", "megabytes_per_second", "maximum_lag_seconds", "latency_ns", "error",
            ])
        #expect(latency.map(\.key) == ["p50", "p90", "p99", "p99_9", "max", "mean"])
        guard case .integer(let maximum) = latency[4].value else { return }
        #expect((3_990_000...4_010_000).contains(maximum))
        #expect(report.text.contains(" 1.50\n"))
        let empty = LoadReport(options: LoadOptions())
        #expect(throws: Never.self) { try JSONText.parse(empty.json) }
    }

    @Test func aSecondLoadHasTheSamePeople() {
        var options = LoadOptions()
        let first = LoadContacts(options).contact(5)
        #expect(LoadContacts(options).contact(5) == first)
        options.seed = 2
        let changed = LoadContacts(options).contact(5)
        #expect(changed.email == first.email && changed != first)
        options.prefix = "other-"
        #expect(LoadContacts(options).contact(5).email != first.email)
    }

    @Test(arguments: [
        ("a@b.io", ContactKey.email("a@b.io")), ("+1 617-555-1212", .phone("+1 617-555-1212")),
        ("0190b2a4-7d5e-7000-8000-000000000001", .id("0190b2a4-7d5e-7000-8000-000000000001")),
        ("C-100007", .externalID("C-100007")), ("12345", .externalID("12345")),
    ])
    func guessesKeys(_ text: String, _ key: ContactKey) {
        #expect(ContactKey(guessing: text) == key)
    }

    @Test func aRecordCanBeImportedAgain() throws {
        let contact = Contact(
            email: "a@x.io", id: "7", name: "Zoë\u{1B}[2J", listIDs: [4],
            fields: [
                CustomField("n", .number(5)), CustomField("i", .integer(5)),
                CustomField("t", .timestamp(Timestamp(seconds: 1, nanoseconds: 1000))),
            ])
        let time = Timestamp(seconds: 0)
        let record = ContactRecord(contact: contact, createdAt: time, updatedAt: time)
        var mapping = JSONMapping()
        mapping.matchBy = .id
        #expect(try mapping.contact(NDJSONRecord(line: 1, bytes: record.json)) == contact)
        #expect(!record.text.contains("\u{1B}"))
    }

    @Test(arguments: [
        ("localhost", "localhost", 50051), ("10.0.0.1:80", "10.0.0.1", 80), ("[::1]:9", "::1", 9),
        ("[::1]", "::1", 50051),
    ])
    func readsServers(_ text: String, _ host: String, _ port: Int) throws {
        let address = try #require(ServerAddress.parse(text))
        #expect(address.host == host && address.port == port)
    }

    @Test(arguments: ["", ":80", "a:b", "a:0", "a:70000", "::1", "[::1]x"])
    func refusesServers(_ text: String) {
        #expect(ServerAddress.parse(text) == nil)
    }

    @Test func flagsWinOverTheEnvironment() {
        let environment = ["CONTACTS_SERVER": "a:1", "CONTACTS_WORKSPACE": "w"]
        let told = ServerAddress.configuration(
            server: "b:2", workspace: "v", environment: environment)
        #expect(told?.host == "b" && told?.port == 2 && told?.workspace == "v")
        let found = ServerAddress.configuration(
            server: nil, workspace: nil, environment: environment)
        #expect(found?.host == "a" && found?.workspace == "w")
        let usual = ServerAddress.configuration(server: nil, workspace: nil, environment: [:])
        #expect(usual?.host == "127.0.0.1" && usual?.port == 50051 && usual?.workspace == nil)
    }

    @Test func messagesStayUnderTheLimit() throws {
        let limits = Limits(
            maxMessageBytes: 300, maxContactsPerMessage: 10, maxContactBytes: 100, maxTextBytes: 10,
            maxFields: 1, maxUnacknowledgedContacts: 10)
        var builder = MessageBuilder(limits: limits)
        let sizes = [50, 50, 500, 50, 50, 50]
        let records = sizes.enumerated().map { index, size in
            InputRecord(
                line: index + 2, bytes: [1],
                content: .success(Contact(name: String(repeating: "x", count: size))))
        }
        var rest = records[...]
        var noted: [Int] = []
        while !rest.isEmpty {
            rest = builder.take(rest)
            let bytes = builder.contacts.reduce(0) { $0 + $1.largestWireBytes }
            #expect(bytes <= 300 - 64)
            noted += builder.noted.map(\.0.line)
            for (record, rejection) in builder.noted {
                #expect((rejection?.reason == "CONTACT_TOO_LARGE") == (record.line == 4))
            }
        }
        #expect(noted == [2, 3, 4, 5, 6, 7])
    }
}
