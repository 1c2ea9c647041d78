import ContactsClient
import Testing

@testable import ContactsTool

@Suite struct ColumnMappingTests {
    static func contact(
        _ file: String, _ change: (inout MappingOptions) -> Void = { _ in }
    ) throws -> Contact {
        var options = ReadingOptions()
        change(&options.mapping)
        var reader = ContactReader(name: "a.csv", options: options)
        reader.append(Array(file.utf8))
        reader.finish()
        var records: [InputRecord] = []
        try reader.read(upTo: 10, into: &records)
        return try #require(records.first).content.get()
    }

    static func rejection(_ file: String) -> Rejection? {
        do {
            _ = try contact(file)
            return nil
        } catch {
            return (error as? RejectedRecord)?.rejection
        }
    }

    @Test(arguments: [
        ("email", StandardField.email), ("E-Mail", .email), ("Email Address", .email),
        ("EMAIL_ADDRESS", .email), ("Phone", .phone), ("Phone Number", .phone),
        ("mobile-phone", .phone), ("external_id", .externalID), ("External ID", .externalID),
        ("externalId", .externalID), ("ID", .id), ("Full Name", .name), ("name", .name),
        ("First Name", .firstName), ("given_name", .firstName), ("firstName", .firstName),
        ("Last Name", .lastName), ("Surname", .lastName), ("List IDs", .listIDs),
    ])
    func knowsHeaders(_ header: String, _ field: StandardField) {
        #expect(StandardField(header: header) == field)
    }

    @Test(arguments: ["emails sent", "plan", "", "first"])
    func leavesOtherHeaders(_ header: String) {
        #expect(StandardField(header: header) == nil)
    }

