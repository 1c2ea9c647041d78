// grpc.health.v1.Health/Check on the wire (gRPC, "GRPC Health Checking Protocol").
//
// In: the bytes of a `HealthCheckResponse{ServingStatus status = 1}`. Out: the status. Written by
// hand, because it is one field of another package. Any thread.

/// What a server says of itself.
public enum ServingStatus: Sendable, Equatable {
    /// It takes contacts and can commit them.
    case serving
    /// It cannot commit at present, or shuts down.
    case notServing
    /// It does not say.
    case unknown
}

enum HealthCheck {
    static let path = "/grpc.health.v1.Health/Check"

    /// The message of a `HealthCheckRequest` about the server as a whole, whose name is empty.
    static let request: [UInt8] = []

    /// The status of a response; nil when it is malformed. Other fields are skipped, as protobuf
    /// asks.
    static func status(_ bytes: UnsafeRawBufferPointer) -> ServingStatus? {
        var rest = bytes[...]
        var status = ServingStatus.unknown
        while !rest.isEmpty {
            guard let tag = rest.popVarint() else { return nil }
            switch tag & 7 {
            case 0:
                guard let value = rest.popVarint() else { return nil }
                if tag >> 3 == 1 { status = ServingStatus(value) }
            case 1: guard skip(8, &rest) else { return nil }
            case 2: guard let length = rest.popVarint(), skip(length, &rest) else { return nil }
            case 5: guard skip(4, &rest) else { return nil }
            default: return nil
            }
        }
        return status
    }

    private static func skip(_ count: UInt64, _ rest: inout Slice<UnsafeRawBufferPointer>) -> Bool {
        guard count <= UInt64(rest.count) else { return false }
        rest = rest.dropFirst(Int(count))
        return true
    }
}

extension ServingStatus {
    /// `HealthCheckResponse.ServingStatus`.
    fileprivate init(_ value: UInt64) {
        switch value {
        case 1: self = .serving
        case 2: self = .notServing
        default: self = .unknown
        }
    }
}
