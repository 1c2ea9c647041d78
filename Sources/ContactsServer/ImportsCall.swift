// One call of GetImport or ListImports. Event loop thread; the queries run on the reader's.

internal import Contacts
internal import Ingest
internal import NIOCore
internal import RPC

final class ImportsCall: CallHandler {
    enum Method {
        case get
        case list
    }

    private enum Request {
        case get(String)
        case list(ImportPage)
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
            request = try message.decode { bytes throws(DecodeError) in
                switch method {
                case .get: .get(try context.decoder.decodeGetImport(bytes))
                case .list: .list(try context.decoder.decodeListImports(bytes))
                }
            }
        } catch {
            let name = method == .get ? "GetImportRequest" : "ListImportsRequest"
            return end(call, RPCStatus(error, message: name))
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

    private func run(_ request: Request, in workspace: Workspace, _ call: ServerCall) {
        guard !isOver else { return }
        switch request {
        case .get(let importID):
            engine.findImport(
                importID, in: workspace,
                completion: call.backOnLoop { result in
                    switch result {
                    case .success(let found?):
                        self.answer(call) { self.context.encoder.getImport(found) }
                    case .success(nil): self.end(call, .unknownImport(importID))
                    case .failure(let error): self.end(call, RPCStatus(error))
                    }
                })
        case .list(let page):
            let place = ImportPlace(token: page.token)
            guard page.token.isEmpty || place != nil else { return end(call, .wrongPageToken) }
            engine.imports(
                page.size, after: place, in: workspace,
                completion: call.backOnLoop { result in
                    switch result {
                    case .success(let found):
                        let token = found.hasMore ? found.imports.last.map(ImportPlace.init) : nil
                        self.answer(call) {
                            self.context.encoder.listImports(
                                found.imports, nextPageToken: token?.token ?? "")
                        }
                    case .failure(let error): self.end(call, RPCStatus(error))
                    }
                })
        }
    }

    private func answer(_ call: ServerCall, _ encode: () -> PackedMessage) {
        guard !isOver else { return }
        context.encoder.reset()
        call.send(encode())
        end(call, .ok)
    }

    private func end(_ call: ServerCall, _ status: RPCStatus) {
        guard !isOver else { return }
        isOver = true
        call.finish(status)
    }
}
