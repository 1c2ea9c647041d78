// In: a seed and a row's number. Out: that row's contact, what is wrong with it if anything, and
// whose contact it is. Each row is made of its number alone, so that rows can be made in any order
// and a test can account for each. Pure; on any thread.

package import ContactsClient

/// What is wrong with a dirty row.
package enum SampleFault: String, Sendable, CaseIterable {
    case emailInvalid, phoneInvalid, keyMissing, invalidUTF8, nul, nameTooLong, fieldInvalid
    /// A CSV row with a field too many; a JSON object that is never closed.
    case broken

    /// The word by which the row is refused when contacts are matched by email.
    package func reason(in format: FileFormat) -> String {
        switch self {
        case .emailInvalid: Reason.emailInvalid.rawValue
        case .phoneInvalid: Reason.phoneInvalid.rawValue
        case .keyMissing: Reason.keyMissing.rawValue
        case .invalidUTF8, .nul: Reason.invalidUTF8.rawValue
        case .nameTooLong: Reason.valueTooLong.rawValue
        case .fieldInvalid: Reason.fieldInvalid.rawValue
        case .broken: format == .csv ? LocalReason.raggedRow : LocalReason.jsonInvalid
        }
    }

    /// Whether the row is refused while it is read and never reaches the server.
    package func isRefusedLocally(in format: FileFormat) -> Bool {
        switch self {
        case .invalidUTF8, .fieldInvalid, .broken: true
        // JSON has a way to write a NUL; CSV has none.
        case .nul: format == .csv
        case .emailInvalid, .phoneInvalid, .keyMissing, .nameTooLong: false
        }
    }
}

/// One row of sample data.
package struct SampleRow: Sendable, Equatable {
    /// Whose contact it is: its own number, or that of the earlier row whose keys it repeats.
    package var identity: Int
    package var contact: Contact
    package var fault: SampleFault?
}

package struct SampleContacts: Sendable {
    package var seed: UInt64
    /// The share of rows with a fault.
    package var dirty: Double
    /// The share of rows that repeat the keys of an earlier one.
    package var repeats: Double
    /// Stands before the email's words; other prefixes are other people.
    package var prefix: String

    /// Digits of a phone number behind its prefix: as many people as phone numbers stay apart.
    private static let phoneModulus = 99_999_989

    package init(
        seed: UInt64 = 1, dirty: Double = 0.01, repeats: Double = 0, prefix: String = ""
    ) {
        self.seed = seed
        self.dirty = dirty
        self.repeats = repeats
        self.prefix = prefix
    }

    /// The row of that number, from 0.
    package func row(_ number: Int) -> SampleRow {
        var random = SplitMix64(seed: seed &+ UInt64(number) &* 0xD1B5_4A32_D192_ED03)
        let isRepeat = repeats > 0 && number > 0 && random.chance(repeats)
        let identity = isRepeat ? random.below(number) : number
        var person = SplitMix64(seed: seed ^ 0xA076_1D64_78BD_642F &+ UInt64(identity))
        let name = person.pick(SampleName.all)
        var contact = Contact(externalID: "\(prefix)C-\(100_000 + identity)")
        contact.email = email(identity, name, &person, &random)
        contact.phone = phone(identity, &person, &random)
        setNames(name, in: &contact, &random)
        contact.fields = fields(&random)
        var row = SampleRow(identity: identity, contact: contact)
        if random.chance(dirty) { spoil(&row, &random) }
        return row
    }

    /// Ends in the identity's number, so that no two people share one. The words are the person's,
    /// the capitals and spaces around them the row's.
    private func email(
        _ identity: Int, _ name: SampleName, _ person: inout SplitMix64,
        _ random: inout SplitMix64
    ) -> String {
        var email = prefix + name.latin + "." + String(identity, radix: 36)
        if person.chance(0.08) { email += "+" + person.pick(SampleWords.tags) }
        let domain = person.pick(SampleWords.domains)
        email += "@" + (random.chance(0.05) ? domain.uppercased() : domain)
        if random.chance(0.02) { email = " " + email + "  " }
        return email
    }

    private func phone(
        _ identity: Int, _ person: inout SplitMix64, _ random: inout SplitMix64
    ) -> String? {
        let country = person.pick(SampleCountry.all)
        let modulus = Self.phoneModulus
        let shift = Int(seed % UInt64(modulus))
        let rest = String((identity % modulus * 48_271 + shift) % modulus)
        let national =
            country.prefix + String(repeating: "0", count: 8 - rest.utf8.count) + rest
        guard !random.chance(0.1) else { return nil }
        return notation(country, Array(national.utf8), style: random.below(6))
    }

    private func notation(_ country: SampleCountry, _ national: [UInt8], style: Int) -> String {
        guard style > 1 else {
            let digits = String(decoding: national, as: UTF8.self)
            return (style == 0 ? "+" : "00") + country.code + digits
        }
        let separators: [UInt8] = [0x20, 0x2D, 0x2E, 0x20]
        let separator = separators[style - 2]
        var text = Array((style == 4 ? "00" : "+").utf8) + Array(country.code.utf8)
        text.append(separator)
        var start = 0
        for (index, length) in country.groups.enumerated() {
            let isBracketed = style == 5 && index == 0
            if index > 0 { text.append(separator) }
            if isBracketed { text.append(UInt8(ascii: "(")) }
            text += national[start..<min(national.count, start + length)]
            if isBracketed { text.append(UInt8(ascii: ")")) }
            start += length
        }
        return String(decoding: text, as: UTF8.self)
    }

    private func setNames(
        _ name: SampleName, in contact: inout Contact, _ random: inout SplitMix64
    ) {
        let form = random.below(8)
        if form != 0 {
            contact.firstName = name.first
            contact.lastName = name.last
        }
        if form < 4 { contact.name = name.full }
    }

    private func fields(_ random: inout SplitMix64) -> [CustomField] {
        var fields = [CustomField("plan", .string(random.pick(SampleWords.plans)))]
        fields.append(CustomField("age", .integer(Int64(18 + random.below(70)))))
        fields.append(CustomField("score", .number(Double(random.below(100_000)) / 1000)))
        fields.append(CustomField("subscribed", .boolean(random.chance(0.7))))
        let joined = Timestamp(seconds: 1_500_000_000 + Int64(random.below(250_000_000)))
        fields.append(CustomField("joined", .timestamp(joined)))
        if random.chance(0.1) {
            let note = random.pick(SampleWords.notes)
            if !note.isEmpty { fields.append(CustomField("note", .string(note))) }
        }
        return fields
    }

    private func spoil(_ row: inout SampleRow, _ random: inout SplitMix64) {
        let fault = random.pick(SampleFault.allCases)
        row.fault = fault
        let number = row.identity
        switch fault {
        case .emailInvalid:
            row.contact.email = random.pick([
                "nobody\(number)", "a\(number)@b@example.com", "@example.com", "x\(number)@",
                "a b\(number)@example.com", "x\(number)@example..com", "x\(number)@localhost",
                "x\(number)@-example.com",
            ])
        case .phoneInvalid:
            row.contact.phone = random.pick([
                "+1 555", "call me", "+123456789012345678", "+1 617 555 CALL", "n/a",
                "+1 617 555 1212 ext. 7",
            ])
        case .keyMissing: row.contact.email = nil
        case .nameTooLong:
            row.contact.name = String(repeating: "Anna ", count: 250)
        case .nul: row.contact.name = "Anna\u{0}Maria"
        // The writer of the file does these: a contact cannot hold them.
        case .invalidUTF8, .fieldInvalid, .broken: break
        }
    }
}
