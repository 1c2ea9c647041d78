// The results of one response message, packed as they come.
//
// In: outcomes one at a time. Out: the bytes of the field `results`, which has the same number in both
// messages that have it. Event loop thread; its memory is reused.
//
// Nearly all results are of contacts that did not fail: four fields of known size, whose bytes are
// written here, in the order in which protobuf-c has them. Errors are packed by protobuf-c.

internal import CContactsProto
internal import CProtobufC

package struct ResultList {
    /// Each result behind its tag and length.
    private(set) var bytes: [UInt8] = []
    /// Results appended since the last reset.
    package private(set) var count = 0
    /// Holds one error at a time.
    private let arena = Arena(budget: .max, blockByteCount: RequestEncoder.arenaByteCount)

    mutating func reset() {
        bytes.removeAll(keepingCapacity: true)
        count = 0
    }

    /// Adds a result of a contact that did not fail.
    package mutating func append(sequence: UInt64, status: UpsertStatus, id: ContactID) {
        count += 1
        // A contact that is not there has no id to tell.
        let idByteCount = id == ContactID(high: 0, low: 0) ? 0 : ContactID.textByteCount
        let byteCount =
            (sequence == 0 ? 0 : 1 + Varint.byteCount(sequence)) + 2
            + (idByteCount == 0 ? 0 : 2 + idByteCount)
        bytes.write(upTo: 2 + byteCount) { start in
            var end = ByteCursor(start)
            end.put(WireTag.bytes(1))
            end.put(UInt8(byteCount))
            if sequence != 0 {
                end.put(WireTag.varint(1))
                end.put(varint: sequence)
            }
            end.put(WireTag.varint(2))
            end.put(status.rawValue)
            if idByteCount > 0 {
                end.put(WireTag.bytes(3))
                end.put(UInt8(idByteCount))
                end.put(id)
            }
            return end.count(from: start)
        }
    }

    /// Adds a result of a contact that failed.
    package mutating func append(sequence: UInt64, error: ContactError) {
        count += 1
        arena.reset()
        let builder = MessageBuilder(arena: arena)
        let result = builder.make(
            Contacts__V1__ContactResult.self, contacts__v1__contact_result__init)
        let message = builder.make(
            Contacts__V1__ContactError.self, contacts__v1__contact_error__init)
        message?.pointee.reason = arena.copy(error.reasonText)
        message?.pointee.field = arena.copy(error.field)
        message?.pointee.message = arena.copy(error.message)
        message?.pointee.retryable = error.retryable ? 1 : 0
        message?.pointee.conflicting_id = arena.copy(error.conflictingID)
        result?.pointee.sequence = sequence
        result?.pointee.status = Contacts__V1__UpsertStatus(UInt32(UpsertStatus.failed.rawValue))
        result?.pointee.error = message
        let packed = PackedMessage(result)
        bytes.write(upTo: 1 + Varint.maxByteCount + packed.byteCount) { start in
            var end = ByteCursor(start)
            end.put(WireTag.bytes(1))
            end.put(varint: UInt64(packed.byteCount))
            let byteCount = end.count(from: start)
            return byteCount
                + packed.write(
                    to: UnsafeMutableRawBufferPointer(
                        start: start + byteCount, count: packed.byteCount))
        }
    }
}
