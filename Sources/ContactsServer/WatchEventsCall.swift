// One WatchEvents call: an offset in, the events after it out, and then each new one as it is
// committed. Event loop thread; the queries run on the reader's, the wake-ups come from the feed's.
//
// The call is registered with the feed before it looks first, and a wake-up while a look is under
// way makes it look again; so between an empty page and sleep nothing is lost.

internal import Contacts
internal import Ingest
internal import NIOCore
internal import RPC

final class WatchEventsCall: CallHandler {
    private let engine: IngestEngine
    private let caller: Caller
    private let context: LoopContext
    private var onlyMessage = OnlyMessage()
    private var workspace: Workspace?
    private var watch: EventWatch?
    private var position = EventPosition.oldest
    private var isLooking = false
    /// There may be events that no look has seen.
    private var mustLook = true
    private var isOver = false

    init(engine: IngestEngine, caller: Caller, context: LoopContext) {
        self.engine = engine
        self.caller = caller
        self.context = context
    }

    func messagesAvailable(_ call: ServerCall) {
        guard !isOver, let message = onlyMessage.take(from: call) else { return }
        defer { context.decoder.release() }
        let offset: UInt64
        do throws(DecodeError) {
            offset = try message.decode { bytes throws(DecodeError) in
                try context.decoder.decodeWatchEvents(bytes)
            }
        } catch {
            return end(call, call.status(of: error, in: message, named: "WatchEventsRequest"))
        }
        call.returnCredit(message.creditByteCount)
        // No event has the greatest number, so what is clamped lies beyond the last one too.
        position = offset == 0 ? .oldest : .after(Int64(clamping: offset))
        call.findWorkspace(of: caller, engine) { found in
            switch found {
            case .success(let workspace): self.begin(in: workspace, call)
            case .failure(let status): self.end(call, status)
            }
        }
    }

    func writable(_ call: ServerCall) { look(call) }

    func draining(_ call: ServerCall) { end(call, .shuttingDown) }

    func ended(_ call: ServerCall, by cause: CallEnd) { letGo() }

    private func begin(in workspace: Workspace, _ call: ServerCall) {
        guard !isOver else { return }
        self.workspace = workspace
        watch = engine.watchEvents(
            in: workspace,
            wake: call.backOnLoop { [weak self, weak call] in
                if let self, let call { self.lookAgain(call) }
            })
        look(call)
        checkFromTimeToTime(call)
    }

    /// The safety net, should a notification ever fail to come.
    private func checkFromTimeToTime(_ call: ServerCall) {
        call.later(ServerLimits.watchInterval) { [weak self, weak call] in
            guard let self, let call, !self.isOver else { return }
            self.lookAgain(call)
            self.checkFromTimeToTime(call)
        }
    }

    private func lookAgain(_ call: ServerCall) {
        mustLook = true
        look(call)
    }

    private func look(_ call: ServerCall) {
        guard !isOver, mustLook, !isLooking, let workspace,
            call.unsentByteCount <= ServerLimits.unsentBytes, call.mayAnswer(atOnce: false)
        else { return }
        isLooking = true
        mustLook = false
        call.expectAnswer(ServerLimits.pageBytes)
        engine.events(
            after: position, in: workspace,
            completion: call.backOnLoop { result in
                self.take(result, call)
                call.expectAnswer(0)
                self.isLooking = false
                self.look(call)
            })
    }

    private func take(_ result: Result<EventPage, ReaderError>, _ call: ServerCall) {
        guard !isOver else { return }
        switch result {
        case .success(.events(let events, let next)):
            position = next
            if !events.isEmpty {
                mustLook = true
                context.encoder.reset()
                call.send(context.encoder.watchEvents(events))
            }
        case .success(.removed(let oldest)): end(call, .eventsRemoved(oldest: oldest))
        case .success(.beyond(let last)): end(call, .eventsBeyond(last: last))
        case .failure(.overloaded):
            call.later(ServerLimits.overloadPause) { self.lookAgain(call) }
        case .failure(let error): end(call, RPCStatus(error))
        }
    }

    private func end(_ call: ServerCall, _ status: RPCStatus) {
        guard !isOver else { return }
        letGo()
        call.finish(status)
    }

    private func letGo() {
        isOver = true
        watch?.cancel()
        watch = nil
    }
}
