// Which handler answers which path. Called on event loops.

internal import Ingest
internal import NIOCore
internal import NIOPosix
internal import RPC

/// The methods of `contacts.v1.ContactService` and of `grpc.health.v1.Health`.
struct Router: CallRouter {
    private static let service = "/contacts.v1.ContactService/"

    private let engine: IngestEngine
    private let budget: ReceiveBudget
    private let unanswered: UnansweredContacts
    /// One a loop, made when the loop gets its first call.
    private let contexts = ThreadSpecificVariable<LoopContext>()

    init(engine: IngestEngine, budget: ReceiveBudget, unanswered: UnansweredContacts) {
        self.engine = engine
        self.budget = budget
        self.unanswered = unanswered
    }

    func handler(for head: RequestHead, call: ServerCall) -> (any CallHandler)? {
        switch head.path {
        case "/grpc.health.v1.Health/Check": return health(.check, call)
        case "/grpc.health.v1.Health/Watch": return health(.watch, call)
        default: break
        }
        guard head.path.hasPrefix(Self.service) else { return nil }
        guard engine.isOpen else {
            call.finish(.databaseNotReached)
            return nil
        }
        switch head.path.dropFirst(Self.service.count) {
        case "BulkUpsert":
            // Before any message: a caller may wait for them before it sends one.
            call.sendHeaders()
            return BulkUpsertCall(
                engine: engine, budget: budget, unanswered: unanswered, context: context())
        case "UpsertContacts":
            return UpsertContactsCall(engine: engine, budget: budget, context: context())
        case "GetContacts": return unary(UnaryMethods.getContacts, call)
        case "GetImport": return unary(UnaryMethods.getImport, call)
        case "ListImports": return unary(UnaryMethods.listImports, call)
        case "CreateList": return unary(UnaryMethods.createList, call)
        case "ListLists": return unary(UnaryMethods.listLists, call)
        case "DeleteList": return unary(UnaryMethods.deleteList, call)
        case "ExportContacts": return ExportContactsCall(engine: engine, context: context())
        case "WatchEvents":
            // A caller may wait for them before it makes events.
            call.sendHeaders()
            return WatchEventsCall(engine: engine, context: context())
        default: return nil
        }
    }

    private func health(_ method: HealthCall.Method, _ call: ServerCall) -> HealthCall {
        let handler = HealthCall(method, engine: engine)
        handler.wait(for: call)
        return handler
    }

    private func unary<Request>(
        _ method: UnaryMethod<Request>, _ call: ServerCall
    ) -> any CallHandler {
        UnaryCall(method, call, engine: engine, context: context())
    }

    private func context() -> LoopContext {
        if let context = contexts.currentValue { return context }
        let context = LoopContext()
        contexts.currentValue = context
        return context
    }
}
