// In: nothing. Out: what TLS may cost, each bound with its reason.
// On which thread: plain values, any thread.

internal import NIOCore

package enum TLSLimits {
    /// How often certificate files are looked at. A change is acted on when two looks in a row see
    /// the same, so that a pair which is still being written is left alone.
    package static let lookInterval = Duration.seconds(2)

    /// Failed handshakes make at most one line in the log in so many seconds, with their count.
    static let failureLineInterval = TimeAmount.seconds(10)

    /// How long the other side may take to answer our close_notify; the channel closes without it
    /// then. Peers are free not to answer (RFC 8446 section 6.1).
    static let closeNotify = TimeAmount.seconds(1)

    /// An idle connection keeps no larger buffer for what it sends than two records; NIOSSL alone
    /// would keep the largest one it ever needed.
    static let keptOutputByteCount = 32 * 1024

    /// A certificate file with its chain, or a key. A file of this size is no such thing, and reading
    /// it whole would cost memory.
    static let fileByteCount = 1024 * 1024
}
