// The interop suite's server on our RPC layer: `interopserver` takes a free port of the loopback and
// says on standard output "listening on HOST:PORT". It serves until it is killed, or until its
// standard input ends, so that it does not outlive who started it.

import Glibc
import HTTP2
import NIOCore
import NIOPosix
import RPC

@main
enum InteropServer {
    static func main() throws {
        // As many bytes as the suite's largest message, which is under a mebibyte, a few times over.
        let options = ServerOptions(budget: ReceiveBudget(limitByteCount: 64 << 20))
        let listener = try ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.backlog, value: 1024)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try ServerConnection.serve(channel, router: TestService(), options: options)
                }
            }
            .bind(host: "127.0.0.1", port: 0).wait()
        print("listening on 127.0.0.1:\(listener.localAddress?.port ?? 0)")
        fflush(nil)  // every stream; the name of this one is no constant
        while readLine() != nil {}
    }
}
