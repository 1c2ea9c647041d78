// What each case sends and expects ("interop-test-descriptions.md" of gRPC). Messages are put
// together field by field; ../../../testing.proto has their names.

import GRPCCore

enum Cases {
    static let all: [String: @Sendable (Calls) async throws -> Void] = [
        "empty_unary": { try await expect($0.unary("EmptyCall", []).message.get(), []) },
        "large_unary": {
            try await expect($0.unary("UnaryCall", large).message.get(), largeAnswer)
        },
        "client_streaming": clientStreaming,
        "server_streaming": serverStreaming,
        "ping_pong": pingPong,
        "empty_stream": emptyStream,
        "status_code_and_message": { try await status($0, "test status message") },
        "special_status_message": { try await status($0, special) },
        "custom_metadata": customMetadata,
        "unimplemented_method": { calls in
            try await fails(.unimplemented) { _ = try await calls.unary("UnimplementedCall", []) }
        },
        "unimplemented_service": { calls in
            try await fails(.unimplemented) {
                _ = try await calls.unary("UnimplementedCall", [], in: "UnimplementedService")
            }
        },
        "cancel_after_begin": cancelAfterBegin,
        "cancel_after_first_response": cancelAfterFirstResponse,
        "timeout_on_sleeping_server": timeout,
        "client_compressed_unary": clientCompressedUnary,
    ]

    private static let requestSizes = [27182, 8, 1828, 45904]
    private static let responseSizes = [31415, 9, 2653, 58979]
    private static let special =
        "\t\ntest with whitespace\r\nand Unicode BMP \u{263a} and non-BMP \u{1f608}\t\n"
    private static let large = field(2, 314159) + field(3, payload(271828))
    private static let largeAnswer = answer(314159)

    private static func clientStreaming(_ calls: Calls) async throws {
        let total = try await calls.input { writer in
            for size in requestSizes { try await writer.write(field(1, payload(size))) }
        }
        try expect(total, field(1, 74922))
    }

    private static func serverStreaming(_ calls: Calls) async throws {
        let responses = try await calls.output(responseSizes.flatMap { field(2, field(1, $0)) })
        try expect(responses, responseSizes.map(answer))
    }

    private static func pingPong(_ calls: Calls) async throws {
        let (turns, turn) = AsyncStream.makeStream(of: Void.self)
        turn.yield()
        let responses = try await calls.duplex { writer in
            var turns = turns.makeAsyncIterator()
            for (response, request) in zip(responseSizes, requestSizes) {
                await turns.next()
                try await writer.write(outputRequest(response, request))
            }
        } onResponse: { response in
            defer { turn.finish() }
            return try await response.messages.reduce(into: [[UInt8]]()) { messages, message in
                messages.append(message)
                turn.yield()
            }
        }
        try expect(responses, responseSizes.map(answer))
    }

    private static func emptyStream(_ calls: Calls) async throws {
        let count = try await calls.duplex { _ in
        } onResponse: { response in
            try await response.messages.reduce(into: 0) { count, _ in count += 1 }
        }
        try expect(count, 0)
    }

    private static func status(_ calls: Calls, _ message: String) async throws {
        let status = field(7, field(1, 2) + field(2, Array(message.utf8)))
        try await fails(.unknown, message) {
            _ = try await calls.unary("UnaryCall", status).message.get()
        }
        try await fails(.unknown, message) {
            try await calls.duplex {
                try await $0.write(status)
            } onResponse: { response in
                for try await _ in response.messages {}
            }
        }
    }

    private static func customMetadata(_ calls: Calls) async throws {
        let initial = "test_initial_metadata_value"
        let trailing: [UInt8] = [0xAB, 0xAB, 0xAB]
        var metadata: Metadata = [:]
        metadata.addString(initial, forKey: "x-grpc-test-echo-initial")
        metadata.addBinary(trailing, forKey: "x-grpc-test-echo-trailing-bin")
        @Sendable func check(_ head: Metadata, _ trailers: Metadata) throws {
            try expect(Array(head[stringValues: "x-grpc-test-echo-initial"]), [initial])
            try expect(Array(trailers[binaryValues: "x-grpc-test-echo-trailing-bin"]), [trailing])
        }
        let unary = try await calls.unary("UnaryCall", large, metadata: metadata)
        try expect(unary.message.get(), largeAnswer)
        try check(unary.metadata, unary.trailingMetadata)
        try await calls.duplex(metadata: metadata) {
            try await $0.write(outputRequest(314159, 271828))
        } onResponse: { response in
            let contents = try response.accepted.get()
            for try await part in contents.bodyParts {
                switch part {
                case .message(let message): try expect(message, largeAnswer)
                case .trailingMetadata(let trailers): try check(contents.metadata, trailers)
                }
            }
        }
    }

