// In: calls of `grpc.testing.TestService`, the service of gRPC's interop suite. Out: what its
// descriptions ("interop-test-descriptions.md") ask of a server. Nothing answers for
// `UnimplementedCall` and for `grpc.testing.UnimplementedService`.
// On which thread: the loop of each call.

import HTTP2
import NIOCore
import RPC

struct TestService: CallRouter {
    private static let path = "/grpc.testing.TestService/"

    func handler(for head: RequestHead, call: ServerCall) -> (any CallHandler)? {
        guard head.path.hasPrefix(Self.path) else { return nil }
        return TestCall.Method(rawValue: String(head.path.dropFirst(Self.path.count)))
            .map { TestCall($0, head) }
    }
}

final class TestCall: CallHandler {
    enum Method: String {
        case empty = "EmptyCall"
        case unary = "UnaryCall"
        case input = "StreamingInputCall"
        case output = "StreamingOutputCall"
        case fullDuplex = "FullDuplexCall"
        case halfDuplex = "HalfDuplexCall"
    }

    /// What is to be done, in order.
    private enum Step {
        case send(ResponseParameters)
        case finish(RPCStatus)
    }

    /// As much may wait for the client; the rest is written when it has read.
    private static let unsentByteCount = 256 * 1024

    private let method: Method
    private let head: RequestHead
    private var steps: ArraySlice<Step> = []
    private var requestCount = 0
    private var payloadByteCount = 0
    private var hasSentHeaders = false
    /// The first step's time has not come.
    private var isPausing = false
    private var isRequestComplete = false

    init(_ method: Method, _ head: RequestHead) {
        self.method = method
        self.head = head
    }

    func messagesAvailable(_ call: ServerCall) {
        while let message = call.nextMessage() {
            requestCount += 1
            do throws(MalformedMessage) {
                try take(message, call)
            } catch {
                call.finish(RPCStatus(.invalidArgument, "the message is malformed"))
            }
            call.returnCredit(message.creditByteCount)
        }
        if call.isRequestComplete, !isRequestComplete {
            isRequestComplete = true
            complete()
        }
        // Half-duplex: everything is answered after the request's end.
        if method != .halfDuplex || isRequestComplete { goOn(call) }
    }

    func writable(_ call: ServerCall) { goOn(call) }

    func ended(_ call: ServerCall, by cause: CallEnd) { steps = [] }

    func draining(_ call: ServerCall) {
        call.finish(RPCStatus(.unavailable, "the server is going away"))
    }

    private func take(_ message: ReceivedMessage, _ call: ServerCall) throws(MalformedMessage) {
        let request: TestRequest
        switch method {
        case .empty: return steps.append(.send(ResponseParameters()))
        case .unary: request = try .simple(message.bytes)
        case .input: request = try .input(message.bytes)
        case .output, .fullDuplex, .halfDuplex: request = try .output(message.bytes)
        }
        if let expected = request.expectsCompressed, expected != message.wasCompressed {
            let found = message.wasCompressed ? "is" : "is not"
            return steps.append(
                .finish(RPCStatus(.invalidArgument, "the message \(found) compressed")))
        }
        payloadByteCount += request.payloadByteCount
        if let status = request.status { return steps.append(.finish(status.status)) }
        for response in request.responses { steps.append(.send(response)) }
    }

    /// The client has sent all.
    private func complete() {
        switch method {
        case .empty, .unary, .output:
            if requestCount != 1 {
                steps = [.finish(RPCStatus(.internal, "\(requestCount) messages instead of one"))]
            }
        case .input: steps.append(.send(ResponseParameters()))
        case .fullDuplex, .halfDuplex: break
        }
        steps.append(.finish(.ok))
    }

    private func goOn(_ call: ServerCall) {
        while !isPausing, call.unsentByteCount < Self.unsentByteCount, let step = steps.first {
            switch step {
            case .send(let response) where response.interval > .zero:
                return pause(for: response, call)
            case .send(let response): send(response, call)
            case .finish(var status):
                if let value = head.metadata("x-grpc-test-echo-trailing-bin") {
                    status.metadata.add("x-grpc-test-echo-trailing-bin", value)
                }
                call.finish(status)
            }
            steps = steps.dropFirst()
        }
    }

    /// Sends it later, then goes on.
    private func pause(for response: ResponseParameters, _ call: ServerCall) {
        isPausing = true
        call.eventLoop.assumeIsolated().scheduleTask(in: response.interval) {
            [weak self, weak call] in
            guard let self, let call else { return }
            self.isPausing = false
            guard !self.steps.isEmpty else { return }
            self.send(response, call)
            self.steps = self.steps.dropFirst()
            self.goOn(call)
        }
    }

    private func send(_ response: ResponseParameters, _ call: ServerCall) {
        sendHeaders(call)
        call.compressesMessages = response.isCompressed
        call.send(maxByteCount: response.size + 16) { buffer in
            switch method {
            case .empty: break
            case .input: TestResponse.write(aggregateOf: payloadByteCount, into: &buffer)
            case .unary, .output, .fullDuplex, .halfDuplex:
                TestResponse.write(payloadOf: response.size, into: &buffer)
            }
        }
    }

    private func sendHeaders(_ call: ServerCall) {
        guard !hasSentHeaders else { return }
        hasSentHeaders = true
        // The headers tell whether any message may be compressed.
        call.compressesMessages = steps.contains { step in
            if case .send(let response) = step { response.isCompressed } else { false }
        }
        let name = "x-grpc-test-echo-initial"
        call.sendHeaders(Headers(head.metadataValues(name).map { (name, $0) }))
    }
}
