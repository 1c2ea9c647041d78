// In: how a call ended. Out: how long its server asks to wait before the next one, if it says so, by
// the trailer `grpc-retry-pushback-ms` (gRFC A6) or a `google.rpc.RetryInfo` among the status's
// details. Written by hand, because both messages are of other packages. Pure.

internal import HTTP2
internal import RPC

enum RetryHint {
    /// A longer wait than this is no hint but a mistake.
    private static let longest = Duration.seconds(3600)

    static func delay(_ status: RPCStatus) -> Duration? {
        let pushback = status.metadata["grpc-retry-pushback-ms"].flatMap(Int.init)
        let delay = pushback.map { Duration.milliseconds($0) } ?? status.details.flatMap(retryInfo)
        return delay.flatMap { (.zero...longest).contains($0) ? $0 : nil }
    }

    /// Of `google.rpc.Status{repeated Any details = 3}` with `Any{type_url = 1, value = 2}` and
    /// `RetryInfo{Duration retry_delay = 1}`.
    private static func retryInfo(_ status: [UInt8]) -> Duration? {
        for detail in ProtobufFields(status) where detail.number == 3 {
            let fields = Array(ProtobufFields(detail.bytes))
            let name: [UInt8] = fields.last(where: { $0.number == 1 })?.bytes ?? []
            guard String(decoding: name, as: UTF8.self).hasSuffix("/google.rpc.RetryInfo"),
                let info = fields.last(where: { $0.number == 2 }),
                let delay = ProtobufFields(info.bytes).first(where: { $0.number == 1 })
            else { continue }
            let parts = Array(ProtobufFields(delay.bytes))
            let seconds = parts.last(where: { $0.number == 1 })?.value ?? 0
            let nanoseconds = parts.last(where: { $0.number == 2 })?.value ?? 0
            return .seconds(Int64(clamping: seconds)) + .nanoseconds(Int64(clamping: nanoseconds))
        }
        return nil
    }
}

/// The fields of a protobuf message of numbers and messages; it ends where it is malformed.
private struct ProtobufFields: Sequence, IteratorProtocol {
    struct Field {
        var number: UInt64
        var value: UInt64 = 0
        var bytes: [UInt8] = []
    }

    private var rest: ArraySlice<UInt8>

    init(_ bytes: [UInt8]) { rest = bytes[...] }

    mutating func next() -> Field? {
        guard let tag = rest.popVarint(), let value = rest.popVarint() else { return nil }
        switch tag & 7 {
        case 0: return Field(number: tag >> 3, value: value)
        case 2:
            guard value <= UInt64(rest.count) else { return nil }
            defer { rest = rest.dropFirst(Int(value)) }
            return Field(number: tag >> 3, bytes: Array(rest.prefix(Int(value))))
        default: return nil
        }
    }
}
