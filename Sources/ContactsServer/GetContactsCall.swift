// One GetContacts call: keys in, an entry for each out. Event loop thread; the query runs on the
// reader's.

internal import Contacts
internal import Ingest
internal import NIOCore
internal import RPC

final class GetContactsCall: CallHandler {
    private let engine: IngestEngine
    private let context: LoopContext
    private var onlyMessage = OnlyMessage()
    private var isOver = false

    init(engine: IngestEngine, context: LoopContext) {
        self.engine = engine
        self.context = context
    }

    func messagesAvailable(_ call: ServerCall) {
        guard !isOver, let message = onlyMessage.take(from: call) else { return }
        let keys: [ContactKey?]
        do throws(DecodeError) {
            keys = try message.decodeGetContacts(with: context.decoder)
        } catch {
            return end(call, RPCStatus(error, message: "GetContactsRequest"))
        }
        call.returnCredit(message.creditByteCount)
        guard keys.count <= ServerLimits.keysPerLookup else {
            return end(
                call,
                RPCStatus(
                    .invalidArgument,
                    "keys: the call has \(keys.count); the limit is \(ServerLimits.keysPerLookup)"))
        }
        call.findWorkspace(engine) { found in
            switch found {
            case .success(let workspace): self.find(keys, in: workspace, call)
            case .failure(let status): self.end(call, status)
            }
        }
    }

    private func find(_ keys: [ContactKey?], in workspace: Workspace, _ call: ServerCall) {
        let bound = NIOLoopBound((self, call), eventLoop: call.eventLoop)
        let eventLoop = call.eventLoop
        engine.contacts(keys, in: workspace) { result in
            eventLoop.execute { bound.value.0.answer(bound.value.1, result) }
        }
    }

    func writable(_ call: ServerCall) {}

    /// The call is short: it is answered before the connection closes.
    func draining(_ call: ServerCall) {}

    func ended(_ call: ServerCall, by cause: CallEnd) { isOver = true }

    private func answer(_ call: ServerCall, _ result: Result<[ContactRecord?], ReaderError>) {
        guard !isOver else { return }
        switch result {
        case .success(let records):
            context.encoder.reset()
            call.send(context.encoder.getContacts(records))
            end(call, .ok)
        case .failure(let error):
            end(call, RPCStatus(error))
        }
    }

    private func end(_ call: ServerCall, _ status: RPCStatus) {
        guard !isOver else { return }
        isOver = true
        call.finish(status)
    }
}
