// Ways to cut bytes into chunks: whole, byte by byte, and in two at every place.

func everyCut(_ bytes: [UInt8]) -> [[[UInt8]]] {
    var cuts = [[bytes], bytes.map { [$0] }]
    for place in stride(from: 1, to: bytes.count, by: 1) {
        cuts.append([Array(bytes[..<place]), Array(bytes[place...])])
    }
    return cuts
}
