// In: how a load run was asked for. Out: its contacts and its encoded messages, each made of its
// number alone, so that a second run has the same people. Pure; on any thread.

package import ContactsClient

/// What to send and how.
package struct LoadOptions: Sendable {
    package var streams = 1
    package var connections = 1
    /// Contacts in a message.
    package var chunk = 500
    package var contacts = 100_000
    /// Contacts a second; nil: as fast as the server takes them.
    package var rate: Double?
    package var seed: UInt64 = 1
    /// The share of contacts that repeat the keys of an earlier one.
    package var repeats = 0.0
    /// Contacts of another prefix are other people. The same prefix and seed a second time leaves
    /// all unchanged; with another seed it updates them.
    package var prefix = "load-"
    /// Whether what was acknowledged is read back after the run.
    package var verifies = false

    package init() {}

    func write(to writer: inout JSONWriter) {
        writer.set("streams", streams)
        writer.set("connections", connections)
        writer.set("chunk", chunk)
        writer.set("contacts", contacts)
        if let rate { writer.set("rate", rate) } else { writer.setNull("rate") }
        writer.set("seed", seed)
        writer.set("repeats", repeats)
        writer.set("prefix", prefix)
    }

    var messages: Int { (contacts + chunk - 1) / chunk }
}

/// Makes the contacts of a load run: valid, of about 150 bytes, their keys by prefix and number.
package struct LoadContacts: Sendable {
    private let options: LoadOptions

    package init(_ options: LoadOptions) {
        self.options = options
    }

    /// The contact of that number, from 0.
    package func contact(_ number: Int) -> Contact {
        var random = random(number)
        let identity = identity(number, &random)
        let name = random.pick(SampleName.all)
        let key = Self.scrambled(identity)
        return Contact(
            email: options.prefix + key + "@example.com", externalID: options.prefix + key,
            firstName: name.first, lastName: name.last,
            fields: [
                CustomField("plan", .string(random.pick(SampleWords.plans))),
                CustomField("age", .integer(Int64(18 + random.below(70)))),
                CustomField("score", .number(Double(random.below(100_000)) / 1000)),
                CustomField("subscribed", .boolean(random.chance(0.7))),
            ])
    }

    /// The number whose keys the contact of that number has.
    func identity(_ number: Int) -> Int {
        var random = random(number)
        return identity(number, &random)
    }

    private func random(_ number: Int) -> SplitMix64 {
        SplitMix64(seed: options.seed &+ UInt64(number) &* 0xD1B5_4A32_D192_ED03)
    }

    private func identity(_ number: Int, _ random: inout SplitMix64) -> Int {
        let isRepeat = options.repeats > 0 && number > 0 && random.chance(options.repeats)
        return isRepeat ? random.below(number) : number
    }

    /// Numbers in a row get keys in random order, as an export from another system has them: keys in
    /// order would let the database write its indexes from left to right. A bijection of 40 bits.
    private static func scrambled(_ number: Int) -> String {
        let mask: UInt64 = 1 << 40 - 1
        var key = UInt64(number) &* 0x9E_3779_B97F & mask
        key ^= key >> 21
        key = key &* 0xD1_B54A_32D1 & mask
        key ^= key >> 17
        return String(key, radix: 36)
    }

    /// The encoded message of that number, from 0.
    func message(_ number: Int) -> RequestEncoder {
        var message = RequestEncoder()
        let first = number * options.chunk
        for contact in first..<min(first + options.chunk, options.contacts) {
            message.append(self.contact(contact))
        }
        return message
    }
}
