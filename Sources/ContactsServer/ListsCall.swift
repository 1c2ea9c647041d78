// One call of CreateList, ListLists or DeleteList. Event loop thread; the queries run on threads of
// the engine.

internal import Contacts
internal import Ingest
internal import NIOCore
internal import RPC

final class ListsCall: CallHandler {
    enum Method {
        case create
        case list
        case delete
    }

    private enum Request {
        case create(String)
        case list
        case delete(Int64)
    }

    private let method: Method
    private let engine: IngestEngine
    private let context: LoopContext
    private var onlyMessage = OnlyMessage()
    private var isOver = false

    init(_ method: Method, engine: IngestEngine, context: LoopContext) {
        self.method = method
        self.engine = engine
        self.context = context
    }

    func messagesAvailable(_ call: ServerCall) {
        guard !isOver, let message = onlyMessage.take(from: call) else { return }
        let request: Request
        do throws(DecodeError) {
            request = try decode(message)
        } catch {
            return end(call, RPCStatus(error, message: messageName))
        }
        call.returnCredit(message.creditByteCount)
        call.findWorkspace(engine) { found in
            switch found {
            case .success(let workspace): self.run(request, in: workspace, call)
            case .failure(let status): self.end(call, status)
            }
        }
    }

    func writable(_ call: ServerCall) {}

    /// The call is short: it is answered before the connection closes.
    func draining(_ call: ServerCall) {}

    func ended(_ call: ServerCall, by cause: CallEnd) { isOver = true }

    private var messageName: String {
        switch method {
        case .create: "CreateListRequest"
        case .list: "ListListsRequest"
        case .delete: "DeleteListRequest"
        }
    }

    private func decode(_ message: ReceivedMessage) throws(DecodeError) -> Request {
        try message.decode { bytes throws(DecodeError) in
            switch method {
            case .create: return .create(try context.decoder.decodeCreateList(bytes))
            case .list:
                try context.decoder.decodeListLists(bytes)
                return .list
            case .delete: return .delete(try context.decoder.decodeDeleteList(bytes))
            }
        }
    }

    private func run(_ request: Request, in workspace: Workspace, _ call: ServerCall) {
        guard !isOver else { return }
        switch request {
        case .create(let name):
            engine.createList(
                name, in: workspace,
                completion: call.backOnLoop { result in
                    self.answer(call, result) { made throws(RPCStatus) in
                        try made.message(self.context.encoder)
                    }
                })
        case .list:
            engine.lists(
                in: workspace,
                completion: call.backOnLoop { result in
                    self.answer(call, result) { self.context.encoder.listLists($0) }
                })
        case .delete(let id):
            engine.deleteList(
                id, in: workspace,
                completion: call.backOnLoop { result in
                    self.answer(call, result) { isGone throws(RPCStatus) in
                        guard isGone else { throw .unknownList(id) }
                        return self.context.encoder.deleteList()
                    }
                })
        }
    }

    /// - Parameter encode: The answer, or the status that is told instead.
    private func answer<Value>(
        _ call: ServerCall, _ result: Result<Value, ReaderError>,
        _ encode: (Value) throws(RPCStatus) -> PackedMessage
    ) {
        guard !isOver else { return }
        do throws(RPCStatus) {
            let value: Value
            do throws(ReaderError) { value = try result.get() } catch { throw RPCStatus(error) }
            context.encoder.reset()
            call.send(try encode(value))
            end(call, .ok)
        } catch {
            end(call, error)
        }
    }

    private func end(_ call: ServerCall, _ status: RPCStatus) {
        guard !isOver else { return }
        isOver = true
        call.finish(status)
    }
}

extension ListCreation {
    fileprivate func message(_ encoder: ResponseEncoder) throws(RPCStatus) -> PackedMessage {
        switch self {
        case .created(let list): return encoder.createList(list)
        case .nameTaken: throw .listNameTaken
        case .tooMany(let limit): throw .tooManyLists(limit)
        }
    }
}
