// In: the header of a CSV file and the caller's wishes. Out: what each column means, and with that
// a contact from each record. Names match without regard to case, spaces, hyphens, underscores
// and dots; a column that means nothing else becomes a custom field. On the reading task.

package import ContactsClient

/// A field that every contact has.
package enum StandardField: String, Sendable, CaseIterable {
    case email, phone, externalID = "external_id", id, name, firstName = "first_name"
    case lastName = "last_name", listIDs = "list_ids"
    /// All custom fields in one JSON object, as NDJSON has them.
    case fields

    private static let names: [String: StandardField] = [
        "email": .email, "emailaddress": .email, "mail": .email, "emailid": .email,
        "primaryemail": .email,
        "phone": .phone, "phonenumber": .phone, "telephone": .phone, "telephonenumber": .phone,
        "tel": .phone, "mobile": .phone, "mobilephone": .phone, "mobilenumber": .phone,
        "cell": .phone, "cellphone": .phone, "msisdn": .phone,
        "externalid": .externalID, "extid": .externalID, "externalidentifier": .externalID,
        "id": .id, "contactid": .id,
        "name": .name, "fullname": .name, "displayname": .name, "contactname": .name,
        "firstname": .firstName, "givenname": .firstName, "forename": .firstName,
        "fname": .firstName,
        "lastname": .lastName, "surname": .lastName, "familyname": .lastName, "lname": .lastName,
        "listids": .listIDs, "listid": .listIDs,
    ]

    /// The field that a header names, however it is written.
    package init?(header: String) {
        // Only as it is written: many a table has a column "Fields" of something else.
        if header == Self.fields.rawValue {
            self = .fields
            return
        }
        guard let field = Self.names[Self.canonical(header)] else { return nil }
        self = field
    }

    static func canonical(_ name: String) -> String {
        String(name.lowercased().filter { !$0.isWhitespace && !"_-.".contains($0) })
    }
}

/// What the caller asks of the mapping.
package struct MappingOptions: Sendable {
    /// From contact field, or custom field with or without `:type`, to column.
    package var map: [(field: String, column: String)] = []
    /// Columns to leave out.
    package var ignore: [String] = []
    /// An empty cell clears the field instead of leaving it.
    package var emptyClears = false
    /// What finds an existing contact; a column `id` counts only when that is the id.
    package var matchBy = MatchBy.email

    package init() {}
}

