// In: frames built by hand. Out: what the server answers, decoded by a client session that is used
// for its HPACK and its events only.
// A blocking socket with a time limit; each test has its own and is its only user.

import Glibc
import HTTP2
import NIOCore

struct RawPeerFailure: Error { var reason: String }

/// A peer that breaks the rules.
final class RawPeer {
    private let socket: CInt
    let session: Session
    private(set) var events: [Event] = []
    private var bodies: [StreamID: [UInt8]] = [:]
    private(set) var isAtEnd = false

    /// Frame types (RFC 9113 section 6).
    enum FrameType { static let data: UInt8 = 0, reset: UInt8 = 3, ping: UInt8 = 6 }
    static let endStream: UInt8 = 1

    init(port: Int, limits: ConnectionLimits = ConnectionLimits()) throws {
        socket = Glibc.socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        session = try Session(role: .client, limits: limits)
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo("127.0.0.1", "\(port)", nil, &found) == 0, let found else {
            throw RawPeerFailure(reason: "getaddrinfo: \(errno)")
        }
        defer { freeaddrinfo(found) }
        guard connect(socket, found.pointee.ai_addr, found.pointee.ai_addrlen) == 0 else {
            throw RawPeerFailure(reason: "connect: \(errno)")
        }
        var on: CInt = 1
        setsockopt(socket, CInt(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(4))
        // The server may be busy, or make the peer wait for its turn.
        var limit = timeval(tv_sec: 60, tv_usec: 0)
        setsockopt(
            socket, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(socket) }

    static func headers(
        _ path: String = "/test.Echo/Each", method: String = "POST",
        contentType: String = "application/grpc", more: [(name: String, value: String)] = []
    ) -> Headers {
        var headers = Headers([
            (":method", method), (":scheme", "http"), (":path", path),
            (":authority", "localhost"), ("content-type", contentType),
        ])
        for field in more { headers.add(field.name, field.value) }
        return headers
    }

    static func envelope(_ message: [UInt8], flag: UInt8 = 0, length: UInt32? = nil) -> [UInt8] {
        var buffer = ByteBuffer(bytes: [flag])
        buffer.writeInteger(length ?? UInt32(message.count))
        buffer.writeBytes(message)
        return Array(buffer.readableBytesView)
    }

    func send(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes {
                Glibc.send(socket, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw RawPeerFailure(reason: "send: \(errno)") }
            sent += count
        }
    }

    func sendFrame(
        _ type: UInt8, flags: UInt8 = 0, stream: StreamID, _ payload: [UInt8] = []
    ) throws {
        var frame = ByteBuffer(bytes: [UInt8(payload.count >> 16), UInt8(payload.count >> 8 & 255)])
        frame.writeBytes([UInt8(payload.count & 255), type, flags])
        frame.writeInteger(stream)
        frame.writeBytes(payload)
        try send(Array(frame.readableBytesView))
    }

    func sendData(_ payload: [UInt8], on stream: StreamID, end: Bool = false) throws {
        try sendFrame(
            FrameType.data, flags: end ? Self.endStream : 0, stream: stream, payload)
    }

    /// What the session has to say: preface, settings, requests, acknowledgements.
    func takeSessionBytes() throws -> [UInt8] {
        var output = ByteBuffer()
        _ = try session.send(into: &output, byteLimit: 1 << 20)
        return Array(output.readableBytesView)
    }

    /// Sends a request's head, after the server's settings have come.
    func open(_ headers: Headers = RawPeer.headers()) throws -> StreamID {
        try send(takeSessionBytes())
        try receive { if case .settings = $0 { true } else { false } }
        let stream = try session.request(headers).id
        try send(takeSessionBytes())
        return stream
    }

    /// Reads until an event of that kind has come (earlier ones count), or the end of the file.
    func receive(until isWanted: (Event) -> Bool) throws {
        while !events.contains(where: isWanted) {
            guard try receiveOnce() else {
                throw RawPeerFailure(reason: "end of file before the wanted event")
            }
        }
    }

    func receiveUntilEnd() throws {
        while try receiveOnce() {}
    }

    private func receiveOnce() throws -> Bool {
        var bytes = [UInt8](repeating: 0, count: 65536)
        let count = recv(socket, &bytes, bytes.count, 0)
        guard count >= 0 else { throw RawPeerFailure(reason: "recv: \(errno)") }
        if count == 0 {
            isAtEnd = true
            return false
        }
        let input = ByteBuffer(bytes: bytes[..<count])
        try session.receive(input)
        for event in session.takeEvents() {
            if case .data(let stream, let slice) = event {
                bodies[stream, default: []] += slice.bytes(of: input).readableBytesView
            }
            events.append(event)
        }
        return true
    }

    // What came on a stream.

    /// The session does not know of END_STREAM sent by hand, so it may never call a stream closed.
    func receiveEnd(of stream: StreamID) throws {
        try receive {
            switch $0 {
            case .endOfStream(stream), .closed(stream, _): true
            default: false
            }
        }
    }

    func receiveClosed(_ stream: StreamID) throws {
        try receive { if case .closed(stream, _) = $0 { true } else { false } }
    }

    /// The headers that hold the stream's status: its trailers, or its only headers.
    func status(of stream: StreamID) throws -> (code: String?, message: String?, http: String?) {
        try receiveEnd(of: stream)
        var http: String?
        var last: Headers?
        for event in events {
            switch event {
            case .head(stream, let headers, _):
                http = headers[":status"]
                last = headers
            case .trailers(stream, let headers): last = headers
            default: break
            }
        }
        return (last?["grpc-status"], last?["grpc-message"], http)
    }

    func body(of stream: StreamID) -> [UInt8] { bodies[stream, default: []] }

    func closeCode(of stream: StreamID) -> ErrorCode? {
        for case .closed(stream, let code) in events { return code }
        return nil
    }
}
