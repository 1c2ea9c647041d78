// How long connections live: the defaults, and their way from the command line to the RPC layer. Values.

internal import NIOCore
internal import RPC

package struct ConnectionLife: Sendable {
    /// nil: for ever. So it is by default: a caller with one long stream gains nothing by a new
    /// connection, and who balances connections knows how often they should be made anew.
    package var age: Duration?
    /// Half an hour: gRPC's own clients drop their connections after that time without a call. A client
    /// that forgot a connection for as long will hardly miss it, and each costs some kilobytes.
    package var idle: Duration? = .seconds(30 * 60)

    package init() {}

    var limits: ConnectionAgeLimits {
        ConnectionAgeLimits(age: age.map { TimeAmount($0) }, idle: idle.map { TimeAmount($0) })
    }
}
