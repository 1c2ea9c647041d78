// In: what nghttp2's callbacks saw. Out: the list that a connection's delegate works through after
// nghttp2 has returned, so nothing ever re-enters the library.
// On which thread: the connection's event loop.

package import NIOCore

/// A stream's number (RFC 9113 section 5.1.1).
package typealias StreamID = Int32

/// A part of one input. Positions instead of a buffer: counting references for every DATA frame in
/// every list would cost more than all else that is done for it.
package struct InputSlice: Equatable, Sendable {
    let offset: UInt32
    package let byteCount: UInt32

    /// The bytes, sharing the memory of the input.
    package func bytes(of input: ByteBuffer) -> ByteBuffer {
        let index = input.readerIndex + Int(offset)
        guard let bytes = input.getSlice(at: index, length: Int(byteCount)) else {
            preconditionFailure("a slice of \(byteCount) bytes at \(offset) of another input")
        }
        return bytes
    }
}

/// What can arrive on a connection, in the order it arrived.
package enum Event {
    /// A header block that begins with pseudo fields: a request, or a response (an interim one
    /// too). `endOfStream` follows as its own event when `endStream` is set.
    case head(StreamID, Headers, endStream: Bool)
    /// Bytes of a body, and where in the input they lie. Each of them counts in the connection's
    /// and in the stream's window until it is credited; padding is not in here and is credited by
    /// nghttp2.
    case data(StreamID, InputSlice)
    /// A header block without pseudo fields.
    case trailers(StreamID, Headers)
    /// The peer will send nothing more on this stream.
    case endOfStream(StreamID)
    /// The stream is gone: both sides ended it (`noError`), or one of them reset it.
    case closed(StreamID, ErrorCode)
    /// The stream is or will be reset for what came on it. `closed` follows if it was there.
    case refused(StreamID, StreamRefusal)
    /// Unsent bytes of the stream fell to the low-water mark.
    case writable(StreamID)
    /// The peer takes no more streams than those up to this number.
    case goAway(lastStream: StreamID, ErrorCode)
    /// The peer's settings came: the connection speaks HTTP/2.
    case settings
}

/// Why nghttp2 takes a stream no further.
package enum StreamRefusal: Sendable {
    /// It was one more than `ConnectionLimits.maxConcurrentStreams`.
    case tooMany
    /// A frame broke a rule of HTTP/2 or HTTP (RFC 9113 sections 5.4.2 and 8.1.1).
    case malformed
}

/// The user of a connection: gets all events, and submits through the session.
package protocol SessionDelegate: AnyObject {
    /// The connection is there. The session may be used from here on, on the channel's loop only.
    func opened(_ session: Session, on channel: any Channel)
    /// All that one read has brought, or one turn of writing, which has no input and no data.
    func receive(_ events: [Event], from input: ByteBuffer)
    /// A turn of writing is over.
    func written()
    /// The connection will go away when its streams have ended (`HTTP2Handler.startDrain`).
    func drainStarted()
    /// Every `ConnectionLimits.tick`.
    func tick()
    /// The connection is ended because of its peer; `closed` follows. The detail is nghttp2's own
    /// words and holds nothing that the peer has sent.
    func failed(_ fault: ConnectionFault, detail: String)
    /// The connection is gone and no event will follow. The session must be let go.
    func closed()
}

extension SessionDelegate {
    package func written() {}
    package func failed(_ fault: ConnectionFault, detail: String) {}
}
