import Testing

@testable import Access

/// The text of keys and the lists of rights.
@Suite struct AccessKeyTests {
    @Test func aNewKeyIsReadBackAndProvesItself() throws {
        let key = AccessKey()
        let read = try #require(AccessKey(key.text))
        #expect(read.id == key.id)
        #expect(read.text == key.text)
        #expect(read.matches(key.hash))
        #expect(key.hash.count == 32)
        #expect(key.text.utf8.count == 84)
    }

    @Test func keysDiffer() {
        let keys = (0..<1000).map { _ in AccessKey() }
        #expect(Set(keys.map(\.id)).count == 1000)
        #expect(Set(keys.map(\.text)).count == 1000)
        #expect(!keys[0].matches(keys[1].hash))
    }

    @Test func whatIsNoKeyIsNotRead() {
        let text = AccessKey().text
        let others = [
            "", "ck_", String(text.dropLast()), text + "0", text.uppercased(),
            "sk_" + text.dropFirst(3), text.replacingOccurrences("_", "-"), " " + text.dropFirst(),
            String(text.dropLast()) + "g", String(repeating: "_", count: 84),
            String(text.dropLast()) + "é", String(repeating: "é", count: 42),
        ]
        for other in others { #expect(AccessKey(other) == nil, "\(other.count)") }
    }

    @Test func anyChangedDigitFails() throws {
        let key = AccessKey()
        let digits = Array(key.text)
        for place in (84 - 64)..<84 {
            var changed = digits
            changed[place] = changed[place] == "0" ? "1" : "0"
            #expect(try !#require(AccessKey(String(changed))).matches(key.hash))
        }
    }

    @Test func rightsAreReadAndListed() {
        #expect(Rights(list: "write,read") == [.write, .read])
        #expect(Rights(list: "read,write")?.list == "write,read")
        #expect(Rights(list: "admin")?.list == "admin")
        for wrong in ["", "write,", ",", "Write", "all", "write read"] {
            #expect(Rights(list: wrong) == nil)
        }
    }

    @Test func anyOfTheRightsWillDoAndAdminAlwaysDoes() {
        #expect(Rights.read.allow([.write, .read]))
        #expect(!Rights.read.allow(.write))
        #expect(!Rights.write.allow(.read))
        #expect(Rights.admin.allow(.write) && Rights.admin.allow(.read))
    }
}

extension String {
    fileprivate func replacingOccurrences(_ old: Character, _ new: Character) -> String {
        String(map { $0 == old ? new : $0 })
    }
}
