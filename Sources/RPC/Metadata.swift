// In: the header fields of a request. Out: whether they are what gRPC calls metadata; binary values.
// On which thread: plain functions, any thread.

import HTTP2

/// gRPC PROTOCOL-HTTP2, "Custom-Metadata".
enum Metadata {
    /// The name of the first field whose value is not allowed: not printable ASCII, or not base64
    /// where the name ends in `-bin`. HTTP lets more bytes through (RFC 9110 section 5.5), which
    /// every party would read in another way.
    static func firstMalformed(of headers: Headers) -> String? {
        if headers.valuesArePrintable, !headers.hasName(endingIn: "-bin") { return nil }
        return headers.pairs.first { !isAllowed($0.name, $0.value) }?.name
    }

    private static func isAllowed(_ name: String, _ value: String) -> Bool {
        guard value.utf8.allSatisfy({ (0x20...0x7E).contains($0) }) else { return false }
        return !name.hasSuffix("-bin") || binaryValues(value) != nil
    }

    /// Values that are joined by commas; nil when one of them is not base64.
    static func binaryValues(_ text: String) -> [[UInt8]]? {
        var values: [[UInt8]] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            guard let value = Base64.decode(part.drop { $0 == " " }) else { return nil }
            values.append(value)
        }
        return values
    }
}
