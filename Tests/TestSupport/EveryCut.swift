// Feeds a decoder its bytes as a network may cut them. In: the bytes. Out: calls of `body` with
// their parts: whole, byte by byte, and split in two at every place.

package func everyCut(_ bytes: [UInt8], body: ([[UInt8]]) throws -> Void) rethrows {
    try body([bytes])
    try body(bytes.map { [$0] })
    for place in 0...bytes.count {
        try body([Array(bytes[..<place]), Array(bytes[place...])])
    }
}
