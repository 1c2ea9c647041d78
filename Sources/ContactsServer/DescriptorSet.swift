// What the served protos declare: which file has a name or a symbol, what it imports, which services
// there are.
//
// In: a `google.protobuf.FileDescriptorSet`, made by protoc and compiled in. Out: look-ups. Any
// thread; read once, when the first question comes.

internal import CDescriptors

struct DescriptorSet: Sendable {
    struct File: Sendable {
        /// A `google.protobuf.FileDescriptorProto`, as protoc made it.
        let bytes: ArraySlice<UInt8>
        let imports: [String]
    }

    /// By their names, such as `contacts/v1/contacts.proto`.
    private(set) var files: [String: File] = [:]
    /// The file's name, by the full name of whatever it declares.
    private(set) var fileOfSymbol: [String: String] = [:]
    /// The full names of all message types.
    private(set) var messages: Set<String> = []
    /// Their full names, sorted.
    private(set) var services: [String] = []
    /// `/package.Service/Method` of each RPC.
    private(set) var paths: Set<String> = []

    /// All that this server serves. A test proves that it can be read.
    static let served: DescriptorSet = {
        var count = 0
        let start = contacts_descriptors(&count)
        let bytes = Array(UnsafeBufferPointer(start: start, count: count))
        return (try? DescriptorSet(bytes)) ?? DescriptorSet()
    }()

    private init() {}

    /// `FileDescriptorSet{repeated FileDescriptorProto file = 1}`.
    init(_ bytes: [UInt8]) throws(WireError) {
        var reader = WireReader(bytes)
        while let field = try reader.next() {
            if field.number == 1 { try addFile(field.value.bytes) }
        }
        services.sort()
    }

    /// The file and all that it imports, itself first, without those that are known already.
    func withImports(of name: String, knowing known: inout Set<String>) -> [ArraySlice<UInt8>] {
        var found: [ArraySlice<UInt8>] = []
        var queue = [name][...]
        known.remove(name)
        while let name = queue.popFirst() {
            guard let file = files[name], known.insert(name).inserted else { continue }
            found.append(file.bytes)
            queue.append(contentsOf: file.imports)
        }
        return found
    }

    /// `FileDescriptorProto{name = 1, package = 2, dependency = 3, message_type = 4, enum_type = 5,
    /// service = 6, extension = 7}`.
    private mutating func addFile(_ bytes: ArraySlice<UInt8>) throws(WireError) {
        let name = try Self.text(1, of: bytes)
        let package = try Self.text(2, of: bytes)
        let scope = Scope(file: name, prefix: package.isEmpty ? "" : package + ".")
        var imports: [String] = []
        var reader = WireReader(bytes)
        while let field = try reader.next() {
            switch field.number {
            case 3: imports.append(field.value.text)
            case 4: try addMessage(field.value.bytes, scope)
            case 5: try addEnum(field.value.bytes, scope)
            case 6: try addService(field.value.bytes, scope)
            case 7: try addSymbol(field.value.bytes, scope)
            default: break
            }
        }
        files[name] = File(bytes: bytes, imports: imports)
    }

    /// Where a symbol stands.
    private struct Scope {
        let file: String
        let prefix: String

        func inside(_ symbol: String) -> Scope { Scope(file: file, prefix: symbol + ".") }
    }

    /// `DescriptorProto{name = 1, field = 2, nested_type = 3, enum_type = 4, extension = 6,
    /// oneof_decl = 8}`.
    private mutating func addMessage(
        _ bytes: ArraySlice<UInt8>, _ outer: Scope
    ) throws(WireError) {
        let message = try addSymbol(bytes, outer)
        messages.insert(message)
        let scope = outer.inside(message)
        var reader = WireReader(bytes)
        while let field = try reader.next() {
            switch field.number {
            case 2, 6, 8: try addSymbol(field.value.bytes, scope)
            case 3: try addMessage(field.value.bytes, scope)
            case 4: try addEnum(field.value.bytes, scope)
            default: break
            }
        }
    }

    /// `EnumDescriptorProto{name = 1, value = 2}`. Values stand beside their enum (protobuf,
    /// "Enumerations").
    private mutating func addEnum(_ bytes: ArraySlice<UInt8>, _ outer: Scope) throws(WireError) {
        try addSymbol(bytes, outer)
        var reader = WireReader(bytes)
        while let field = try reader.next() {
            if field.number == 2 { try addSymbol(field.value.bytes, outer) }
        }
    }

    /// `ServiceDescriptorProto{name = 1, method = 2}`.
    private mutating func addService(
        _ bytes: ArraySlice<UInt8>, _ outer: Scope
    ) throws(WireError) {
        let service = try addSymbol(bytes, outer)
        services.append(service)
        var reader = WireReader(bytes)
        while let field = try reader.next() {
            guard field.number == 2 else { continue }
            try addSymbol(field.value.bytes, outer.inside(service))
            paths.insert("/\(service)/\(try Self.text(1, of: field.value.bytes))")
        }
    }

    /// Every declaration has its name in field 1.
    @discardableResult
    private mutating func addSymbol(
        _ bytes: ArraySlice<UInt8>, _ scope: Scope
    ) throws(WireError) -> String {
        let symbol = scope.prefix + (try Self.text(1, of: bytes))
        fileOfSymbol[symbol] = scope.file
        return symbol
    }

    private static func text(
        _ number: UInt64, of bytes: ArraySlice<UInt8>
    ) throws(WireError) -> String {
        var reader = WireReader(bytes)
        while let field = try reader.next() {
            if field.number == number { return field.value.text }
        }
        return ""
    }
}
