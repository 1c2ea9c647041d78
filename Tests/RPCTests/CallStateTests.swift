// The machines of a call: one test per arrow.

import HTTP2
import Testing

@testable import RPC

struct CallStateTests {
    private let ok = Headers([(":status", "200"), ("content-type", "application/grpc")])

    @Test
    func `A server call sends headers once, then messages, then trailers once`() {
        var state = ServerCallState()
        #expect(state.send() == .sendHeadersFirst)
        #expect(state.send() == .send)
        #expect(state.finish() == .sendTrailers)
        #expect(state.finish() == .ignore)
        #expect(state.send() == .drop)
        #expect(state.isFinished)
        #expect(state.streamClosed() == false)
    }

    @Test
    func `A server call that sent nothing ends by trailers alone`() {
        var state = ServerCallState()
        #expect(state.finish() == .sendTrailersOnly)
        #expect(state.send() == .drop)
    }

    @Test
    func `A stream that goes away first must be told to the handler, once`() {
        var state = ServerCallState()
        #expect(state.streamClosed() == true)
        #expect(state.streamClosed() == false)
        #expect(state.finish() == .ignore)
    }

    @Test
    func `A client call goes from headers to trailers`() {
        var state = ClientCallState()
        guard case .wait = state.head(Headers([(":status", "103")]), endStream: false),
            case .started = state.head(ok, endStream: false)
        else {
            Issue.record("not started")
            return
        }
        #expect(state.canSend)
        state.trailers(Headers([("grpc-status", "5")]))
        #expect(state.knownStatus?.code == .notFound)
        #expect(!state.canSend)
        #expect(!state.endsWithStream)
        state.end()
        #expect(state.isEnded)
        #expect(state.knownStatus == nil)
    }

    @Test
    func `A client call takes a status from trailers alone`() {
        var state = ClientCallState()
        let headers = Headers([(":status", "200"), ("grpc-status", "7")])
        guard case .wait = state.head(headers, endStream: true) else {
            Issue.record("not taken")
            return
        }
        #expect(state.knownStatus?.code == .permissionDenied)
    }

    @Test
    func `A client call without a status in its trailers is UNKNOWN`() {
        var state = ClientCallState()
        _ = state.head(ok, endStream: false)
        state.trailers(Headers())
        #expect(state.knownStatus?.code == .unknown)
        var cut = ClientCallState()
        _ = cut.head(ok, endStream: false)
        cut.endOfStream()
        #expect(cut.knownStatus?.code == .unknown)
    }

    @Test(arguments: [
        ([(":status", "503")], RPCCode.unavailable),
        ([(":status", "200"), ("content-type", "text/html")], .unknown),
        (
            [
                (":status", "200"), ("content-type", "application/grpc"), ("grpc-encoding", "gzip"),
            ], .internal
        ),
    ])
    func `A response that is not gRPC fails the call`(fields: [(String, String)], code: RPCCode) {
        var state = ClientCallState()
        let headers = Headers(fields.map { (name: $0.0, value: $0.1) })
        guard case .fail(let status) = state.head(headers, endStream: false) else {
            Issue.record("not failed")
            return
        }
        #expect(status.code == code)
        #expect(state.endsWithStream)
    }
}
