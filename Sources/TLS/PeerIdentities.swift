// In: a certificate that was verified. Out: the names that its authority gave its owner, and whether
// a server's name is among them.
// On which thread: the connection's event loop.

internal import NIOSSL

enum PeerIdentities {
    /// URIs, then DNS names; the common name where there are neither (RFC 9525 section 2 on it).
    /// A name counts only when it has the shape of its kind, so that none passes for another:
    /// authorities are careful with URIs and often not with common names.
    static func of(_ certificate: NIOSSLCertificate) -> [String] {
        let names = certificate._subjectAlternativeNames()
        let uris = names.filter { $0.nameType == .uri }.compactMap(text).filter(isURI)
        let hosts = hosts(of: certificate)
        let found = uris + hosts
        if !found.isEmpty { return found }
        return certificate.subjectName.filter { $0.type == .commonName }.map(\.value)
            .filter(isCommonName)
    }

    /// Whether a server that was asked for by this name may show this certificate. NIOSSL would also
    /// be content with the address that the name was resolved to, so who can forge the answers of a
    /// name server would need a certificate for an address of his own alone.
    static func has(_ name: String, _ certificate: NIOSSLCertificate) -> Bool {
        hosts(of: certificate).contains { matches(name, $0) }
    }

    /// The same, or its first label is the pattern's only `*` (RFC 9525 section 6.3).
    static func matches(_ name: String, _ pattern: String) -> Bool {
        var name = name.lowercased()
        if name.hasSuffix(".") { name.removeLast() }
        let pattern = pattern.lowercased()
        if name == pattern { return !name.isEmpty && !pattern.contains("*") }
        guard pattern.hasPrefix("*."), let dot = name.firstIndex(of: "."), dot != name.startIndex
        else { return false }
        return name[dot...] == pattern.dropFirst() && !name.contains("*")
    }

    private static func hosts(of certificate: NIOSSLCertificate) -> [String] {
        certificate._subjectAlternativeNames().filter { $0.nameType == .dnsName }
            .compactMap(text).filter(isHost)
    }

    private static func text(_ name: _SubjectAlternativeName) -> String? {
        String(validating: name.contents, as: UTF8.self)
    }

    static func isURI(_ name: String) -> Bool {
        name.utf8.allSatisfy { (0x21...0x7E).contains($0) }
            && name.contains(":") && !name.hasPrefix(":")
    }

    static func isHost(_ name: String) -> Bool {
        !name.isEmpty
            && name.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"),
                    UInt8(ascii: "_"), UInt8(ascii: "*"):
                    true
                default: false
                }
            }
    }

    static func isCommonName(_ name: String) -> Bool {
        !name.isEmpty && !name.contains(":")
            && name.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7F }
    }
}
