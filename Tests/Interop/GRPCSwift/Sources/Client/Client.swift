// The interop cases on grpc-swift: --server_host=H --server_port=N --test_case=NAME, as the suite's
// own clients have it. Exit code 0: the case passed.

import GRPCCore
import GRPCNIOTransportHTTP2
import Glibc

@main
enum Client {
    static func main() async {
        do {
            try await run()
        } catch {
            print(error)
            exit(1)
        }
    }

    private static func run() async throws {
        var options: [String: String] = [:]
        for argument in CommandLine.arguments.dropFirst() {
            let parts = argument.drop { $0 == "-" }.split(separator: "=", maxSplits: 1)
            if parts.count == 2 { options[String(parts[0])] = String(parts[1]) }
        }
        guard let host = options["server_host"],
            let port = options["server_port"].flatMap({ Int($0) }),
            let name = options["test_case"], let run = Cases.all[name]
        else { throw Failure("--server_host, --server_port and a known --test_case are needed") }
        let transport = try HTTP2ClientTransport.Posix(
            target: .ipv4(address: host, port: port), transportSecurity: .plaintext,
            config: .defaults { $0.compression.enabledAlgorithms = [.gzip] })
        try await withGRPCClient(transport: transport) { try await run(Calls(client: $0)) }
    }
}

struct Failure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

func expect<Value: Equatable>(_ found: Value, _ expected: Value) throws {
    // Values may be long.
    if found != expected {
        throw Failure("\(String(describing: found).prefix(300)) is not what was expected")
    }
}

/// Messages as bytes, since the cases know theirs.
struct Bytes: MessageSerializer, MessageDeserializer {
    func serialize<Buffer: GRPCContiguousBytes>(_ message: [UInt8]) throws -> Buffer {
        Buffer(message)
    }

    func deserialize<Buffer: GRPCContiguousBytes>(_ bytes: Buffer) throws -> [UInt8] {
        bytes.withUnsafeBytes { Array($0) }
    }
}

/// The four kinds of calls.
struct Calls: Sendable {
    typealias Posix = HTTP2ClientTransport.Posix

    let client: GRPCClient<Posix>

    private func method(_ name: String, _ service: String = "TestService") -> MethodDescriptor {
        MethodDescriptor(fullyQualifiedService: "grpc.testing.\(service)", method: name)
    }

    func unary(
        _ name: String, _ message: [UInt8], in service: String = "TestService",
        metadata: Metadata = [:], options: CallOptions = .defaults
    ) async throws -> ClientResponse<[UInt8]>.Contents {
        try await client.unary(
            request: ClientRequest(message: message, metadata: metadata),
            descriptor: method(name, service), serializer: Bytes(), deserializer: Bytes(),
            options: options
        ) { try $0.accepted.get() }
    }

    func input(
        _ messages: @Sendable @escaping (RPCWriter<[UInt8]>) async throws -> Void
    ) async throws -> [UInt8] {
        try await client.clientStreaming(
            request: StreamingClientRequest(producer: messages),
            descriptor: method("StreamingInputCall"), serializer: Bytes(), deserializer: Bytes(),
            options: .defaults
        ) { try $0.message }
    }

    func output(_ message: [UInt8]) async throws -> [[UInt8]] {
        try await client.serverStreaming(
            request: ClientRequest(message: message), descriptor: method("StreamingOutputCall"),
            serializer: Bytes(), deserializer: Bytes(), options: .defaults
        ) { response in
            try await response.messages.reduce(into: []) { $0.append($1) }
        }
    }

    func duplex<Value: Sendable>(
        metadata: Metadata = [:], options: CallOptions = .defaults,
        _ messages: @Sendable @escaping (RPCWriter<[UInt8]>) async throws -> Void,
        onResponse: @Sendable @escaping (StreamingClientResponse<[UInt8]>) async throws -> Value
    ) async throws -> Value {
        try await client.bidirectionalStreaming(
            request: StreamingClientRequest(metadata: metadata, producer: messages),
            descriptor: method("FullDuplexCall"), serializer: Bytes(), deserializer: Bytes(),
            options: options, onResponse: onResponse)
    }
}
