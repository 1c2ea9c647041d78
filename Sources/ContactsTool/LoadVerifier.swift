// In: the ids that a load run was told. Out: whether the server has those contacts under these ids
// and as they were sent. The contacts are made again of their numbers, and asked for a few thousand
// at a time, so that memory holds the ids alone. On one task, after the run.

import ContactsClient

/// What reading the contacts back has found.
package struct LoadVerification: Sendable, Equatable {
    /// Contacts whose result was not FAILED.
    package var acknowledged = 0
    /// Of these, those that are there as they were sent.
    package var stored = 0
    /// Those that are not there.
    package var missing = 0
    /// Those that are there under another id or with other values.
    package var different = 0

    package init() {}

    package var isRight: Bool { missing == 0 && different == 0 }
}

/// The ids of one stream, in the order of its contacts; zero for a contact that failed.
typealias StreamIDs = [ContactID]

extension ContactID {
    static let none = ContactID(high: 0, low: 0)
}

struct LoadVerifier: Sendable {
    /// In one call; an answer of so many stays below what the server gives.
    private static let batch = 5000
    /// How long a server that is away is waited for.
    private static let retry = RetryPolicy(patience: .seconds(60))

    private let options: LoadOptions
    private let contacts: LoadContacts
    /// The numbers of contacts that have one key, where there is more than one.
    private let namesakes: [Int: [Int]]

    init(_ options: LoadOptions, _ contacts: LoadContacts) {
        self.options = options
        self.contacts = contacts
        var numbers: [Int: [Int]] = [:]
        if options.repeats > 0 {
            for number in 0..<options.contacts {
                numbers[contacts.identity(number), default: []].append(number)
            }
            numbers = numbers.filter { $0.value.count > 1 }
        }
        namesakes = numbers
    }

    /// Reads back what was acknowledged, and compares.
    ///
    /// - Throws: `ClientError` when the server cannot be asked.
    func verify(
        _ streams: [StreamIDs], _ configuration: ContactsClient.Configuration
    ) async throws -> LoadVerification {
        var found = LoadVerification()
        var client: ContactsClient?
        for (index, ids) in streams.enumerated() {
            for start in stride(from: 0, to: ids.count, by: Self.batch) {
                let places = (start..<min(start + Self.batch, ids.count)).filter {
                    ids[$0] != .none
                }
                let numbers = places.map { number(at: $0, stream: index) }
                let keys = numbers.map { ContactKey.email(contacts.contact($0).email ?? "") }
                let records = try await Self.read(keys, &client, configuration)
                for (place, record) in records.enumerated() {
                    judge(record, ids[places[place]], numbers[place], &found)
                }
            }
        }
        await client?.close()
        return found
    }

    /// The number of a stream's contact: the streams take turns, a message each.
    func number(at place: Int, stream: Int) -> Int {
        let message = place / options.chunk * options.streams + stream
        return message * options.chunk + place % options.chunk
    }

    func judge(
        _ record: ContactRecord?, _ id: ContactID, _ number: Int, _ found: inout LoadVerification
    ) {
        found.acknowledged += 1
        guard let record else {
            found.missing += 1
            return
        }
        let isSame = record.contact.id == id.description && isStored(number, record.contact)
        if isSame { found.stored += 1 } else { found.different += 1 }
    }

    /// Of several contacts with one key the last one stands: in one stream that is one sent later,
    /// in several it can be any.
    private func isStored(_ number: Int, _ stored: Contact) -> Bool {
        if Self.agrees(stored, contacts.contact(number)) { return true }
        guard let others = namesakes[contacts.identity(number)] else { return false }
        return others.contains { other in
            (options.streams > 1 || other > number)
                && Self.agrees(stored, contacts.contact(other))
        }
    }

    /// All that was sent is there; a contact that was there before may have more.
    private static func agrees(_ stored: Contact, _ sent: Contact) -> Bool {
        stored.email == sent.email?.lowercased() && stored.externalID == sent.externalID
            && stored.firstName == sent.firstName && stored.lastName == sent.lastName
            && sent.fields.allSatisfy { stored.fields.contains($0) }
    }

    private static func read(
        _ keys: [ContactKey], _ client: inout ContactsClient?,
        _ configuration: ContactsClient.Configuration
    ) async throws -> [ContactRecord?] {
        if keys.isEmpty { return [] }
        let start = ContinuousClock.now
        var failures = 0
        while true {
            do {
                let connected: ContactsClient
                if let client {
                    connected = client
                } else {
                    connected = try await ContactsClient.connect(configuration)
                    client = connected
                }
                return try await connected.getContacts(keys)
            } catch let error as ClientError where error.isUnavailable {
                guard ContinuousClock.now - start < retry.patience else { throw error }
                client = nil
                failures += 1
                try await Task.sleep(for: retry.delay(afterFailures: failures))
            }
        }
    }
}
