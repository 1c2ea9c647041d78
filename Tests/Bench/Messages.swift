// In: a workload and how many contacts a message has. Out: encoded messages, made before the clock
// starts, or, beyond what memory should hold, as they are asked for. Any thread.

import ContactsClient

struct Messages: Sendable {
    /// More contacts than this are made while the run goes on.
    static let preparedLimit = 4_000_000

    let workload: Workload
    let chunk: Int
    private let contacts: BenchContacts
    private let prepared: [RequestEncoder]

    /// - Parameter prepares: Whether to make them now, as far as memory should hold them.
    init(_ workload: Workload, _ contacts: BenchContacts, chunk: Int, prepares: Bool = true) {
        self.workload = workload
        self.chunk = chunk
        self.contacts = contacts
        guard prepares, workload.count <= Self.preparedLimit else {
            prepared = []
            return
        }
        let count = (workload.count + chunk - 1) / chunk
        prepared = (0..<count).map { Self.message($0, workload, contacts, chunk) }
    }

    var count: Int { (workload.count + chunk - 1) / chunk }

    subscript(number: Int) -> RequestEncoder {
        prepared.isEmpty
            ? Self.message(number, workload, contacts, chunk) : prepared[number]
    }

    private static func message(
        _ number: Int, _ workload: Workload, _ contacts: BenchContacts, _ chunk: Int
    ) -> RequestEncoder {
        var message = RequestEncoder()
        let first = number * chunk
        let indices = first..<min(first + chunk, workload.count)
        message.append(indices.map { contacts.contact(workload.item($0)) })
        return message
    }
}

/// Which places of a workload a stream has: its messages are dealt out in turns.
struct Deal: Sendable {
    let chunk: Int
    let streams: Int

    /// The place of the contact that a stream sends after `offset` others.
    func index(stream: Int, offset: Int) -> Int {
        (offset / chunk * streams + stream) * chunk + offset % chunk
    }
}
