// The texts in gRPC's header fields: timeouts, status messages, base64, statuses.

import HTTP2
import NIOCore
import Testing

@testable import RPC

struct CodingTests {
    @Test(arguments: [
        ("1n", 1), ("1u", 1000), ("1m", 1_000_000), ("1S", 1_000_000_000),
        ("1M", 60_000_000_000), ("1H", 3_600_000_000_000), ("0n", 0),
        ("99999999S", 99_999_999_000_000_000), ("00000005m", 5_000_000),
        ("99999999H", Int64.max),
    ])
    func `A timeout is read in each unit`(text: String, nanoseconds: Int64) {
        #expect(Timeout.parse(text) == .nanoseconds(nanoseconds))
    }

    @Test(arguments: ["", "S", "5", "100000000S", "-1S", "+1S", "1s", "1.5S", " 1S", "1S ", "１S"])
    func `A malformed timeout is refused`(text: String) {
        #expect(Timeout.parse(text) == nil)
    }

    @Test(arguments: [
        (0, "0n"), (-5, "0n"), (99_999_999, "99999999n"), (100_000_000, "100000u"),
        (100_000_001, "100001u"), (5_000_000_000, "5000000u"), (3_600_000_000_000, "3600000m"),
        (Int64.max, "2562048H"),
    ])
    func `A timeout is written in the finest unit that fits`(nanoseconds: Int64, text: String) {
        // 2,562,048 hours would also be 153,722,868 minutes, which are nine digits.
        #expect(Timeout.text(.nanoseconds(nanoseconds)) == text)
    }

    @Test(arguments: [
        ("", ""), ("plain text ~", "plain text ~"), ("100 %", "100 %25"), ("a\nb\tc", "a%0Ab%09c"),
        ("\u{fc}", "%C3%BC"), ("\u{1F600}", "%F0%9F%98%80"), ("\u{7f}\u{0}", "%7F%00"),
        (" a b ", "%20a b%20"), (" ", "%20"), ("  ", "%20%20"),
        ("a\u{301} \u{301}", "a%CC%81 %CC%81"),
    ])
    func `A status message goes out and comes back`(message: String, text: String) {
        #expect(StatusMessage.encode(message) == text)
        #expect(StatusMessage.decode(text) == message)
    }

    @Test(arguments: [
        ("%", "%"), ("%4", "%4"), ("%zz", "%zz"), ("50%", "50%"), ("%c3%bc", "\u{fc}"),
        ("%FF", "\u{fffd}"), ("%%41", "%A"),
    ])
    func `A badly coded message is not lost`(text: String, message: String) {
        #expect(StatusMessage.decode(text) == message)
    }

    @Test(
        arguments: [
            ([], ""), ([102], "Zg"), ([102, 111], "Zm8"), ([102, 111, 111], "Zm9v"),
            ([251, 255, 254], "+//+"),
        ] as [([UInt8], String)])
    func `Base64 is written without padding and read with or without`(bytes: [UInt8], text: String)
    {
        #expect(Base64.encode(bytes) == text)
        #expect(Base64.decode(text) == bytes)
        let padding = String(repeating: "=", count: (4 - text.utf8.count % 4) % 4)
        #expect(Base64.decode(text + padding) == bytes)
    }

    @Test(arguments: ["A", "A===", "Zg-", "Z g", "====", "Zg=a"])
    func `What is not base64 is nothing`(text: String) {
        #expect(Base64.decode(text) == nil)
    }

    @Test
    func `Every byte survives base64`() {
        for length in 0...64 {
            let bytes = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ length) }
            #expect(Base64.decode(Base64.encode(bytes)) == bytes)
        }
    }

    @Test
    func `A status goes through trailers`() {
        let status = RPCStatus(
            .notFound, "no \u{e9}", details: [0, 255], metadata: Headers([("a", "b")]))
        var trailers = Headers()
        status.add(to: &trailers)
        let read = RPCStatus.read(trailers)
        #expect(read?.code == .notFound)
        #expect(read?.message == "no \u{e9}")
        #expect(read?.details == [0, 255])
        #expect(read?.metadata["a"] == "b")
        #expect(RPCStatus.read(Headers([("grpc-status", "99")]))?.code == .unknown)
        #expect(RPCStatus.read(Headers([("grpc-status", "x")]))?.code == .unknown)
        #expect(RPCStatus.read(Headers()) == nil)
    }

    @Test(arguments: [
        ("400", RPCCode.internal), ("401", .unauthenticated), ("403", .permissionDenied),
        ("404", .unimplemented), ("429", .unavailable), ("502", .unavailable),
        ("503", .unavailable), ("504", .unavailable), ("200", .unknown), ("500", .unknown),
    ])
    func `An HTTP status has its code`(status: String, code: RPCCode) {
        #expect(RPCStatus.forHTTP(status: status).code == code)
    }

    @Test(arguments: [
        (ErrorCode.refusedStream, RPCCode.unavailable), (.cancel, .cancelled),
        (.enhanceYourCalm, .resourceExhausted), (.inadequateSecurity, .permissionDenied),
        (.protocolError, .internal), (.noError, .internal), (.flowControlError, .internal),
    ])
    func `A reset has its code`(reset: ErrorCode, code: RPCCode) {
        #expect(RPCStatus.forReset(reset).code == code)
    }

    @Test
    func `Binary metadata is read from its first value`() {
        let headers = Headers([
            (":method", "POST"), (":path", "/a/b"), ("content-type", "application/grpc"),
            ("x-bin", "AQI,AwQ="), ("x-bin", "BQ"), ("z", "1"), ("z", "2"),
        ])
        guard case .accepted(let head) = RequestHead.read(headers) else {
            Issue.record("not accepted")
            return
        }
        #expect(head.binaryMetadata("x-bin") == [1, 2])
        #expect(head.binaryMetadataValues("x-bin") == [[1, 2], [3, 4], [5]])
        #expect(head.binaryMetadata("none-bin") == nil)
        #expect(head.metadata("z") == "1")
        #expect(head.metadataValues("z") == ["1", "2"])
        #expect(head.timeout == nil)
    }

    @Test(arguments: [
        ("x", "a\u{fc}"), ("x", "a\tb"), ("x", "\u{7f}"), ("x-bin", "A"), ("x-bin", "AAEC,?"),
        ("x-bin", "A-_A"),
    ])
    func `Metadata that is none is found`(name: String, value: String) {
        #expect(Metadata.firstMalformed(of: Headers([("a", "b"), (name, value)])) == name)
    }

    @Test(arguments: [
        ("x", " !~"), ("x", ""), ("x-bin", ""), ("x-bin", "AA"), ("x-bin", "AA==,AAE, AAEC"),
        ("x-bin-not", "?"), ("bin", "?"),
    ])
    func `Metadata that is allowed is let pass`(name: String, value: String) {
        #expect(Metadata.firstMalformed(of: Headers([("a", "b"), (name, value)])) == nil)
    }

    @Test(arguments: [
        "application/grpc", "application/grpc+proto", "application/grpc+json",
        "application/grpc;charset=utf-8",
    ])
    func `Content types of gRPC`(type: String) {
        #expect(RequestHead.isGRPC(type))
    }

    @Test(arguments: ["application/grpc-web", "application/grpcx", "application/json", ""])
    func `Content types of others`(type: String) {
        #expect(!RequestHead.isGRPC(type))
    }
}
