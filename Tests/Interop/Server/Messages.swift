// In: messages of `grpc.testing`, as far as the interop cases need them; Tests/Interop/testing.proto
// has their fields. Out: their values, or the bytes of an answer. Written by hand, since a handful
// of fields is no reason for another protobuf library.
// On which thread: plain values, any thread.

import NIOCore
import RPC

/// The message is no valid protobuf.
struct MalformedMessage: Error {}

/// `EchoStatus{code = 1, message = 2}`: what the call shall end with.
struct EchoStatus {
    private(set) var code: UInt64 = 0
    private(set) var message = ""

    init(_ bytes: ByteBuffer) throws(MalformedMessage) {
        var fields = FieldReader(bytes)
        while let field = try fields.next() {
            switch (field.number, field.value) {
            case (1, .varint(let value)): code = value
            case (2, .bytes(let value)): message = String(buffer: value)
            default: break
            }
        }
    }

    var status: RPCStatus {
        RPCStatus(Int(exactly: code).flatMap(RPCCode.init(rawValue:)) ?? .unknown, message)
    }
}

/// One message that the client asks for: `ResponseParameters{size = 1, interval_us = 2, compressed
/// = 3}`, or the same out of a `SimpleRequest`.
struct ResponseParameters {
    var size = 0
    var interval = TimeAmount.zero
    var isCompressed = false

    init() {}

    init(_ bytes: ByteBuffer) throws(MalformedMessage) {
        var fields = FieldReader(bytes)
        while let field = try fields.next() {
            switch (field.number, field.value) {
            case (1, .varint(let value)): size = try Self.size(value)
            case (2, .varint(let value)): interval = .microseconds(Int64(try Self.size(value)))
            case (3, .bytes(let value)): isCompressed = try boolValue(value)
            default: break
            }
        }
    }

    /// An `int32` that must not be negative.
    static func size(_ value: UInt64) throws(MalformedMessage) -> Int {
        guard let size = Int32(exactly: value) else { throw MalformedMessage() }
        return Int(size)
    }
}

/// `SimpleRequest`, `StreamingOutputCallRequest` and `StreamingInputCallRequest` in one.
struct TestRequest {
    private(set) var responses: [ResponseParameters] = []
    private(set) var payloadByteCount = 0
    private(set) var status: EchoStatus?
    private(set) var expectsCompressed: Bool?

    private init() {}

    /// `SimpleRequest{response_size = 2, payload = 3, response_compressed = 6, response_status = 7,
    /// expect_compressed = 8}`.
    static func simple(_ bytes: ByteBuffer) throws(MalformedMessage) -> TestRequest {
        var request = TestRequest()
        var response = ResponseParameters()
        var fields = FieldReader(bytes)
        while let field = try fields.next() {
            switch (field.number, field.value) {
            case (2, .varint(let value)): response.size = try ResponseParameters.size(value)
            case (3, .bytes(let value)): request.payloadByteCount = try bodyByteCount(value)
            case (6, .bytes(let value)): response.isCompressed = try boolValue(value)
            case (7, .bytes(let value)): request.status = try EchoStatus(value)
            case (8, .bytes(let value)): request.expectsCompressed = try boolValue(value)
            default: break
            }
        }
        request.responses = [response]
        return request
    }

    /// `StreamingOutputCallRequest{response_parameters = 2, payload = 3, response_status = 7}`.
    static func output(_ bytes: ByteBuffer) throws(MalformedMessage) -> TestRequest {
        var request = TestRequest()
        var fields = FieldReader(bytes)
        while let field = try fields.next() {
            switch (field.number, field.value) {
            case (2, .bytes(let value)): request.responses.append(try ResponseParameters(value))
            case (3, .bytes(let value)): request.payloadByteCount = try bodyByteCount(value)
            case (7, .bytes(let value)): request.status = try EchoStatus(value)
            default: break
            }
        }
        return request
    }

    /// `StreamingInputCallRequest{payload = 1, expect_compressed = 2}`.
    static func input(_ bytes: ByteBuffer) throws(MalformedMessage) -> TestRequest {
        var request = TestRequest()
        var fields = FieldReader(bytes)
        while let field = try fields.next() {
            switch (field.number, field.value) {
            case (1, .bytes(let value)): request.payloadByteCount = try bodyByteCount(value)
            case (2, .bytes(let value)): request.expectsCompressed = try boolValue(value)
            default: break
            }
        }
        return request
    }

    /// Of a `Payload{type = 1, body = 2}`.
    private static func bodyByteCount(_ bytes: ByteBuffer) throws(MalformedMessage) -> Int {
        var count = 0
        var fields = FieldReader(bytes)
        while let field = try fields.next() {
            if case (2, .bytes(let body)) = (field.number, field.value) {
                count = body.readableBytes
            }
        }
        return count
    }
}

/// `BoolValue{value = 1}`.
private func boolValue(_ bytes: ByteBuffer) throws(MalformedMessage) -> Bool {
    var value = false
    var fields = FieldReader(bytes)
    while let field = try fields.next() {
        if case (1, .varint(let number)) = (field.number, field.value) { value = number != 0 }
    }
    return value
}

/// The answers.
enum TestResponse {
    /// `SimpleResponse` and `StreamingOutputCallResponse` alike: `{payload = 1}` with so many zeros.
    static func write(payloadOf byteCount: Int, into buffer: inout ByteBuffer) {
        var body = ByteBuffer()
        if byteCount > 0 {
            body.writeInteger(UInt8(2 << 3 | 2))
            writeVarint(byteCount, into: &body)
        }
        buffer.writeInteger(UInt8(1 << 3 | 2))
        writeVarint(body.readableBytes + byteCount, into: &buffer)
        buffer.writeImmutableBuffer(body)
        buffer.writeRepeatingByte(0, count: byteCount)
    }

    /// `StreamingInputCallResponse{aggregated_payload_size = 1}`.
    static func write(aggregateOf byteCount: Int, into buffer: inout ByteBuffer) {
        buffer.writeInteger(UInt8(1 << 3))
        writeVarint(byteCount, into: &buffer)
    }

    private static func writeVarint(_ value: Int, into buffer: inout ByteBuffer) {
        var value = value
        while value > 0x7F {
            buffer.writeInteger(UInt8(value & 0x7F | 0x80))
            value >>= 7
        }
        buffer.writeInteger(UInt8(value))
    }
}

/// The fields of a message, one after another.
private struct FieldReader {
    enum Value {
        case varint(UInt64)
        case bytes(ByteBuffer)
        case fixed
    }

    private var bytes: ByteBuffer

    init(_ bytes: ByteBuffer) { self.bytes = bytes }

    mutating func next() throws(MalformedMessage) -> (number: UInt64, value: Value)? {
        guard bytes.readableBytes > 0 else { return nil }
        let tag = try varint()
        switch tag & 7 {
        case 0: return (tag >> 3, .varint(try varint()))
        case 1: return (tag >> 3, try skip(8))
        case 2:
            guard let length = Int(exactly: try varint()),
                let value = bytes.readSlice(length: length)
            else { throw MalformedMessage() }
            return (tag >> 3, .bytes(value))
        case 5: return (tag >> 3, try skip(4))
        default: throw MalformedMessage()
        }
    }

    private mutating func skip(_ count: Int) throws(MalformedMessage) -> Value {
        guard bytes.readSlice(length: count) != nil else { throw MalformedMessage() }
        return .fixed
    }

    private mutating func varint() throws(MalformedMessage) -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 64, by: 7) {
            guard let byte = bytes.readInteger(as: UInt8.self) else { break }
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
        }
        throw MalformedMessage()
    }
}