    private static func cancelAfterBegin(_ calls: Calls) async throws {
        let (begun, begin) = AsyncStream.makeStream(of: Void.self)
        let call = Task {
            try await calls.input { _ in
                begin.finish()
                try await Task.sleep(for: .seconds(60))
            }
        }
        for await _ in begun {}
        call.cancel()
        try await isCancelled { _ = try await call.value }
    }

    private static func cancelAfterFirstResponse(_ calls: Calls) async throws {
        let (answered, answer) = AsyncStream.makeStream(of: Void.self)
        let call = Task {
            try await calls.duplex { writer in
                try await writer.write(outputRequest(responseSizes[0], requestSizes[0]))
                try await Task.sleep(for: .seconds(60))
            } onResponse: { response in
                for try await _ in response.messages { answer.finish() }
            }
        }
        for await _ in answered {}
        call.cancel()
        try await isCancelled { try await call.value }
    }

    private static func timeout(_ calls: Calls) async throws {
        var options = CallOptions.defaults
        options.timeout = .milliseconds(1)
        try await fails(.deadlineExceeded) {
            try await calls.duplex(options: options) { writer in
                try await writer.write(field(3, payload(27182)))
                try await Task.sleep(for: .seconds(60))
            } onResponse: { response in
                for try await _ in response.messages {}
            }
        }
    }

    /// `expect_compressed` is field 8. The first call lies, to see whether the server looks.
    private static func clientCompressedUnary(_ calls: Calls) async throws {
        let expecting = large + field(8, field(1, 1))
        try await fails(.invalidArgument) {
            _ = try await calls.unary("UnaryCall", expecting).message.get()
        }
        var options = CallOptions.defaults
        options.compression = .gzip
        try await expect(
            calls.unary("UnaryCall", expecting, options: options).message.get(), largeAnswer)
        try await expect(
            calls.unary("UnaryCall", large + field(8, [])).message.get(), largeAnswer)
    }

    private static func fails(
        _ code: RPCError.Code, _ message: String? = nil, _ call: () async throws -> Void
    ) async throws {
        do {
            try await call()
        } catch let error as RPCError {
            try expect(error.code, code)
            if let message { try expect(error.message, message) }
            return
        }
        throw Failure("the call succeeded")
    }

    /// grpc-swift tells of a task's cancellation in three ways, depending on how far the call is.
    private static func isCancelled(_ call: () async throws -> Void) async throws {
        do {
            try await call()
        } catch is CancellationError {
            return
        } catch let error as RPCError where error.cause is CancellationError {
            return
        } catch let error as RPCError {
            return try expect(error.code, .cancelled)
        }
        throw Failure("the call succeeded")
    }

    // Messages.

    private static func payload(_ byteCount: Int) -> [UInt8] {
        field(2, [UInt8](repeating: 0, count: byteCount))
    }

    private static func outputRequest(_ responseSize: Int, _ requestSize: Int) -> [UInt8] {
        field(2, field(1, responseSize)) + field(3, payload(requestSize))
    }

    private static func answer(_ byteCount: Int) -> [UInt8] { field(1, payload(byteCount)) }

    private static func field(_ number: Int, _ value: Int) -> [UInt8] {
        varint(number << 3) + varint(value)
    }

    private static func field(_ number: Int, _ bytes: [UInt8]) -> [UInt8] {
        varint(number << 3 | 2) + varint(bytes.count) + bytes
    }

    private static func varint(_ value: Int) -> [UInt8] {
        value < 0x80 ? [UInt8(value)] : [UInt8(value & 0x7F | 0x80)] + varint(value >> 7)
    }
}
