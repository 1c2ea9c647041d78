// Between the RPC layer's buffers and the codec of the messages. Event loop thread.

internal import Contacts
internal import NIOCore
internal import RPC

/// Request metadata that the service knows.
enum Metadata {
    /// The workspace that a call belongs to.
    static let workspace = "contacts-workspace"
}

extension ReceivedMessage {
    func decode(
        with decoder: RequestDecoder
    ) throws(DecodeError) -> (options: UpsertOptions?, firstSequence: UInt64) {
        try bytes.withUnsafeReadableBytes { bytes throws(DecodeError) in
            try decoder.decodeBulkUpsert(bytes)
        }
    }

    func decodeUpsertContacts(
        with decoder: RequestDecoder
    ) throws(DecodeError) -> UpsertOptions {
        try bytes.withUnsafeReadableBytes { bytes throws(DecodeError) in
            try decoder.decodeUpsertContacts(bytes)
        }
    }

    func decodeGetContacts(with decoder: RequestDecoder) throws(DecodeError) -> [ContactKey?] {
        try bytes.withUnsafeReadableBytes { bytes throws(DecodeError) in
            try decoder.decodeGetContacts(bytes)
        }
    }
}

extension ServerCall {
    /// Sends a message, packed straight into the call's buffer.
    func send(_ message: PackedMessage) {
        send(maxByteCount: message.byteCount) { buffer in
            buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: message.byteCount) {
                message.write(to: $0)
            }
        }
    }
}
