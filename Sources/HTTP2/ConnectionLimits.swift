// In: nothing. Out: every bound that an HTTP/2 connection keeps, each with its reason.
// On which thread: plain values, any thread.

package import NIOCore

/// What one connection may cost, whoever is at the other end.
package struct ConnectionLimits: Sendable {
    /// Streams that the peer may have open at once. Each costs a few kilobytes of state here, so a
    /// thousand is cheap, while the protocol's default is "unlimited" (RFC 9113 section 6.5.2).
    package var maxConcurrentStreams = 1000

    /// What one stream may have sent that was not yet credited. It must hold the largest message,
    /// its prefix and the credit that is collected before it is passed on, else a stream stalls.
    package var streamWindowByteCount = 4 * 1024 * 1024 + 64 * 1024

    /// What all streams of a connection may have in flight: 20 MB/s at a round trip of 50 ms. It
    /// may be less than a stream's window, since what a slow stream holds is given back here. All
    /// of it may wait when the server is busy, so a larger one makes answers later.
    package var connectionWindowByteCount = 1024 * 1024

    /// Name + value + 32 for each field (RFC 9113 section 6.5.2). nghttp2 announces the limit but
    /// does not enforce it; `EventSink` does.
    package var headerListByteCount = 16 * 1024

    /// Fields in one header block: many one-byte references to the table are small on the wire and
    /// large in memory, so their number is bounded as well as their bytes.
    package var headerFieldCount = 100

    /// PING and SETTINGS acknowledgements that wait unsent; more means that the peer floods us and
    /// does not read. nghttp2's own default of 1000 lets ten times as much pile up.
    package var unsentAcknowledgementCount = 100

    /// Bytes pulled out of nghttp2 in one turn of the loop, so that one fast reader does not keep
    /// the loop from the other connections.
    package var outputByteCountPerTurn = 256 * 1024

    /// A stream's unsent bytes fall to this: `Event.writable`. Two frames of the default size, so
    /// that the writer is called before the socket runs dry.
    package var outboundLowWaterByteCount = 32 * 1024

    /// Frames that cost the peer nothing (PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA,
    /// unknown types) in one tick, on top of `cheapFramesPerUsefulFrame`.
    package var cheapFrameCountPerTick = 2000

    /// WINDOW_UPDATE and PING that a busy peer sends for each DATA or HEADERS frame; Envoy allows
    /// ten as well.
    package var cheapFramesPerUsefulFrame = 10

    /// Streams that we had to reset because of the peer in one tick (CVE-2025-8671: resets which
    /// the peer provokes do not count in nghttp2's limit of resets which it sends).
    package var provokedResetCountPerTick = 400

    /// Ticks of silence after which a PING asks whether the peer is still there. A peer that vanished
    /// without a FIN keeps its calls, and the import that it drove, until it is missed.
    package var silentTicksBeforePing = 1

    /// Ticks that the peer has for the answer to that PING: with the tick's length, it is missed 20 to
    /// 30 seconds after its last byte.
    package var ticksForPingAnswer = 1

    package init() {}

    /// How often a connection looks at its counters, its silence and its stalled streams.
    package static let tick: TimeAmount = .seconds(10)

    /// Credit is passed on to the peer in steps of at least this, so that WINDOW_UPDATE frames stay
    /// rare. A stream's window must be larger than this plus the largest message.
    package static let creditStepByteCount = 32 * 1024

    /// A client that was answered before it had sent everything gets so long to finish by itself.
    /// Some (curl 7.88) take the reset that comes right behind the answer for a failure.
    package static let earlyEndGrace: TimeAmount = .milliseconds(250)

    /// After the first GOAWAY of a drain the second waits for a PING's round trip, at most this.
    package static let drainNotice: TimeAmount = .seconds(1)

    /// After our last byte we wait so long for the peer's end of file; closing at once with unread
    /// bytes in the kernel would make it send a reset that destroys what the peer has not read.
    package static let linger: TimeAmount = .seconds(1)

    /// Event lists longer than this give their memory back after use.
    static let keptEventCount = 1024
}
