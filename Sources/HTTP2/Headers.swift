// In: fields of a header block, from the wire or from our own code. Out: the same in order, with
// look-up by name. All names and values lie in one byte array, so a block costs two allocations.
// On which thread: plain values, any thread.

/// An ordered list of header fields (RFC 9113 section 8.2). Names are lower case.
package struct Headers: Sendable, Equatable {
    /// Where a field's name and value end; it begins where its predecessor ended.
    struct Field: Sendable, Equatable {
        var nameEnd: Int
        var valueEnd: Int
    }

    private(set) var bytes: [UInt8] = []
    private(set) var fields: [Field] = []

    /// The peer sent more than `ConnectionLimits` allows, and what was too much is not in here.
    package internal(set) var isTruncated = false

    package init() {}

    package init(_ fields: [(name: String, value: String)]) {
        for field in fields { add(field.name, field.value) }
    }

    package var count: Int { fields.count }

    package mutating func add(_ name: String, _ value: String) {
        add(name.utf8, value.utf8)
    }

    mutating func add(_ name: some Collection<UInt8>, _ value: some Collection<UInt8>) {
        bytes.append(contentsOf: name)
        let nameEnd = bytes.count
        bytes.append(contentsOf: value)
        fields.append(Field(nameEnd: nameEnd, valueEnd: bytes.count))
    }

    /// The size by which SETTINGS_MAX_HEADER_LIST_SIZE counts (RFC 9113 section 6.5.2).
    var listByteCount: Int { bytes.count + 32 * fields.count }

    /// Whether the first field is a pseudo field, which tells a head from trailers.
    var hasPseudoFields: Bool { bytes.first == UInt8(ascii: ":") }

    /// The first value of that name.
    package subscript(name: String) -> String? {
        for index in fields.indices where nameMatches(index, name) {
            return String(decoding: bytes[valueRange(index)], as: UTF8.self)
        }
        return nil
    }

    /// Every value of that name, in order.
    package func values(_ name: String) -> [String] {
        fields.indices.filter { nameMatches($0, name) }
            .map { String(decoding: bytes[valueRange($0)], as: UTF8.self) }
    }

    /// All fields, in order.
    package var pairs: [(name: String, value: String)] {
        fields.indices.map { index in
            (
                String(decoding: bytes[nameRange(index)], as: UTF8.self),
                String(decoding: bytes[valueRange(index)], as: UTF8.self)
            )
        }
    }

    /// Whether all names and values consist of the characters from space to tilde.
    package var valuesArePrintable: Bool { bytes.allSatisfy { $0 >= 0x20 && $0 <= 0x7E } }

    package func hasName(endingIn suffix: StaticString) -> Bool {
        suffix.withUTF8Buffer { suffix in
            fields.indices.contains {
                bytes[nameRange($0)].suffix(suffix.count).elementsEqual(suffix)
            }
        }
    }

    func nameRange(_ index: Int) -> Range<Int> {
        (index == 0 ? 0 : fields[index - 1].valueEnd)..<fields[index].nameEnd
    }

    func valueRange(_ index: Int) -> Range<Int> {
        fields[index].nameEnd..<fields[index].valueEnd
    }

    /// What must not be kept in a compression table, here or at a proxy, where its length would tell
    /// of it (RFC 7541 section 7.1.3).
    func isSecret(_ index: Int) -> Bool { nameMatches(index, "authorization") }

    private func nameMatches(_ index: Int, _ name: String) -> Bool {
        let range = nameRange(index)
        return range.count == name.utf8.count && bytes[range].elementsEqual(name.utf8)
    }
}
