// Between the RPC layer's buffers and the codec of the messages. Event loop thread.

internal import Contacts
internal import Ingest
internal import NIOCore
internal import RPC

extension ServerCall {
    /// Finds the workspace that the call belongs to.
    ///
    /// - Parameter body: Called on the loop, at once if the workspace is known.
    func findWorkspace(
        of caller: Caller, _ engine: IngestEngine,
        _ body: @escaping (Result<Workspace, RPCStatus>) -> Void
    ) {
        let name = caller.workspaceName
        if let workspace = engine.rememberedWorkspace(named: name) {
            return body(.success(workspace))
        }
        let bound = NIOLoopBound(body, eventLoop: eventLoop)
        let eventLoop = eventLoop
        engine.workspace(named: name) { result in
            eventLoop.execute {
                switch result {
                case .success(let workspace?): bound.value(.success(workspace))
                case .success(nil): bound.value(.failure(.unknownWorkspace(name)))
                case .failure(let error): bound.value(.failure(RPCStatus(error)))
                }
            }
        }
    }
}

extension ReceivedMessage {
    func decode(
        with decoder: RequestDecoder
    ) throws(DecodeError) -> DecodedUpsert {
        try bytes.withUnsafeReadableBytes { bytes throws(DecodeError) in
            try decoder.decodeBulkUpsert(bytes)
        }
    }

    func decodeUpsertContacts(
        with decoder: RequestDecoder
    ) throws(DecodeError) -> DecodedUpsert {
        try bytes.withUnsafeReadableBytes { bytes throws(DecodeError) in
            try decoder.decodeUpsertContacts(bytes)
        }
    }
}

extension ReceivedMessage {
    func decode<Value>(
        _ body: (UnsafeRawBufferPointer) throws(DecodeError) -> Value
    ) throws(DecodeError) -> Value {
        try bytes.withUnsafeReadableBytes(body)
    }
}

extension ServerCall {
    /// Brings what another thread tells back to the loop.
    func backOnLoop<Value: Sendable>(
        _ body: @escaping (Value) -> Void
    ) -> @Sendable (Value) -> Void {
        let bound = NIOLoopBound(body, eventLoop: eventLoop)
        let eventLoop = eventLoop
        return { value in eventLoop.execute { bound.value(value) } }
    }

    func backOnLoop(_ body: @escaping () -> Void) -> @Sendable () -> Void {
        let tell = backOnLoop { (_: Bool) in body() }
        return { tell(true) }
    }

    /// Calls a closure on the loop after a while.
    func later(_ pause: TimeAmount, _ body: @escaping () -> Void) {
        eventLoop.assumeIsolated().scheduleTask(in: pause, body)
    }
}

extension ServerCall {
    /// Sends a message, packed straight into the call's buffer.
    func send(_ message: PackedMessage) {
        send(maxByteCount: message.byteCount) { buffer in
            buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: message.byteCount) {
                message.write(to: $0)
            }
        }
    }
}

extension ResponseEncoder {
    /// Adds the results of the answers that are there.
    func appendAnswers(
        of window: inout ResultWindow, atMost limit: Int, _ mode: ResultMode,
        counting counter: inout SummaryCounter
    ) {
        Self.append(answersOf: &window, atMost: limit, mode, counting: &counter, to: &results)
    }

    private static func append(
        answersOf window: inout ResultWindow, atMost limit: Int, _ mode: ResultMode,
        counting counter: inout SummaryCounter, to results: inout ResultList
    ) {
        var popped = 0
        while popped < limit, let (sequence, answer) = window.popFirst() {
            popped += 1
            counter.count(sequence, answer)
            switch answer {
            case .failed(let error) where mode != .summary:
                results.append(sequence: sequence, error: error)
            case .stored(let status, let id) where mode == .all:
                results.append(sequence: sequence, status: status, id: id)
            case .failed, .stored: break
            }
        }
    }
}

/// The one message of a unary request, given out once the request is complete.
struct OnlyMessage {
    private var message: ReceivedMessage?
    private var isTaken = false

    /// Pulls what has come. Another number of messages than one ends the call as UNIMPLEMENTED
    /// (gRPC, "Status codes and their use in gRPC").
    mutating func take(from call: ServerCall) -> ReceivedMessage? {
        while let next = call.nextMessage() {
            guard message == nil else {
                call.refused(.messageCount)
                call.finish(
                    RPCStatus(.unimplemented, "the call has more than one request message"))
                return nil
            }
            message = next
        }
        guard call.isRequestComplete, !call.isFinished, !isTaken else { return nil }
        // Whoever takes it may give its credit back, so it must not stay here.
        guard let taken = message.take() else {
            call.refused(.messageCount)
            call.finish(RPCStatus(.unimplemented, "the call has no request message"))
            return nil
        }
        isTaken = true
        return taken
    }
}