    @Test func makesTypedCustomFields() throws {
        let contact = try Self.contact(
            "Email,age:integer,score:Number,active:bool,joined:timestamp,utm:source,plan\n"
                + "a@x.io, 9007199254740993 ,0.1,Yes,2024-01-31 09:30:00+02:00,x,\n")
        #expect(
            contact
                == Contact(
                    email: "a@x.io",
                    fields: [
                        CustomField("age", .integer(9_007_199_254_740_993)),
                        CustomField("score", .number(0.1)), CustomField("active", .boolean(true)),
                        CustomField("joined", .timestamp(Timestamp(seconds: 1_706_686_200))),
                        CustomField("utm:source", .string("x")),
                    ]))
    }

    @Test func emptyLeavesUnlessAskedToClear() throws {
        let file = "email,phone,plan,age:integer\na@x.io,,  ,\"\"\n"
        #expect(try Self.contact(file) == Contact(email: "a@x.io"))
        let cleared = try Self.contact(file) { $0.emptyClears = true }
        #expect(
            cleared
                == Contact(
                    email: "a@x.io", phone: "",
                    fields: [CustomField("plan", .null), CustomField("age", .null)]))
    }

    @Test func readsFieldsInOneColumn() throws {
        let file = "email,fields,age:integer\na@x.io,\"{\"\"a\"\":5.0,\"\"z\"\":null}\",7\n"
        #expect(
            try Self.contact(file)
                == Contact(
                    email: "a@x.io",
                    fields: [
                        CustomField("a", .number(5)), CustomField("z", .null),
                        CustomField("age", .integer(7)),
                    ]))
        for cell in ["", "  ", "\"\"", "{}"] {
            #expect(try Self.contact("email,fields\na@x.io,\(cell)\n") == Contact(email: "a@x.io"))
            let cleared = try Self.contact("email,fields\na@x.io,\(cell)\n") {
                $0.emptyClears = true
            }
            #expect(cleared == Contact(email: "a@x.io"))
        }
    }

    @Test(arguments: [
        ("[]", "FIELD_INVALID"), ("5", "FIELD_INVALID"), ("x", "JSON_INVALID"),
        ("{", "JSON_INVALID"), ("{\"\"a\"\":[1]}", "FIELD_INVALID"), ("{} {}", "JSON_INVALID"),
    ])
    func refusesFieldsThatAreNoObject(_ cell: String, _ reason: String) {
        #expect(Self.rejection("email,fields\na@x.io,\"\(cell)\"\n")?.reason == reason)
    }

    @Test func otherColumnsOfThatNameStayTexts() throws {
        #expect(
            try Self.contact("email,Fields\na@x.io,12\n")
                == Contact(email: "a@x.io", fields: [CustomField("Fields", .string("12"))]))
        let mapped = try Self.contact("email,fields\na@x.io,12\n") {
            $0.map = [("fields:string", "fields")]
        }
        #expect(mapped == Contact(email: "a@x.io", fields: [CustomField("fields", .string("12"))]))
        let named = try Self.contact("email,more\na@x.io,{}\n") { $0.map = [("fields", "more")] }
        #expect(named == Contact(email: "a@x.io"))
    }

    @Test func spacesInQuotesAreATextBesideFields() throws {
        let row = "a@x.io,\"  \",  ,\"\"\n"
        #expect(
            try Self.contact("email,name,first_name,fields\n" + row)
                == Contact(email: "a@x.io", name: "  "))
        // Elsewhere they are what they have always been.
        #expect(
            try Self.contact("email,name,first_name,last_name\n" + row) == Contact(email: "a@x.io"))
        #expect(
            try Self.contact("name,email,fields\n\" \",a@x.io,\n")
                == Contact(email: "a@x.io", name: " "))
    }

    @Test func obeysMapAndIgnore() throws {
        let contact = try Self.contact("E-Mail,Work mail,Alter,Secret\na@x.io,b@x.io,7,s\n") {
            $0.map = [("email", "work_mail"), ("age:integer", "Alter")]
            $0.ignore = ["Secret"]
        }
        #expect(
            contact
                == Contact(
                    email: "b@x.io",
                    fields: [
                        CustomField("E-Mail", .string("a@x.io")), CustomField("age", .integer(7)),
                    ]))
    }

    @Test func anIDCountsOnlyWhenMatchedBy() throws {
        let file = "id,email,list ids\n7,a@x.io,3;4\n"
        #expect(try Self.contact(file) == Contact(email: "a@x.io", listIDs: [3, 4]))
        let matched = try Self.contact(file) { $0.matchBy = .id }
        #expect(matched == Contact(email: "a@x.io", id: "7", listIDs: [3, 4]))
    }

    @Test(arguments: [
        ("name,plan\nx,y\n", "no column of the header means email"),
        ("email,E-Mail\nx,y\n", "both mean email"), ("email,plan,plan\nx,y,z\n", "both mean"),
    ])
    func refusesAHeader(_ file: String, _ text: String) {
        let error = #expect(throws: FormatError.self) { try Self.contact(file) }
        #expect(error?.description.contains(text) == true)
    }

    @Test func refusesAnUnknownColumnInAFlag() {
        #expect(throws: FormatError.self) {
            try Self.contact("email\nx\n") { $0.map = [("phone", "Telefon")] }
        }
        #expect(throws: FormatError.self) {
            try Self.contact("email\nx\n") { $0.ignore = ["Telefon"] }
        }
    }

    @Test(arguments: [
        "integer,12.5", "integer,9223372036854775808", "number,nan", "number,1e999",
        "boolean,maybe", "timestamp,2023-02-29", "timestamp,yesterday",
    ])
    func refusesACellOfAnotherType(_ pair: String) {
        let parts = pair.split(separator: ",")
        let rejection = Self.rejection("email,x:\(parts[0])\na@x.io,\(parts[1])\n")
        #expect(rejection?.reason == "FIELD_INVALID")
        #expect(rejection?.field == "x:\(parts[0])")
    }

    @Test(arguments: [
        ("1970-01-01", 0, 0), ("2024-02-29T23:59:59Z", 1_709_251_199, 0),
        ("2024-02-29t23:59:60z", 1_709_251_199, 0), ("0001-01-01", -62_135_596_800, 0),
        ("9999-12-31T23:59:59.999999999Z", 253_402_300_799, 999_999_999),
        ("1969-12-31T23:59:59.5Z", -1, 500_000_000), ("2000-01-01 00:00+0530", 946_665_000, 0),
        ("1900-03-01T00:00:00-01:00", -2_203_887_600, 0),
    ])
    func readsTimes(_ text: String, _ seconds: Int, _ nanoseconds: Int) {
        let time = Timestamp(seconds: Int64(seconds), nanoseconds: Int32(nanoseconds))
        #expect(Timestamp(text: text) == time)
        #expect(Timestamp(text: time.text) == time)
    }

    @Test(arguments: [
        "", "2024", "2024-1-1", "2024-13-01", "2024-01-01T", "2024-01-01T25:00:00Z",
        "2024-01-01T00:00:00.Z", "2024-01-01T00:00:00Zx", "0000-01-01", "0001-01-01T00:00:00+01:00",
    ])
    func refusesTimes(_ text: String) {
        #expect(Timestamp(text: text) == nil)
    }

    @Test func saysWhatItUnderstood() throws {
        let mapping = try ColumnMapping(
            header: ["email", "Telefon", "age:integer", "id", ""],
            options: {
                var options = MappingOptions()
                options.map = [("phone", "Telefon")]
                return options
            }())
        #expect(
            mapping.summary
                == "email, Telefon -> phone, age:integer -> field age (integer), "
                + "\"id\" left out (an id counts only with --match-by id), "
                + "\"\" left out (it has no name)")
    }
}
