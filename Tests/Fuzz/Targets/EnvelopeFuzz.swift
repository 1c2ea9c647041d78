// In: a stream of envelopes. Out: nothing; wherever the stream is cut, whenever it is pulled and
// settled, the same messages must come and the same fault must end them.

import NIOCore
import RPC

enum EnvelopeFuzz {
    private static let limit = 600

    private struct Outcome: Equatable {
        var messages: [[UInt8]] = []
        var fault: EnvelopeError?
    }

    /// How a call may use the reader.
    private struct Habits {
        var pullsAtOnce = true
        var settles = false
        var pullsOne = false
    }

    static func check(_ bytes: [UInt8]) {
        var cuts = Cuts(bytes)
        let whole = read([bytes[...]], Habits())
        let model = expected(bytes)
        demand(whole == model, "the reader gave \(whole), the bytes say \(model)")
        for chunks in cuts.all(of: bytes) {
            for pullsAtOnce in [true, false] {
                let habits = Habits(
                    pullsAtOnce: pullsAtOnce, settles: cuts.number(below: 2) == 1,
                    pullsOne: cuts.number(below: 2) == 1)
                let outcome = read(chunks, habits)
                demand(outcome == whole, "\(habits) gave \(outcome), not \(whole)")
            }
        }
    }

    private static func read(_ chunks: [ArraySlice<UInt8>], _ habits: Habits) -> Outcome {
        var reader = EnvelopeReader(maxMessageByteCount: limit)
        var outcome = Outcome()
        var unread = 0
        do throws(EnvelopeError) {
            for chunk in chunks {
                reader.append(ByteBuffer(bytes: chunk))
                unread += chunk.count
                let count = outcome.messages.count
                if habits.pullsAtOnce {
                    if habits.pullsOne {
                        if let message = try reader.next() { outcome.messages.append(message) }
                    } else {
                        try pull(&reader, &outcome)
                    }
                }
                if habits.settles { reader.settle() }
                for message in outcome.messages[count...] {
                    unread -= message.count + Envelope.prefixByteCount
                }
                demand(
                    reader.unreadByteCount == unread,
                    "\(reader.unreadByteCount) bytes are unread, not \(unread)")
            }
            try pull(&reader, &outcome)
            try reader.finish()
        } catch {
            outcome.fault = error
        }
        return outcome
    }

    private static func pull(
        _ reader: inout EnvelopeReader, _ outcome: inout Outcome
    ) throws(EnvelopeError) {
        while let message = try reader.next() { outcome.messages.append(message) }
        demand(!reader.mayHoldMessages, "nil was said though there may be messages")
    }

    /// By the letter of gRPC's PROTOCOL-HTTP2, "Length-Prefixed-Message".
    private static func expected(_ bytes: [UInt8]) -> Outcome {
        var outcome = Outcome()
        var rest = bytes[...]
        while let flag = rest.first {
            if flag == 1 { outcome.fault = .compressed }
            if flag > 1 { outcome.fault = .unknownFlag(flag) }
            guard outcome.fault == nil else { return outcome }
            let length = rest.dropFirst().prefix(4).reduce(0) { $0 << 8 | Int($1) }
            let isWhole = rest.count >= 5
            if isWhole, length > limit {
                outcome.fault = .tooLong(byteCount: length, limit: limit)
                return outcome
            }
            guard isWhole, rest.count >= 5 + length else {
                outcome.fault = .truncated
                return outcome
            }
            outcome.messages.append(Array(rest.dropFirst(5).prefix(length)))
            rest = rest.dropFirst(5 + length)
        }
        return outcome
    }
}

extension [[UInt8]] {
    fileprivate mutating func append(_ message: ByteBuffer) {
        append([UInt8](message.readableBytesView))
    }
}