/// What the columns of a file mean.
package struct ColumnMapping: Sendable, Equatable {
    package enum Target: Sendable, Equatable {
        case standard(StandardField)
        case custom(name: String, type: CellType)
        /// Left out, and why.
        case ignored(String)
    }

    package struct Column: Sendable, Equatable {
        package var header: String
        package var target: Target
    }

    package private(set) var columns: [Column]
    package let emptyClears: Bool
    /// A cell that holds nothing but spaces is a text when it stands in quotes, and else as good as
    /// empty. Only in files with a column `fields`, which `contacts export` writes: other programs
    /// put quotes around every cell.
    let keepsQuotedBlanks: Bool

    /// Decides on each column.
    package init(header: [String], options: MappingOptions) throws(FormatError) {
        emptyClears = options.emptyClears
        var targets = [Target?](repeating: nil, count: header.count)
        for name in options.ignore {
            targets[try Self.find(name, in: header, flag: "--ignore")] = .ignored("as asked")
        }
        var mapped: Set<StandardField> = []
        for (field, column) in options.map {
            let target = Self.target(named: field)
            targets[try Self.find(column, in: header, flag: "--map")] = target
            if case .standard(let field) = target { mapped.insert(field) }
        }
        columns = zip(header, targets).map { name, target in
            let target = target ?? Self.target(header: name, taken: mapped, options.matchBy)
            return Column(header: name, target: target)
        }
        keepsQuotedBlanks = columns.contains { $0.target == .standard(.fields) }
        try checkUnique()
        try checkKey(options.matchBy)
    }

    private static func target(named name: String) -> Target {
        if let field = StandardField(rawValue: name) ?? StandardField(header: name) {
            return .standard(field)
        }
        return customTarget(name)
    }

    private static func target(
        header: String, taken: Set<StandardField>, _ matchBy: MatchBy
    ) -> Target {
        let name = header.trimmedSpaces
        guard !name.isEmpty else { return .ignored("it has no name") }
        guard let field = StandardField(header: name), !taken.contains(field) else {
            return customTarget(name)
        }
        guard field != .id || matchBy == .id else {
            return .ignored("an id counts only with --match-by id")
        }
        return .standard(field)
    }

    /// `age:integer` is the field `age`; after the colon anything but a type belongs to the name.
    private static func customTarget(_ name: String) -> Target {
        if let colon = name.lastIndex(of: ":"), colon != name.startIndex,
            let type = CellType(name: name[name.index(after: colon)...])
        {
            return .custom(name: String(name[..<colon]), type: type)
        }
        return .custom(name: name, type: .string)
    }

    /// The column of that name: as it is written, else however it is written.
    private static func find(
        _ name: String, in header: [String], flag: String
    ) throws(FormatError) -> Int {
        if let exact = header.firstIndex(of: name) { return exact }
        let canonical = StandardField.canonical(name)
        if let similar = header.firstIndex(where: { StandardField.canonical($0) == canonical }) {
            return similar
        }
        throw FormatError(
            "\(flag) names the column \"\(name)\", which the header does not have; it has: "
                + header.joined(separator: ", "))
    }

    private func checkUnique() throws(FormatError) {
        for (index, column) in columns.enumerated() {
            if case .ignored = column.target { continue }
            guard
                let other = columns[..<index].firstIndex(where: {
                    $0.target.fieldName == column.target.fieldName
                })
            else { continue }
            throw FormatError(
                "the columns \(other + 1) (\"\(columns[other].header)\") and \(index + 1) "
                    + "(\"\(column.header)\") both mean \(column.target.fieldName); choose one "
                    + "with --map FIELD=COLUMN or leave one out with --ignore COLUMN")
        }
    }

    private func checkKey(_ matchBy: MatchBy) throws(FormatError) {
        let key = matchBy.field
        guard !columns.contains(where: { $0.target == .standard(key) }) else { return }
        throw FormatError(
            "no column of the header means \(key.rawValue), by which contacts are matched; name it "
                + "with --map \(key.rawValue)=COLUMN, or choose another --match-by. The header is: "
                + columns.map(\.header).joined(separator: ", "))
    }

    /// One line that says what was understood.
    package var summary: String {
        columns.map { column in
            switch column.target {
            case .standard(let field) where field.rawValue == column.header: field.rawValue
            case .standard(let field): "\(column.header) -> \(field.rawValue)"
            case .custom(let name, .string): "\(column.header) -> field \(name)"
            case .custom(let name, let type):
                "\(column.header) -> field \(name) (\(type.rawValue))"
            case .ignored(let reason): "\"\(column.header)\" left out (\(reason))"
            }
        }.joined(separator: ", ")
    }
}

extension ColumnMapping.Target {
    fileprivate var fieldName: String {
        switch self {
        case .standard(let field): field.rawValue
        case .custom(let name, _): "the custom field \(name)"
        case .ignored: ""
        }
    }
}

extension MatchBy {
    /// The field that holds the identifier.
    package var field: StandardField {
        switch self {
        case .email: .email
        case .phone: .phone
        case .externalID: .externalID
        case .id: .id
        }
    }
}

extension String {
    /// Without spaces and tabs at both ends.
    var trimmedSpaces: String {
        guard let first = utf8.first, let last = utf8.last else { return self }
        guard first.isBlank || last.isBlank else { return self }
        var text = self[...]
        while text.first == " " || text.first == "\t" { text.removeFirst() }
        while text.last == " " || text.last == "\t" { text.removeLast() }
        return String(text)
    }
}

extension UInt8 {
    var isBlank: Bool { self == ASCII.space || self == ASCII.tab }
}
