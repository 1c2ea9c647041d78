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

    private mutating func first(_ text: Span<UInt8>) -> State {
        skipSpace(text)
        return position < text.count && text[position] == ASCII.closeBrace
            ? finish(text) : next(text)
    }

    private mutating func finish(_ text: Span<UInt8>) -> State {
        guard skip(ASCII.closeBrace, text) else { return .malformed }
        skipSpace(text)
        return position == text.count ? .end : .malformed
    }

    private mutating func next(_ text: Span<UInt8>) -> State {
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
        if isFirst || JSONName.precedes(text, before, text, member) { return .member }
        return .malformed
    }

    private mutating func skipSpace(_ text: Span<UInt8>) {
        while position < text.count {
            let byte = text[position]
            guard byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 else { return }
            position += 1
        }
    }

    /// White space and this character.
    private mutating func skip(_ byte: UInt8, _ text: Span<UInt8>) -> Bool {
        skipSpace(text)
        guard position < text.count, text[position] == byte else { return false }
        position += 1
        return true
    }

    /// A string; its range is between the quotes.
    private mutating func string(_ text: Span<UInt8>) -> (range: Range<Int>, isEscaped: Bool)? {
        guard position < text.count, text[position] == ASCII.quote else { return nil }
        position += 1
        let start = position
        var isEscaped = false
        while position < text.count {
            let byte = text[position]
            position += 1
            if byte == ASCII.quote { return (start..<position - 1, isEscaped) }
            if byte == ASCII.backslash {
                isEscaped = true
                position += 1
            }
        }
        return nil
    }

    /// Any value; an object or array up to the bracket that closes it.
    private mutating func skipValue(_ text: Span<UInt8>) -> Bool {
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
                guard depth > 0 else { return false }
                depth -= 1
                position += 1
            case _ where depth > 0:
                position += 1
            default:
                return skipScalar(text)
            }
        } while depth > 0
        return true
    }

    /// A number or a word.
    private mutating func skipScalar(_ text: Span<UInt8>) -> Bool {
        let start = position
        while position < text.count {
            switch text[position] {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), ASCII.zero...ASCII.nine, ASCII.hyphen,
                ASCII.dot, UInt8(ascii: "+"), UInt8(ascii: "E"):
                position += 1
            default:
                return position > start
            }
        }
        return position > start
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

    private static func compare(_ left: Span<UInt8>, _ right: Span<UInt8>) -> Int {
        if left.count != right.count { return left.count - right.count }
        for index in left.indices {
            let difference = Int(left[index]) - Int(right[index])
            if difference != 0 { return difference }
        }
        return 0
    }
}
