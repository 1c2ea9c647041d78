// grpc.health.v1.Health: whether contacts can be committed (gRPC, "GRPC Health Checking Protocol").
//
// In: `HealthCheckRequest{string service = 1}`. Out: `HealthCheckResponse{ServingStatus status =
// 1}`, once for Check, at each change for Watch; for List `HealthListResponse{map<string,
// HealthCheckResponse> statuses = 1}` (gRFC A90). Event loop thread.
//
// While the database is away, uploads may use up the window that all calls of a connection share.
// Then the request cannot come, and just then somebody asks: the answer is for the whole server.

internal import Ingest
internal import NIOCore
internal import RPC

final class HealthCall: CallHandler {
    enum Method {
        case check
        case list
        case watch
    }

    /// `HealthCheckResponse.ServingStatus`.
    private enum ServingStatus: UInt8 {
        case serving = 1
        case notServing = 2
        case serviceUnknown = 3
    }

    /// The server as a whole, and its service.
    private static let services = ["", "contacts.v1.ContactService"]
    /// A watcher learns of a change this soon.
    private static let watchInterval = TimeAmount.milliseconds(250)

    /// How long a request may take before it is looked whether it can come at all.
    private static let requestPatience = TimeAmount.milliseconds(250)

    private let method: Method
    private let engine: IngestEngine
    private var onlyMessage = OnlyMessage()
    private var lastTold: ServingStatus?
    private var isDraining = false
    private var isOver = false

    /// Whether it is known what is asked.
    private var isAsked = false

    init(_ method: Method, engine: IngestEngine) {
        self.method = method
        self.engine = engine
    }

    /// Waits for the request, as long as it can come.
    func wait(for call: ServerCall) {
        call.eventLoop.assumeIsolated().scheduleTask(in: Self.requestPatience) {
            [weak self, weak call] in
            guard let self, let call, !self.isAsked, !self.isOver, !call.isFinished else { return }
            if call.isHeldBack { self.answer(call, about: "") } else { self.wait(for: call) }
        }
    }

    func messagesAvailable(_ call: ServerCall) {
        guard !isOver, !isAsked, let message = onlyMessage.take(from: call) else { return }
        call.returnCredit(message.creditByteCount)
        guard let service = try? Self.service(message.bytes) else {
            call.refused(.malformedMessage)
            return call.finish(
                .malformed(method == .list ? "HealthListRequest" : "HealthCheckRequest"))
        }
        answer(call, about: service)
    }

    private func answer(_ call: ServerCall, about service: String) {
        isAsked = true
        let isKnown = Self.services.contains(service)
        switch method {
        case .check where isKnown:
            tell(call, status)
            call.finish(.ok)
        case .check:
            call.finish(.unknownService)
        case .list:
            list(call)
        case .watch where isKnown:
            watch(call)
        case .watch:
            // The stream stays open: the service may come to be.
            tell(call, .serviceUnknown)
        }
    }

    func writable(_ call: ServerCall) {}

    func draining(_ call: ServerCall) {
        isDraining = true
        guard method == .watch else { return }
        tell(call, .notServing)
        isOver = true
        call.finish(.shuttingDown)
    }

    func ended(_ call: ServerCall, by cause: CallEnd) { isOver = true }

    private var status: ServingStatus {
        !isDraining && engine.canCommit ? .serving : .notServing
    }

    private func list(_ call: ServerCall) {
        var response = WireWriter()
        for service in Self.services {
            response.message(1) { entry in
                entry.text(1, service)
                entry.message(2) { $0.number(1, UInt64(status.rawValue)) }
            }
        }
        call.send(maxByteCount: response.bytes.count) { $0.writeBytes(response.bytes) }
        call.finish(.ok)
    }

    private func watch(_ call: ServerCall) {
        guard !isOver else { return }
        if status != lastTold { tell(call, status) }
        call.eventLoop.assumeIsolated().scheduleTask(in: Self.watchInterval) {
            [weak self, weak call] in
            if let self, let call { self.watch(call) }
        }
    }

    private func tell(_ call: ServerCall, _ status: ServingStatus) {
        lastTold = status
        call.send(maxByteCount: 2) { $0.writeBytes([1 << 3, status.rawValue]) }
    }

    /// The request's one field; other fields are skipped, as protobuf asks.
    private static func service(_ bytes: ByteBuffer) throws(WireError) -> String {
        var service = ""
        var reader = WireReader(bytes.readableBytesView)
        while let field = try reader.next() {
            if field.number == 1 { service = field.value.text }
        }
        return service
    }
}
