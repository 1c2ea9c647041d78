// In: the bytes that go to nghttp2. Out: the header of each frame. nghttp2 tells nobody of the frames
// that it ignores (unknown kinds, DATA on closed streams), and they have to be counted.
// On which thread: the connection's event loop.

import NIOCore

/// The first nine bytes of a frame (RFC 9113 section 4.1), as far as they matter here.
struct FrameHeader: Equatable {
    static let byteCount = 9

    var byteCount: Int
    var kind: UInt8
    var flags: UInt8
    var stream: StreamID

    static let data: UInt8 = 0
    static let headers: UInt8 = 1
    static let priority: UInt8 = 2
    static let continuation: UInt8 = 9

    /// The last of its stream (DATA and HEADERS).
    var endsStream: Bool { flags & 0x1 != 0 }
    /// The last of its header block (HEADERS and CONTINUATION).
    var endsHeaders: Bool { flags & 0x4 != 0 }
}

/// Finds frames in a stream of bytes that is cut anywhere. A pure machine.
struct FrameScanner {
    /// Bytes until the next frame's header.
    private var skippedByteCount: Int
    /// The beginning of a header that is not whole.
    private var partial: [UInt8] = []
    /// The frame under way is the last of a header block.
    private var endsHeaderBlock = false
    /// Which header block is under way, if one is: their number on this connection.
    private(set) var openHeaderBlock: Int?
    private var headerBlockCount = 0

    static let prefaceByteCount = 24

    /// A client's bytes begin with its preface (RFC 9113 section 3.4).
    init(role: Session.Role) {
        skippedByteCount = role == .server ? Self.prefaceByteCount : 0
    }

    mutating func scan(_ bytes: UnsafeRawBufferPointer, _ found: (FrameHeader) -> Void) {
        var index = 0
        while index < bytes.count {
            if skippedByteCount > 0 {
                let count = min(skippedByteCount, bytes.count - index)
                index += count
                skippedByteCount -= count
                if skippedByteCount == 0 { endFrame() }
            } else if partial.isEmpty, bytes.count - index >= FrameHeader.byteCount {
                begin(bytes, at: index, found)
                index += FrameHeader.byteCount
            } else {
                partial.append(bytes[index])
                index += 1
                guard partial.count == FrameHeader.byteCount else { continue }
                let whole = partial
                partial.removeAll(keepingCapacity: true)
                whole.withUnsafeBytes { begin($0, at: 0, found) }
            }
        }
    }

    private mutating func begin(
        _ bytes: UnsafeRawBufferPointer, at index: Int, _ found: (FrameHeader) -> Void
    ) {
        let first = UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: index, as: UInt32.self))
        let stream = UInt32(
            bigEndian: bytes.loadUnaligned(fromByteOffset: index + 5, as: UInt32.self))
        let frame = FrameHeader(
            byteCount: Int(first >> 8), kind: UInt8(first & 0xff), flags: bytes[index + 4],
            stream: StreamID(stream & 0x7fff_ffff))
        if frame.kind == FrameHeader.headers {
            headerBlockCount += 1
            openHeaderBlock = headerBlockCount
        }
        endsHeaderBlock =
            frame.endsHeaders
            && (frame.kind == FrameHeader.headers || frame.kind == FrameHeader.continuation)
        skippedByteCount = frame.byteCount
        found(frame)
        if skippedByteCount == 0 { endFrame() }
    }

    private mutating func endFrame() {
        if endsHeaderBlock { openHeaderBlock = nil }
        endsHeaderBlock = false
    }
}
