// In: the bytes of a fuzzer. Out: steps of a client that speaks HTTP/2 well enough to get somewhere:
// frames with right lengths around any content, requests that gRPC accepts, pauses and drains.

import NIOCore

struct HTTP2Steps {
    enum Step {
        case bytes([UInt8])
        case pause(TimeAmount)
        case drain
    }

    static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)

    private var rest: ArraySlice<UInt8>
    /// Frames collected until the next step that is none.
    private var waiting: [UInt8]
    private var nextStream: UInt8 = 1
    private var isAtEnd = false

    init(_ bytes: [UInt8]) {
        rest = bytes[...]
        waiting = Self.preface + Self.frame(4, 0, 0, [])
    }

    ///   0-9  a frame of that type: flags, stream, length, payload
    ///   10   a request: path, more fields, flags
    ///   11   a message on a stream: stream, length, end of stream
    ///   12   what was collected goes out; then time passes: seconds
    ///   13   what was collected goes out
    ///   14   the server drains
    ///   15   bytes as they are: length, bytes
    mutating func next() -> Step? {
        while let op = rest.popFirst() {
            switch op & 15 {
            case 10: request()
            case 11: message()
            case 12:
                if waiting.isEmpty { return .pause(.seconds(Int64(byte()))) }
                rest = ([op] + rest)[...]
                return flush()
            case 13: if !waiting.isEmpty { return flush() }
            case 14: return .drain
            case 15: waiting += take(Int(byte()))
            default:
                let flags = byte()
                let stream = byte()
                let length = Int(byte())
                waiting += Self.frame(op & 15, flags, stream, take(length))
            }
        }
        guard !isAtEnd else { return nil }
        isAtEnd = true
        return flush()
    }

    private mutating func flush() -> Step {
        defer { waiting = [] }
        return .bytes(waiting)
    }

    private mutating func byte() -> UInt8 { rest.popFirst() ?? 0 }

    private mutating func take(_ count: Int) -> [UInt8] {
        defer { rest = rest.dropFirst(count) }
        return Array(rest.prefix(count))
    }

    private static func frame(
        _ type: UInt8, _ flags: UInt8, _ stream: UInt8, _ payload: [UInt8]
    ) -> [UInt8] {
        let count = payload.count
        return [UInt8(count >> 16), UInt8(count >> 8 & 255), UInt8(count & 255), type, flags]
            + [0, 0, 0, stream] + payload
    }

    /// Literal fields without indexing (RFC 7541 section 6.2.2), some names of the static table.
    private mutating func request() {
        let paths = ["/E", "/H", "/S", "/F", "/X", "/?"]
        let path = paths[Int(byte()) % paths.count]
        let more = byte()
        let flags = byte() & 1 | 4
        // :method POST and :scheme http by their indexes; :path; content-type.
        var block: [UInt8] = [0x83, 0x86]
        block += [4, UInt8(path.utf8.count)] + Array(path.utf8)
        block += [0x0F, 31 - 15] + Self.text("application/grpc")
        if more & 1 != 0 { block += [0] + Self.text("grpc-timeout") + Self.text("5S") }
        if more & 2 != 0 { block += [0] + Self.text("x-bin") + Self.text("AAECAw,/w==") }
        if more & 4 != 0 { block += [0] + Self.text("grpc-encoding") + Self.text("gzip") }
        if more & 8 != 0 { block += [0] + Self.text("x") + Self.text("y") }
        waiting += Self.frame(1, flags, nextStream, block)
        nextStream &+= 2
    }

    private static func text(_ text: String) -> [UInt8] { [UInt8(text.utf8.count)] + text.utf8 }

    private mutating func message() {
        let stream = byte()
        let content = take(Int(byte()))
        let envelope: [UInt8] = [0, 0, 0, 0, UInt8(content.count)]
        waiting += Self.frame(0, byte() & 1, stream, envelope + content)
    }
}
