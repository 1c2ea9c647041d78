// Which handler answers which path, and what a caller needs for it. Called on event loops.

internal import Access
internal import Ingest
internal import NIOCore
internal import NIOPosix
internal import RPC

/// The methods of `contacts.v1.ContactService`, of `grpc.health.v1.Health` and of
/// `grpc.reflection.v1.ServerReflection`.
struct Router: CallRouter {
    /// The methods of the service.
    private enum Method: String {
        case bulkUpsert = "BulkUpsert"
        case upsertContacts = "UpsertContacts"
        case getContacts = "GetContacts"
        case getImport = "GetImport"
        case listImports = "ListImports"
        case createList = "CreateList"
        case listLists = "ListLists"
        case deleteList = "DeleteList"
        case exportContacts = "ExportContacts"
        case watchEvents = "WatchEvents"

        /// Any of them will do.
        var rights: Rights {
            switch self {
            case .bulkUpsert, .upsertContacts, .createList, .deleteList: .write
            case .getContacts, .exportContacts, .watchEvents: .read
            // Whoever imports has to find out what became of it.
            case .getImport, .listImports, .listLists: [.write, .read]
            }
        }

        var takesContacts: Bool { self == .bulkUpsert || self == .upsertContacts }
    }

    private static let service = "/contacts.v1.ContactService/"

    private let engine: IngestEngine
    private let authentication: Authentication
    private let budget: ReceiveBudget
    private let policy: ServerPolicy
    /// One a loop, made when the loop gets its first call.
    private let contexts = ThreadSpecificVariable<LoopContext>()

    init(
        engine: IngestEngine, authentication: Authentication, budget: ReceiveBudget,
        policy: ServerPolicy
    ) {
        self.engine = engine
        self.authentication = authentication
        self.budget = budget
        self.policy = policy
    }

    func handler(for head: RequestHead, call: ServerCall) -> (any CallHandler)? {
        switch head.path {
        // Probes have no key, and learn nothing but this.
        case "/grpc.health.v1.Health/Check": return health(.check, call)
        case "/grpc.health.v1.Health/List": return health(.list, call)
        case "/grpc.health.v1.Health/Watch": return health(.watch, call)
        case "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo":
            call.answerAnybody()
            return ReflectionCall()
        default: break
        }
        guard head.path.hasPrefix(Self.service),
            let method = Method(rawValue: String(head.path.dropFirst(Self.service.count)))
        else { return nil }
        guard engine.isOpen else {
            call.finish(.databaseNotReached)
            return nil
        }
        do throws(RPCStatus) {
            let caller = try authentication.caller(
                of: call, needing: method.rights, takesContacts: method.takesContacts)
            return handler(of: method, for: caller, call)
        } catch {
            call.finish(error)
            return nil
        }
    }

    private func handler(
        of method: Method, for caller: Caller, _ call: ServerCall
    ) -> any CallHandler {
        let context = context()
        switch method {
        case .bulkUpsert:
            // Before any message: a caller may wait for them before it sends one.
            call.sendHeaders()
            return BulkUpsertCall(
                engine: engine, budget: budget, caller: caller, context: context)
        case .upsertContacts:
            return UpsertContactsCall(
                engine: engine, budget: budget, caller: caller, context: context)
        case .getContacts: return unary(UnaryMethods.getContacts, caller, call)
        case .getImport: return unary(UnaryMethods.getImport, caller, call)
        case .listImports: return unary(UnaryMethods.listImports, caller, call)
        case .createList: return unary(UnaryMethods.createList, caller, call)
        case .listLists: return unary(UnaryMethods.listLists, caller, call)
        case .deleteList: return unary(UnaryMethods.deleteList, caller, call)
        case .exportContacts:
            return ExportContactsCall(engine: engine, caller: caller, context: context)
        case .watchEvents:
            // A caller may wait for them before it makes events.
            call.sendHeaders()
            return WatchEventsCall(engine: engine, caller: caller, context: context)
        }
    }

    func isKnown(_ path: String) -> Bool { DescriptorSet.served.paths.contains(path) }

    private func health(_ method: HealthCall.Method, _ call: ServerCall) -> HealthCall {
        call.answerAnybody()
        let handler = HealthCall(method, engine: engine)
        handler.wait(for: call)
        return handler
    }

    private func unary<Request>(
        _ method: UnaryMethod<Request>, _ caller: Caller, _ call: ServerCall
    ) -> any CallHandler {
        UnaryCall(method, call, engine: engine, caller: caller, context: context())
    }

    private func context() -> LoopContext {
        if let context = contexts.currentValue { return context }
        let context = LoopContext(policy)
        contexts.currentValue = context
        return context
    }
}
