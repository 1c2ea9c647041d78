// The text of a key. In: what a caller presents, or chance. Out: the number that finds the key, and
// the hash that proves it. Plain values, any thread.

internal import Crypto

/// A key as its owner has it: `ck_`, 16 hexadecimal digits that name it, `_`, 64 that are secret.
///
/// The secret has 256 random bits, so one plain SHA-256 of it is safe to store: there is nothing to
/// guess that a slow hash would have to protect. Never logged, and not described.
package struct AccessKey: Sendable {
    /// Finds the key; not secret.
    package let id: String
    private let secret: String

    private static let prefix = "ck_"
    private static let idDigitCount = 16
    private static let secretDigitCount = 64
    static let textByteCount = prefix.utf8.count + idDigitCount + 1 + secretDigitCount

    /// A new one. The system's generator is seeded by the kernel and fit for secrets.
    package init() {
        func digits(_ count: Int) -> String {
            let digits = Array("0123456789abcdef")
            return String((0..<count).map { _ in digits[Int.random(in: 0..<16)] })
        }
        id = digits(Self.idDigitCount)
        secret = digits(Self.secretDigitCount)
    }

    /// Reads what a caller presents; `nil` if it cannot be a key.
    package init?(_ text: String) {
        guard text.utf8.count == Self.textByteCount, text.hasPrefix(Self.prefix) else { return nil }
        let parts = text.utf8.dropFirst(Self.prefix.utf8.count)
            .split(separator: UInt8(ascii: "_"), omittingEmptySubsequences: false)
        guard parts.count == 2, parts[0].count == Self.idDigitCount,
            parts.allSatisfy({ $0.allSatisfy(Self.isDigit) })
        else { return nil }
        id = String(decoding: parts[0], as: UTF8.self)
        secret = String(decoding: parts[1], as: UTF8.self)
    }

    private static func isDigit(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
            || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte)
    }

    /// What the owner is given, once.
    package var text: String { Self.prefix + id + "_" + secret }

    /// What is stored.
    var hash: [UInt8] { Array(SHA256.hash(data: Array(secret.utf8))) }

    /// Whether the hash is this key's. Digests are compared in constant time.
    func matches(_ hash: [UInt8]) -> Bool { SHA256.hash(data: Array(secret.utf8)) == hash }
}
