// In: nothing. Out: every bound that an HTTP/2 connection keeps, each with its reason.
// On which thread: plain values, any thread.

package import NIOCore

/// What one connection may cost, whoever is at the other end.
package struct ConnectionLimits: Sendable {
    /// Streams that the peer may have open at once; the protocol's default is "unlimited" (RFC 9113
    /// section 6.5.2). gRPC servers give 100 and more. Fewer than `resetCountPerTick`, so that who
    /// cancels all that is open is not taken for a flood.
    package var maxConcurrentStreams = 250

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

    /// Bytes of fields beyond that number or size, in one tick. Each is decoded all the same, since the
    /// table must be kept: up to 1 ms in all. Clients that heed the limit send none.
    package var surplusHeaderByteCountPerTick = 1024 * 1024

    /// Of the table into which the peer's header blocks refer (RFC 7541 section 4.2): the protocol's
    /// default, written down, since it is what a connection can make us keep.
    package var headerTableByteCount = 4096

    /// CONTINUATION frames of one header block. The header list's limit fits into two frames, and
    /// each frame more is only work.
    package var continuationCount = 8

    /// Entries of one SETTINGS frame; six are defined, and each is one more turn of a loop.
    package var settingsEntryCount = 32

    /// PING and SETTINGS acknowledgements that wait unsent; more means that the peer floods us and
    /// does not read. nghttp2's own default of 1000 lets ten times as much pile up.
    package var unsentAcknowledgementCount = 100

    /// Frames that wait unsent: an answer for each stream and as much again for credit, resets and
    /// acknowledgements, twice. More means that the peer has frames made and does not read them.
    package var unsentFrameCount = 1000

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

    /// Streams that the peer may reset in one tick (CVE-2023-44487), and as many that it may make us
    /// reset (CVE-2025-8671), each on top of those that are answered to their end: calls that are
    /// cancelled among many that are not are no flood.
    package var resetCountPerTick = 300

    /// Resets in one tick of calls whose deadline is over: a database that stalls makes many.
    static let forgivenResetCountPerTick = 3_000

    /// A DATA frame that we send counts as useful from so many bytes on: a message's prefix. A peer
    /// that opens its window byte by byte gets frames with less.
    package var usefulByteCount = 5

    /// Ticks of silence after which a PING asks whether the peer is still there. A peer that vanished
    /// without a FIN keeps its calls, and the import that it drove, until it is missed.
    package var silentTicksBeforePing = 1

    /// Ticks that the peer has for the answer to that PING: with the tick's length, it is missed 20 to
    /// 30 seconds after its last byte.
    package var ticksForPingAnswer = 1

    package init() {}

    /// How often a connection looks at its counters, its silence and its stalled streams. It is also
    /// what a client has for its preface, TLS included; a header block has one to two ticks.
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

    /// What a field and a block that are too much cost, in bytes of a field: 0.4 µs, though it may be
    /// one byte on the wire, and 10 to 40 µs.
    static let surplusFieldCost = 512
    static let surplusBlockCost = 16 * 1024

    /// Of such bytes, for each useful frame: behind a proxy one client among many may send too much.
    static let surplusHeaderBytesPerUsefulFrame = 2 * 1024

    /// Event lists longer than this give their memory back after use.
    static let keptEventCount = 1024
}
