// In: bytes appended by the user of a stream, and at last its trailers. Out: the same bytes, copied
// into nghttp2's frame buffer when flow control lets them go.
// On which thread: the connection's event loop.

import NIOCore

///                 append                end(trailers)            take, nothing left
///   open ──────────────────▶ open ─────────────────▶ ending ─────────────────────▶ closed
///
/// The outgoing half of one stream's body: a pure machine, it knows neither nghttp2 nor the loop.
struct OutboundBody {
    private enum State {
        /// More may be appended.
        case open
        /// Nothing more comes; when the bytes are gone the trailers follow, or END_STREAM.
        case ending(trailers: Headers?)
        /// All was handed over, or the stream is gone.
        case closed
    }

    /// What nghttp2 may send now.
    enum Chunk {
        case bytes(Int)
        case nothingYet
        case last(Int, trailers: Headers?)
    }

    private var state: State = .open
    private var pending = ByteBuffer()

    /// A drained buffer larger than this is given back: a stream that is idle after a burst must
    /// not keep the burst's memory.
    private static let keptByteCount = 64 * 1024

    var unsentByteCount: Int { pending.readableBytes }
    var bufferByteCount: Int { pending.capacity }

    /// Lets `write` append. After the end it is not called: what it would write could not be sent.
    mutating func append(reserving byteCount: Int, _ write: (inout ByteBuffer) -> Void) {
        guard case .open = state else { return }
        if pending.readerIndex > Self.keptByteCount, pending.readerIndex > pending.readableBytes {
            pending.discardReadBytes()
        }
        pending.reserveCapacity(minimumWritableBytes: byteCount)
        write(&pending)
    }

    mutating func end(trailers: Headers?) {
        guard case .open = state else { return }
        state = .ending(trailers: trailers)
    }

    /// Drops what is unsent; the stream is gone.
    mutating func close() {
        state = .closed
        pending = ByteBuffer()
    }

    mutating func take(into target: UnsafeMutableRawBufferPointer) -> Chunk {
        let count = min(target.count, pending.readableBytes)
        if count > 0 {
            pending.readWithUnsafeReadableBytes { source in
                target.copyMemory(from: UnsafeRawBufferPointer(rebasing: source.prefix(count)))
                return count
            }
        }
        if pending.readableBytes > 0 { return .bytes(count) }
        if pending.capacity > Self.keptByteCount { pending = ByteBuffer() } else { pending.clear() }
        switch state {
        case .open:
            return count > 0 ? .bytes(count) : .nothingYet
        case .ending(let trailers):
            state = .closed
            return .last(count, trailers: trailers)
        case .closed:
            return .nothingYet
        }
    }
}

/// One stream's body as its user holds it. Filled through `Session.append`.
package final class OutboundStream {
    package internal(set) var id: StreamID
    var body = OutboundBody()
    /// nghttp2 was told "nothing yet" and must be woken by the next append.
    var isDeferred = false

    init(id: StreamID) { self.id = id }

    /// Bytes appended that nghttp2 has not taken; what is in the socket's buffer does not count.
    package var unsentByteCount: Int { body.unsentByteCount }
}
