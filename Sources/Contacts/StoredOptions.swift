// The options of an import as bytes that are kept with it: a `contacts.v1.UpsertOptions` message.
//
// In: options, or bytes that were kept. Out: the other. Any thread.

internal import CContactsProto
internal import CProtobufC

extension UpsertOptions {
    /// The options as one message.
    package func packed() -> [UInt8] {
        let arena = Arena(budget: .max, blockByteCount: Self.arenaByteCount)
        let message = PackedMessage(MessageBuilder(arena: arena).options(self))
        return [UInt8](unsafeUninitializedCapacity: message.byteCount) { buffer, count in
            count = message.write(to: UnsafeMutableRawBufferPointer(buffer))
        }
    }

    /// - Throws: `DecodeError` when the bytes are not such a message.
    package init(packed bytes: [UInt8]) throws(DecodeError) {
        let arena = Arena(budget: RequestDecoder.unpackedByteLimit)
        let message = bytes.withUnsafeBytes {
            arena.unpack($0, contacts__v1__upsert_options__unpack)
        }
        guard let message else { throw DecodeError.malformed }
        self = try RequestDecoder.options(message)
    }

    /// The first option that has to be the same and is not.
    package func differing(from first: UpsertOptions) -> String? {
        if matchBy != first.matchBy { return "match_by" }
        if writeMode != first.writeMode { return "write_mode" }
        if existence != first.existence { return "existence" }
        if defaultDialCode != first.defaultDialCode { return "default_dial_code" }
        if joinedLists != first.joinedLists { return "list_ids" }
        if runWorkflow != first.runWorkflow { return "run_workflow" }
        if validateOnly != first.validateOnly { return "validate_only" }
        return nil
    }

    /// The lists that every contact joins: each once, in order, without 0, which is no list.
    package var joinedLists: [Int64] { Set(listIDs).subtracting([0]).sorted() }

    /// Enough for options without many labels; more add blocks.
    private static let arenaByteCount = 4096
}
