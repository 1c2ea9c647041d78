// In: a status message of any characters. Out: the percent-encoded text of `grpc-message`, and back.
// On which thread: plain functions, any thread.

/// The coding of `grpc-message` (gRPC PROTOCOL-HTTP2, "Status-Message"): bytes of UTF-8 outside of
/// space to tilde, and the percent sign, become `%XX`; so do spaces at both ends, which no field may
/// have (RFC 9113 section 8.2.1).
enum StatusMessage {
    private static let digits = Array("0123456789ABCDEF".utf8)

    static func encode(_ message: String) -> String {
        let hasOuterSpace = message.utf8.first == 0x20 || message.utf8.last == 0x20
        if !hasOuterSpace, message.utf8.allSatisfy(isPlain) { return message }
        let last = message.utf8.count - 1
        var bytes: [UInt8] = []
        bytes.reserveCapacity(message.utf8.count * 3)
        for (index, byte) in message.utf8.enumerated() {
            let isOuterSpace = byte == UInt8(ascii: " ") && (index == 0 || index == last)
            if isPlain(byte), !isOuterSpace {
                bytes.append(byte)
            } else {
                bytes.append(UInt8(ascii: "%"))
                bytes.append(digits[Int(byte >> 4)])
                bytes.append(digits[Int(byte & 15)])
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// What is not a valid escape stays as it is: the message must never be lost for a bad escape.
    static func decode(_ text: String) -> String {
        let source = Array(text.utf8)
        guard source.contains(UInt8(ascii: "%")) else { return text }
        var bytes: [UInt8] = []
        var index = 0
        while index < source.count {
            if source[index] == UInt8(ascii: "%"), index + 2 < source.count,
                let high = value(source[index + 1]), let low = value(source[index + 2])
            {
                bytes.append(high << 4 | low)
                index += 3
            } else {
                bytes.append(source[index])
                index += 1
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func isPlain(_ byte: UInt8) -> Bool {
        byte >= 0x20 && byte <= 0x7e && byte != UInt8(ascii: "%")
    }

    private static func value(_ digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        default: nil
        }
    }
}
