// In: a contact's number and version. Out: the contact, as a value for the client library as a row of
// COPY's text format for psql, and as a statement's parameters; about 150 bytes on the wire. All versions of a number have the
// same keys; a version has a first name and a score of its own. Pure; any thread.

import Contacts
import ContactsTool
import Postgres

struct BenchContacts: Sendable {
    /// What a version of a contact holds beside its keys.
    private struct Values {
        var firstName: String
        var lastName: String
        var plan: String
        var age: Int
        var score: Double
        var isSubscribed: Bool
    }

    private static let firstNames = [
        "Emma-Louise", "Liam", "José", "Zoë", "François", "Søren", "Łukasz", "Siobhán", "Ольга",
        "Mary Jane", "Christopher", "Γιώργος", "Aoife", "太郎", "Priyanka", "Alexander",
    ]
    private static let lastNames = [
        "Johnson", "O’Brien", "Núñez", "Müller", "Lefèvre", "Ångström", "Wiśniewski", "Ní Bhriain",
        "Смирнова", "van der Berg", "Montgomery", "Παπαδοπούλου", "Kelly", "山田", "Ramaswamy",
        "Featherstonehaugh",
    ]
    private static let plans = ["free", "starter", "professional", "enterprise"]

    private let keys: RandomKeys
    private let seed: UInt64
    let hasPhone: Bool

    init(seed: UInt64, hasPhone: Bool) {
        keys = RandomKeys(seed: seed)
        self.seed = seed
        self.hasPhone = hasPhone
    }

    func email(_ number: Int) -> String { Self.hexadecimal(keys.word(number)) + "@example.com" }

    /// The number of an email's contact; `nil` when it is none of ours.
    func number(email: String) -> Int? {
        UInt64(email.prefix(16), radix: 16).map(keys.number)
    }

    private func externalID(_ number: Int) -> String {
        "crm-" + Self.hexadecimal(keys.secondWord(number))
    }

    /// E.164, so that it is stored as it is sent.
    private func phone(_ number: Int) -> String {
        let digits = String(keys.digits(number))
        return "+491" + String(repeating: "0", count: 10 - digits.count) + digits
    }

    private func values(_ number: Int, _ version: Int) -> Values {
        var identity = SplitMix64(seed: seed &+ UInt64(number) &* 0xD1B5_4A32_D192_ED03)
        let fixed = identity.next()
        // Two versions that share a first name and a score are millions apart.
        let name = (Int(fixed & 15) + version) & 15
        let score = (Int(identity.next() >> 40) + version * 7919) % 999_983
        return Values(
            firstName: Self.firstNames[name], lastName: Self.lastNames[Int(fixed >> 8 & 15)],
            plan: Self.plans[Int(fixed >> 16 & 3)], age: 18 + Int(fixed >> 24 & 63),
            score: Double(score) / 1000, isSubscribed: fixed >> 40 & 3 != 0)
    }

    /// The contact as a client sends it. A bad one has an email without an "@".
    func contact(_ item: Item) -> Contact {
        let number = item.number
        let values = values(number, item.version)
        let email = email(number)
        return Contact(
            email: item.isBad ? String(email.prefix(16)) : email,
            phone: hasPhone ? phone(number) : nil, externalID: externalID(number),
            firstName: values.firstName, lastName: values.lastName,
            fields: [
                CustomField("plan", .string(values.plan)),
                CustomField("age", .integer(Int64(values.age))),
                CustomField("score", .number(values.score)),
                CustomField("subscribed", .boolean(values.isSubscribed)),
            ])
    }

    /// The columns of `appendRow`.
    var columns: String {
        "id, email, \(hasPhone ? "phone, " : "")external_id, first_name, last_name, fields"
    }

    /// A row in COPY's text format, without its line break. Nothing in it has to be escaped.
    func appendRow(_ number: Int, version: Int, id: ContactID, to bytes: inout [UInt8]) {
        let values = values(number, version)
        bytes.append(contentsOf: id.description.utf8)
        bytes.append(UInt8(ascii: "\t"))
        bytes.append(contentsOf: email(number).utf8)
        if hasPhone {
            bytes.append(UInt8(ascii: "\t"))
            bytes.append(contentsOf: phone(number).utf8)
        }
        for text in [externalID(number), values.firstName, values.lastName] {
            bytes.append(UInt8(ascii: "\t"))
            bytes.append(contentsOf: text.utf8)
        }
        bytes.append(UInt8(ascii: "\t"))
        bytes.append(contentsOf: fields(values).utf8)
    }

    /// The same columns as the parameters of a statement; the custom fields come as text.
    func parameters(_ number: Int, id: ContactID) -> Parameters {
        let values = values(number, 0)
        var parameters = Parameters()
        parameters.append(uuid: UInt128(id.high) << 64 | UInt128(id.low))
        parameters.append(text: email(number))
        if hasPhone { parameters.append(text: phone(number)) }
        for text in [externalID(number), values.firstName, values.lastName, fields(values)] {
            parameters.append(text: text)
        }
        return parameters
    }

    private func fields(_ values: Values) -> String {
        """
        {"age": \(values.age), "plan": "\(values.plan)", "score": \(values.score), \
        "subscribed": \(values.isSubscribed)}
        """
    }

    /// Sixteen digits.
    private static func hexadecimal(_ word: UInt64) -> String {
        String(unsafeUninitializedCapacity: 16) { buffer in
            for index in 0..<16 {
                let digit = UInt8(truncatingIfNeeded: word >> UInt64(60 - 4 * index)) & 15
                buffer[index] = digit < 10 ? digit + UInt8(ascii: "0") : digit + 87
            }
            return 16
        }
    }
}
