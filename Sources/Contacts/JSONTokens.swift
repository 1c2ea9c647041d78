// Walks over the members of a JSON object as raw tokens, without building values.
// In: JSON text, in jsonb's form or any other. Out: where names and values stand.
// Pure functions, any thread. Text that is no JSON object ends the walk as malformed; every place
// is checked before it is read, for the text may have been written by another program.

/// A member of an object; all places are in its text.
struct JSONMember {
    /// Between the quotes.
    var name: Range<Int>
    /// Whether the name holds escapes.
    var nameIsEscaped: Bool
    var value: Range<Int>

    /// `"name": value`, as it stands.
    var whole: Range<Int> { name.lowerBound - 1..<value.upperBound }
}

/// A walk over an object's members.
struct JSONWalk {
    enum State: Equatable {
        case begin
        case member
        case end
        case malformed
    }

    private(set) var state = State.begin
    /// The member that the walk stands on when `state` is `.member`.
    private(set) var member = JSONMember(name: 0..<0, nameIsEscaped: false, value: 0..<0)
    private var position = 0

    /// Goes to the next member. The empty text is an object without members.
    mutating func advance(_ text: Span<UInt8>) {
        text.withUnsafeBufferPointer { text in
            switch state {
            case .begin:
                if text.isEmpty {
                    state = .end
                } else {
                    state = skip(ASCII.openBrace, text) ? first(text) : .malformed
                }
            case .member:
                state = skip(ASCII.comma, text) ? next(text) : finish(text)
            case .end, .malformed:
                break
            }
        }
    }

    /// Its subscript is not checked in a release build; each place is checked by hand.
    private typealias Text = UnsafeBufferPointer<UInt8>

    private mutating func first(_ text: Text) -> State {
        skipSpace(text)
        return position < text.count && text[position] == ASCII.closeBrace
            ? finish(text) : next(text)
    }

    private mutating func finish(_ text: Text) -> State {
        guard skip(ASCII.closeBrace, text) else { return .malformed }
        skipSpace(text)
        return position == text.count ? .end : .malformed
    }

    private mutating func next(_ text: Text) -> State {
        skipSpace(text)
        let before = member
        let isFirst = before.name.isEmpty && before.value.isEmpty
        guard let name = string(text), skip(ASCII.colon, text) else { return .malformed }
        skipSpace(text)
        let start = position
        guard skipValue(text) else { return .malformed }
        member = JSONMember(
            name: name.range, nameIsEscaped: name.isEscaped, value: start..<position)
        // Only in jsonb's order can two objects be walked side by side.
        if isFirst || JSONName.precedes(text.span, before, text.span, member) { return .member }
        return .malformed
    }

    @inline(__always)
    private mutating func skipSpace(_ text: Text) {
        while position < text.count {
            let byte = text[position]
            guard byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 else { return }
            position += 1
        }
    }

    /// White space and this character.
    @inline(__always)
    private mutating func skip(_ byte: UInt8, _ text: Text) -> Bool {
        skipSpace(text)
        guard position < text.count, text[position] == byte else { return false }
        position += 1
        return true
    }

    /// A string; its range is between the quotes.
    @inline(__always)
    private mutating func string(_ text: Text) -> (range: Range<Int>, isEscaped: Bool)? {
        guard position < text.count, text[position] == ASCII.quote else { return nil }
        let start = position + 1
        var place = start
        var isEscaped = false
        while place < text.count {
            place = Self.skipPlain(text, place)
            guard place < text.count else { break }
            let byte = text[place]
            place += 1
            if byte == ASCII.quote {
                position = place
                return (start..<place - 1, isEscaped)
            }
            if byte == ASCII.backslash {
                isEscaped = true
                place += 1
            }
        }
        position = place
        return nil
    }

    /// Goes on to the next quote or backslash, or near the end; eight bytes at a time.
    @inline(__always)
    private static func skipPlain(_ text: Text, _ start: Int) -> Int {
        let ones: UInt64 = 0x0101_0101_0101_0101
        var place = start
        while place + 8 <= text.count {
            let word = UInt64(
                littleEndian: UnsafeRawBufferPointer(text).loadUnaligned(
                    fromByteOffset: place, as: UInt64.self))
            let quote = word ^ (ones &* UInt64(ASCII.quote))
            let backslash = word ^ (ones &* UInt64(ASCII.backslash))
            // The lowest bit set is that of the first byte which is either.
            let found =
                ((quote &- ones) & ~quote | (backslash &- ones) & ~backslash) & (ones &* 0x80)
            if found != 0 { return place + found.trailingZeroBitCount / 8 }
            place += 8
        }
        return place
    }

    /// Any value; an object or array up to the bracket that closes it.
    @inline(__always)
    private mutating func skipValue(_ text: Text) -> Bool {
        guard position < text.count else { return false }
        switch text[position] {
        case ASCII.quote: return string(text) != nil
        case ASCII.openBrace, UInt8(ascii: "["): return skipNested(text)
        default: return skipScalar(text)
        }
    }

    private mutating func skipNested(_ text: Text) -> Bool {
        var depth = 0
        repeat {
            guard position < text.count else { return false }
            switch text[position] {
            case ASCII.quote:
                guard string(text) != nil else { return false }
            case ASCII.openBrace, UInt8(ascii: "["):
                depth += 1
                position += 1
            case ASCII.closeBrace, UInt8(ascii: "]"):
                depth -= 1
                position += 1
            default:
                position += 1
            }
        } while depth > 0
        return true
    }

    /// A number or a word.
    @inline(__always)
    private mutating func skipScalar(_ text: Text) -> Bool {
        let start = position
        var place = start
        while place < text.count, Self.isOfScalar(text[place]) { place += 1 }
        position = place
        return place > start
    }

    @inline(__always)
    private static func isOfScalar(_ byte: UInt8) -> Bool {
        if byte &- ASCII.zero < 10 || byte &- UInt8(ascii: "a") < 26 { return true }
        return byte == ASCII.dot || byte == ASCII.hyphen || byte == UInt8(ascii: "+")
            || byte == UInt8(ascii: "E")
    }
}

/// Names of members, compared as jsonb does: the shorter first, then by bytes, both unescaped.
enum JSONName {
    static func precedes(
        _ leftText: Span<UInt8>, _ left: JSONMember, _ rightText: Span<UInt8>, _ right: JSONMember
    ) -> Bool {
        compare(leftText, left, rightText, right) < 0
    }

    /// Less than, equal to or greater than 0.
    static func compare(
        _ leftText: Span<UInt8>, _ left: JSONMember, _ rightText: Span<UInt8>, _ right: JSONMember
    ) -> Int {
        if left.nameIsEscaped || right.nameIsEscaped {
            let a = JSONString.unescape(leftText.extracting(left.name))
            let b = JSONString.unescape(rightText.extracting(right.name))
            return compare(a.span, b.span)
        }
        return compare(leftText.extracting(left.name), rightText.extracting(right.name))
    }

    @inline(__always)
    private static func compare(_ left: Span<UInt8>, _ right: Span<UInt8>) -> Int {
        if left.count != right.count { return left.count - right.count }
        return left.withUnsafeBufferPointer { left in
            right.withUnsafeBufferPointer { right in
                var index = 0
                while index < left.count {
                    let difference = Int(left[index]) - Int(right[index])
                    if difference != 0 { return difference }
                    index += 1
                }
                return 0
            }
        }
    }
}
