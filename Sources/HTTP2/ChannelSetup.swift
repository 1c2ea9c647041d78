// In: a channel that was just accepted or connected. Out: the same with options that fit HTTP/2.
// On which thread: the channel's event loop.

package import NIOCore

/// Socket and channel options for one connection. For whoever bootstraps channels: call it first
/// in the channel initializer, then add an `HTTP2Handler`.
package enum ChannelSetup {
    /// One read takes so much. Larger reads make fewer events lists per byte; a multiple of the
    /// default frame, and small enough to stay in the processor's second cache.
    package static let readByteCount = 64 * 1024

    /// Above this the channel is "not writable" and nothing more is pulled out of nghttp2. One turn
    /// of output may be on top of it.
    package static let writeHighWaterByteCount = 256 * 1024
    package static let writeLowWaterByteCount = 64 * 1024

    package static func apply(to channel: any Channel) throws {
        guard let options = channel.syncOptions else { return }
        try options.setOption(.recvAllocator, value: FreshReadBuffers())
        // Then other connections have their turn. NIO keeps as many buffers for each connection.
        try options.setOption(.maxMessagesPerRead, value: 1)
        try options.setOption(
            .writeBufferWaterMark,
            value: .init(low: writeLowWaterByteCount, high: writeHighWaterByteCount))
        // Results are written as soon as they are there; Nagle's algorithm would hold them back.
        try options.setOption(.tcpOption(.tcp_nodelay), value: 1)
    }
}

/// A buffer for each read, so that a connection in clear text keeps none while it is idle. NIO keeps the
/// first one of each, which is a small one; TLS has one of its own.
private struct FreshReadBuffers: RecvByteBufferAllocator {
    private static let firstByteCount = 1024

    private var isFirst = true

    func buffer(allocator: ByteBufferAllocator) -> ByteBuffer {
        allocator.buffer(capacity: isFirst ? Self.firstByteCount : ChannelSetup.readByteCount)
    }

    /// - Returns: That the next buffer is a larger one, without which NIO would use the last again.
    mutating func record(actualReadBytes: Int) -> Bool {
        isFirst = false
        return true
    }
}
