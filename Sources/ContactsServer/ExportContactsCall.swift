// One ExportContacts call: a list or none in, pages of contacts out. Event loop thread; the queries
// run on the reader's.
//
// A page is asked for when what was sent before is nearly read, so a reader that stalls holds one
// page here and none in the database. A caller that is gone asks for no more.

internal import Contacts
internal import Ingest
internal import NIOCore
internal import RPC

final class ExportContactsCall: CallHandler {
    private let engine: IngestEngine
    private let caller: Caller
    private let context: LoopContext
    private var onlyMessage = OnlyMessage()
    /// The list, once it is known and until the first page is asked for.
    private var start: (listID: Int64, workspace: Workspace)?
    /// Where to go on; `nil` while a page is under way.
    private var export: ContactExport?
    private var isOver = false

    init(engine: IngestEngine, caller: Caller, context: LoopContext) {
        self.engine = engine
        self.caller = caller
        self.context = context
    }

    func messagesAvailable(_ call: ServerCall) {
        guard !isOver, let message = onlyMessage.take(from: call) else { return }
        defer { context.decoder.release() }
        let listID: Int64
        do throws(DecodeError) {
            listID = try message.decode { bytes throws(DecodeError) in
                try context.decoder.decodeExportContacts(bytes)
            }
        } catch {
            return end(call, call.status(of: error, in: message, named: "ExportContactsRequest"))
        }
        call.returnCredit(message.creditByteCount)
        call.findWorkspace(of: caller, engine) { found in
            switch found {
            case .success(let workspace):
                self.start = (listID, workspace)
                self.goOn(call)
            case .failure(let status): self.end(call, status)
            }
        }
    }

    func writable(_ call: ServerCall) { goOn(call) }

    /// An export may take long, so it does not hold the server up.
    func draining(_ call: ServerCall) { end(call, .exportCutOff) }

    func ended(_ call: ServerCall, by cause: CallEnd) { isOver = true }

    private func begin(_ listID: Int64, in workspace: Workspace, _ call: ServerCall) {
        start = nil
        call.expectAnswer(ServerLimits.pageBytes)
        engine.beginExport(
            listID, in: workspace,
            completion: call.backOnLoop { result in
                switch result {
                case .success(.noList): self.end(call, .unknownList(listID))
                case .success(.records(let records, let next)): self.send(records, next, call)
                case .failure(let error): self.end(call, RPCStatus(error))
                }
                self.pageIsHere(call)
            })
    }

    private func goOn(_ call: ServerCall) {
        guard !isOver, start != nil || export != nil,
            call.unsentByteCount <= ServerLimits.unsentBytes, call.mayAnswer(atOnce: false)
        else { return }
        if let start { return begin(start.listID, in: start.workspace, call) }
        guard let export else { return }
        self.export = nil
        call.expectAnswer(ServerLimits.pageBytes)
        engine.nextPage(
            of: export,
            completion: call.backOnLoop { result in
                switch result {
                case .success(.noList): self.end(call, .exportedListGone)
                case .success(.records(let records, let next)): self.send(records, next, call)
                case .failure(.overloaded):
                    call.later(ServerLimits.overloadPause) {
                        self.export = export
                        self.goOn(call)
                    }
                case .failure(let error): self.end(call, RPCStatus(error))
                }
                self.pageIsHere(call)
            })
    }

    private func send(_ records: [ContactRecord], _ next: ContactExport?, _ call: ServerCall) {
        guard !isOver else { return }
        if !records.isEmpty {
            context.encoder.reset()
            call.send(context.encoder.exportContacts(records))
        }
        guard let next else { return end(call, .ok) }
        export = next
    }

    /// Its bytes are counted as what they are from here on, and the next one may be asked for.
    private func pageIsHere(_ call: ServerCall) {
        call.expectAnswer(0)
        goOn(call)
    }

    private func end(_ call: ServerCall, _ status: RPCStatus) {
        guard !isOver else { return }
        isOver = true
        start = nil
        export = nil
        call.finish(status)
    }
}
