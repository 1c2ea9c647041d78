// The contacts of a message that are too much to have in memory at once: unpacked one at a time.
//
// In: one whole message. Out: each contact when it is asked for, until the next one is; and the
// rest of the message. Event loop thread.
//
// A structure takes many times the bytes of a short text, and protobuf-c notes the place of each
// field while it reads. So a message of 4 MiB within every limit may unpack to some 60 MiB. Such
// messages are rare, and reading them twice costs less than that memory.

internal import CContactsProto
internal import CProtobufC

final class ContactsApart {
    /// What one contact may unpack to: so many times its bytes on the wire, and a structure. The
    /// shortest custom field is one of seven bytes, which takes 200 with the note of its place; an
    /// empty one of two takes 136.
    static let unpackedBytesPerByte = 32
    static let unpackedBytesOfNone = 4 * 1024
    /// What any contact may unpack to: less than a message, since the copy of the message stands
    /// beside it. One that is not over its limit stays far below.
    static let unpackedByteLimit = 6 * 1024 * 1024
    /// What the rest may unpack to: options with all their labels take some 20 KiB.
    static let restByteLimit = 1024 * 1024
    /// Fields beside the contacts; there are two, and those that are not known.
    static let restFieldLimit = 1_000

    /// The message without its contacts, and with whatever is no whole field.
    let rest: [UInt8]
    private let bytes: [UInt8]
    private let places: [Range<Int>]
    private let arena = Arena(budget: ContactsApart.unpackedByteLimit)

    var count: Int { places.count }

    /// Unpacks each contact once, so that nothing is taken of a message with a malformed one.
    ///
    /// - Parameter number: The contacts' field.
    init(of number: UInt8, in message: UnsafeRawBufferPointer) throws(DecodeError) {
        var rest: [UInt8] = []
        var restCount = 0
        var places: [Range<Int>] = []
        let end = WireFields.walk(message) { field in
            if field.isPlain(number), let content = field.content {
                places.append(content)
            } else {
                rest.append(contentsOf: message[field.whole])
                restCount += 1
            }
            return places.count <= RequestDecoder.contactLimit && restCount <= Self.restFieldLimit
        }
        guard places.count <= RequestDecoder.contactLimit, restCount <= Self.restFieldLimit else {
            throw DecodeError.tooComplex
        }
        rest.append(contentsOf: message[end...])
        self.rest = rest
        self.places = places
        bytes = [UInt8](message)
        for index in places.indices where contact(at: index) == nil {
            throw arena.isExhausted ? DecodeError.tooComplex : DecodeError.malformed
        }
    }

    /// Unpacks one contact. The one before is gone.
    func contact(at index: Int) -> UnsafeMutablePointer<Contacts__V1__Contact>? {
        let place = places[index]
        let budget = Self.unpackedBytesOfNone + place.count * Self.unpackedBytesPerByte
        return bytes.withUnsafeBytes {
            arena.unpack(
                UnsafeRawBufferPointer(rebasing: $0[place]), atMost: budget,
                contacts__v1__contact__unpack)
        }
    }
}
