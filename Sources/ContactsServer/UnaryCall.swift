// One call of a unary method: a message in, a query, a message out. Event loop thread; the queries
// run on threads of the engine. What a method does stands in UnaryMethods.swift.

internal import Contacts
internal import Ingest
internal import NIOCore
internal import RPC

/// A unary method of the service, but for UpsertContacts, which is an import.
struct UnaryMethod<Request> {
    /// The name of its request message.
    let messageName: String
    let decode: (RequestDecoder, UnsafeRawBufferPointer) throws(DecodeError) -> Request
    /// How large the answer may be, as far as the request tells.
    let answerByteCount: (Request) -> Int
    /// Runs the request; answers by the call's `answer` or `end`, at once or later.
    let run: (Request, Workspace, UnaryCall<Request>) -> Void
}

final class UnaryCall<Request>: CallHandler {
    let engine: IngestEngine
    private let method: UnaryMethod<Request>
    private let caller: Caller
    private let context: LoopContext
    private let call: ServerCall
    private var onlyMessage = OnlyMessage()
    /// Until it is decoded.
    private var message: ReceivedMessage?
    /// What the request holds is charged until nobody has it any more, a query that waits included.
    private var creditByteCount = 0
    private var isQuerying = false
    private var isOver = false

    init(
        _ method: UnaryMethod<Request>, _ call: ServerCall, engine: IngestEngine,
        caller: Caller, context: LoopContext
    ) {
        self.method = method
        self.call = call
        self.engine = engine
        self.caller = caller
        self.context = context
    }

    func messagesAvailable(_ call: ServerCall) {
        guard !isOver, let message = onlyMessage.take(from: call) else { return }
        creditByteCount = message.creditByteCount
        self.message = message
        begin(call)
    }

    /// Begins once there is room for the answer.
    private func begin(_ call: ServerCall) {
        guard !isOver, let message, call.mayAnswer(atOnce: true) else { return }
        self.message = nil
        defer { context.decoder.release() }
        let request: Request
        do throws(DecodeError) {
            request = try message.decode { bytes throws(DecodeError) in
                try method.decode(context.decoder, bytes)
            }
        } catch {
            end(call.status(of: error, in: message, named: method.messageName))
            return letGo()
        }
        call.expectAnswer(method.answerByteCount(request))
        call.findWorkspace(of: caller, engine) { found in
            switch found {
            case .success(let workspace):
                if !self.isOver { self.method.run(request, workspace, self) }
            case .failure(let status): self.end(status)
            }
            if !self.isQuerying { self.letGo() }
        }
    }

    func writable(_ call: ServerCall) { begin(call) }

    /// The call is short: it is answered before the connection closes.
    func draining(_ call: ServerCall) {}

    func ended(_ call: ServerCall, by cause: CallEnd) {
        isOver = true
        // Else who has the request lets it go.
        if message != nil { letGo() }
        message = nil
    }

    /// Nobody has the request any more.
    private func letGo() {
        call.returnCredit(creditByteCount)
        creditByteCount = 0
        call.expectAnswer(0)
    }

    /// A completion for the engine.
    ///
    /// - Parameter encode: The answer, or the status that is told instead; called on the loop.
    func answer<Value: Sendable>(
        _ encode: @escaping (Value, ResponseEncoder) throws(RPCStatus) -> PackedMessage
    ) -> @Sendable (Result<Value, ReaderError>) -> Void {
        isQuerying = true
        return call.backOnLoop { (result: Result<Value, ReaderError>) in
            defer { self.letGo() }
            guard !self.isOver else { return }
            do throws(RPCStatus) {
                let value: Value
                do throws(ReaderError) { value = try result.get() } catch { throw RPCStatus(error) }
                self.context.encoder.reset()
                self.call.send(try encode(value, self.context.encoder))
                self.end(.ok)
            } catch {
                self.end(error)
            }
        }
    }

    func end(_ status: RPCStatus) {
        guard !isOver else { return }
        isOver = true
        call.finish(status)
    }
}
