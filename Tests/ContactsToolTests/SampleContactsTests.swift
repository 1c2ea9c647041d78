import ContactsClient
import Testing

@testable import ContactsTool

@Suite struct SampleContactsTests {
    static let count = 20_000

    static func file(_ contacts: SampleContacts, _ options: SampleWriter.Options, _ count: Int)
        -> [UInt8]
    {
        var writer = SampleWriter(options: options)
        for number in 0..<count { writer.append(contacts.row(number)) }
        return writer.bytes
    }

    static func read(_ bytes: [UInt8], _ format: FileFormat) throws -> [InputRecord] {
        var options = ReadingOptions()
        options.format = format
        var reader = ContactReader(name: "sample", options: options)
        reader.append(bytes)
        reader.finish()
        var records: [InputRecord] = []
        try reader.read(upTo: .max, into: &records)
        return records
    }

    @Test func theSameSeedMakesTheSameRows() {
        let options = SampleWriter.Options()
        let one = Self.file(SampleContacts(seed: 7), options, 500)
        #expect(one == Self.file(SampleContacts(seed: 7), options, 500))
        #expect(one != Self.file(SampleContacts(seed: 8), options, 500))
    }

    /// Fixed for ever: who reports a fault with a seed must be able to count on it.
    @Test func theFirstNumbersAreSplitMix64s() {
        var random = SplitMix64(seed: 1_234_567)
        let numbers = (0..<3).map { _ in random.next() }
        #expect(
            numbers == [
                6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423,
            ])
    }

    @Test func peopleAreApart() throws {
        let contacts = SampleContacts(seed: 3, dirty: 0)
        let rows = (0..<Self.count).map { contacts.row($0).contact }
        let emails = Set(rows.compactMap { $0.email?.trimmedSpaces.lowercased() })
        #expect(emails.count == Self.count)
        let phones = rows.compactMap(\.phone).map { phone in
            let digits = phone.filter(\.isNumber)
            return digits.hasPrefix("00") ? String(digits.dropFirst(2)) : digits
        }
        #expect(Set(phones).count == phones.count)
        #expect(phones.allSatisfy { (8...15).contains($0.count) })
        #expect(Set(rows.compactMap(\.externalID)).count == Self.count)
    }

    @Test func repeatsHaveTheKeysOfAnEarlierRow() {
        let contacts = SampleContacts(seed: 3, dirty: 0, repeats: 0.3)
        let rows = (0..<2000).map { contacts.row($0) }
        let repeats = rows.enumerated().filter { $0.offset != $0.element.identity }
        #expect((400...800).contains(repeats.count))
        let original = SampleContacts(seed: 3, dirty: 0)
        for (number, row) in repeats {
            #expect(row.identity < number)
            let email = original.row(row.identity).contact.email?.trimmedSpaces.lowercased()
            #expect(row.contact.email?.trimmedSpaces.lowercased() == email)
        }
    }

    @Test(arguments: FileFormat.allCases, [false, true])
    func everyRowIsAccountedFor(_ format: FileFormat, _ foreign: Bool) throws {
        let contacts = SampleContacts(seed: 11, dirty: 0.05)
        var options = SampleWriter.Options()
        options.format = format
        options.mark = foreign
        options.crlf = foreign
        let records = try Self.read(Self.file(contacts, options, 5000), format)
        #expect(records.count == 5000)
        var faults: Set<SampleFault> = []
        for (number, record) in records.enumerated() {
            let row = contacts.row(number)
            let isLocal = row.fault?.isRefusedLocally(in: format) == true
            switch record.content {
            case .success(let contact):
                #expect(!isLocal)
                #expect(contact == row.contact)
            case .failure(let refused):
                #expect(isLocal)
                #expect(refused.rejection.reason == row.fault?.reason(in: format))
            }
            if let fault = row.fault { faults.insert(fault) }
        }
        #expect(faults.count == SampleFault.allCases.count)
    }

    @Test func aboutTheShareThatWasAskedForIsDirty() {
        let contacts = SampleContacts(seed: 5, dirty: 0.01)
        let dirty = (0..<Self.count).count { contacts.row($0).fault != nil }
        #expect((140...260).contains(dirty))
    }

    @Test func aNameIsInAnyScript() {
        let contacts = SampleContacts(seed: 5)
        let names = Set((0..<2000).compactMap { contacts.row($0).contact.firstName })
        for name in ["José", "Ольга", "Ελένη", "محمد", "נועה", "प्रिया", "小明", "さくら", "민준", "สมชาย"] {
            #expect(names.contains(name))
        }
    }
}
