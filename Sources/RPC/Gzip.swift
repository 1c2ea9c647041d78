// In: a message, or its gzip form. Out: the other. The only file that calls zlib.
// On which thread: plain functions, any thread. Nothing is kept between messages: a connection that
// compresses costs no memory while it is silent.

internal import CZlib
import NIOCore

/// The encoding `gzip` of messages (gRPC "compression.md"; RFC 1952).
enum Gzip {
    /// What goes into `grpc-encoding`.
    static let name = "gzip"

    /// Shorter messages are sent as they are: gzip's frame of 18 bytes and the work for it cost more
    /// than the few bytes that are saved, and such a message fits one packet anyway.
    static let leastByteCount = 1024

    /// zlib's largest window, plus 16 for gzip's frame instead of zlib's own (zlib.h).
    private static let windowBits: CInt = 15 + 16

    /// zlib's default: 256 KiB while a message is compressed.
    private static let memoryLevel: CInt = 8

    /// A message may have so many members. Compressors write one; 4 MiB of empty ones would keep the
    /// loop busy for a second.
    static let mostMembers = 100

    /// The least by which the output grows.
    private static let leastStepByteCount = 1024

    /// A bomb grows a thousandfold, so the limit is kept step by step: what is over it is found out
    /// when it is reached. One message may be several members (RFC 1952 section 2.2), and nothing
    /// may follow them.
    ///
    /// - Parameter output: Empty; when it fails, as far as it came.
    static func inflate(
        _ input: ByteBuffer, limit: Int, into output: inout ByteBuffer
    ) throws(EnvelopeError) {
        var stream = z_stream()
        // zlib keeps the address of its stream, which therefore must not move.
        try withUnsafeMutablePointer(to: &stream) { stream throws(EnvelopeError) in
            guard
                inflateInit2_(
                    stream, windowBits, ZLIB_VERSION, CInt(MemoryLayout<z_stream>.size)) == Z_OK
            else { throw .corrupt }
            defer { inflateEnd(stream) }
            try input.withUnsafeReadableBytes { bytes throws(EnvelopeError) in
                stream.pointee.next_in = start(of: bytes)
                stream.pointee.avail_in = UInt32(bytes.count)
                try inflate(stream, limit, into: &output)
            }
        }
    }

    private static func inflate(
        _ stream: UnsafeMutablePointer<z_stream>, _ limit: Int, into output: inout ByteBuffer
    ) throws(EnvelopeError) {
        // Text such as contacts becomes a quarter.
        var step = Int(stream.pointee.avail_in) * 4
        var memberCount = 1
        while true {
            // A byte more than the limit, so that a message of just the limit comes to its end.
            let room = min(max(step, leastStepByteCount), limit + 1 - output.readableBytes)
            step = output.readableBytes + room
            switch write(into: &output, room, stream, { CZlib.inflate($0, Z_NO_FLUSH) }) {
            case Z_OK: break
            case Z_STREAM_END where stream.pointee.avail_in > 0:
                memberCount += 1
                guard memberCount <= mostMembers else { throw .corrupt }
                inflateReset(stream)
            case Z_STREAM_END:
                if output.readableBytes > limit { throw .inflatesTooLong(limit: limit) }
                return
            default: throw .corrupt
            }
            if output.readableBytes > limit { throw .inflatesTooLong(limit: limit) }
        }
    }

    /// nil when the message would not become shorter.
    static func deflate(_ input: ByteBuffer) -> ByteBuffer? {
        var stream = z_stream()
        return withUnsafeMutablePointer(to: &stream) { stream in
            // The fastest level: it takes a third of the default's time, and what is answered are
            // mostly random ids, of which no level saves much.
            guard
                deflateInit2_(
                    stream, Z_BEST_SPEED, Z_DEFLATED, windowBits, memoryLevel, Z_DEFAULT_STRATEGY,
                    ZLIB_VERSION, CInt(MemoryLayout<z_stream>.size)) == Z_OK
            else { return nil }
            defer { deflateEnd(stream) }
            return input.withUnsafeReadableBytes { bytes in
                stream.pointee.next_in = start(of: bytes)
                stream.pointee.avail_in = UInt32(bytes.count)
                var output = ByteBuffer()
                let code = write(into: &output, bytes.count - 1, stream) {
                    CZlib.deflate($0, Z_FINISH)
                }
                return code == Z_STREAM_END ? output : nil
            }
        }
    }

    /// Lets zlib append at most so many bytes.
    private static func write(
        into output: inout ByteBuffer, _ room: Int, _ stream: UnsafeMutablePointer<z_stream>,
        _ run: (UnsafeMutablePointer<z_stream>) -> CInt
    ) -> CInt {
        var code = Z_OK
        output.writeWithUnsafeMutableBytes(minimumWritableBytes: room) { bytes in
            stream.pointee.next_out = bytes.bindMemory(to: UInt8.self).baseAddress
            stream.pointee.avail_out = UInt32(room)
            code = run(stream)
            return room - Int(stream.pointee.avail_out)
        }
        return code
    }

    /// zlib's declaration has no `const`, though it does not write there.
    private static func start(of bytes: UnsafeRawBufferPointer) -> UnsafeMutablePointer<UInt8>? {
        UnsafeMutablePointer(mutating: bytes.bindMemory(to: UInt8.self).baseAddress)
    }
}
