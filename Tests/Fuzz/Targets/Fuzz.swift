// In: the name of a fuzz target, then libFuzzer's own arguments. Out: libFuzzer's run; a broken
// promise ends the process, and libFuzzer keeps the input that broke it.
// One thread. `make fuzz` builds and runs it.

import CFuzzer
import Foundation

@main
struct Fuzz {
    typealias Callback = @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt

    static let targets: [String: Callback] = [
        "http2": { run($0, $1, HTTP2Fuzz.check) },
        "envelope": { run($0, $1, EnvelopeFuzz.check) },
        "request": { run($0, $1, RequestFuzz.check) },
        "csv": { run($0, $1, CSVFuzz.check) },
        "ndjson": { run($0, $1, NDJSONFuzz.check) },
    ]

    static func main() {
        let names = targets.keys.sorted().joined(separator: ", ")
        guard CommandLine.arguments.count > 1, let target = targets[CommandLine.arguments[1]] else {
            FileHandle.standardError.write(Data("usage: fuzz TARGET ...; one of \(names)\n".utf8))
            exit(64)
        }
        // libFuzzer takes the target's name for that of the program.
        var count = CommandLine.argc - 1
        var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? =
            CommandLine.unsafeArgv + 1
        exit(LLVMFuzzerRunDriver(&count, &arguments, target))
    }

    private static func run(
        _ start: UnsafePointer<UInt8>?, _ count: Int, _ check: ([UInt8]) -> Void
    ) -> CInt {
        check(Array(UnsafeBufferPointer(start: start, count: count)))
        return 0
    }
}

/// Ends the run when a promise is broken. `preconditionFailure` alone keeps its words for itself in
/// an optimised build.
func demand(_ isKept: Bool, _ promise: @autoclosure () -> String) {
    if isKept { return }
    FileHandle.standardError.write(Data("BROKEN: \(promise())\n".utf8))
    preconditionFailure("a promise is broken")
}

/// Ways to cut an input into chunks: whole, into bytes or small pieces, and at random. The places come out of the
/// input itself, so that a finding can be repeated and the corpus holds nothing but plain inputs.
struct Cuts {
    private var state: UInt64

    init(_ bytes: [UInt8]) {
        // FNV-1a.
        state = bytes.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    }

    /// Below `limit`, which is over 0.
    mutating func number(below limit: Int) -> Int {
        // Knuth's MMIX constants; the high bits are the good ones.
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int((state >> 33) % UInt64(limit))
    }

    mutating func all(of bytes: [UInt8]) -> [[ArraySlice<UInt8>]] {
        [[bytes[...]], pieces(bytes), random(bytes), random(bytes)]
    }

    /// Byte by byte, unless that would be all that the fuzzer does.
    private func pieces(_ bytes: [UInt8]) -> [ArraySlice<UInt8>] {
        let size = 1 + bytes.count / Self.pieceCount
        return stride(from: 0, to: bytes.count, by: size)
            .map { bytes[$0..<min($0 + size, bytes.count)] }
    }

    private static let pieceCount = 256

    mutating func random(_ bytes: [UInt8]) -> [ArraySlice<UInt8>] {
        var chunks: [ArraySlice<UInt8>] = []
        var start = 0
        while start < bytes.count {
            let end = min(bytes.count, start + 1 + number(below: 1 + number(below: bytes.count)))
            chunks.append(bytes[start..<end])
            start = end
        }
        return chunks
    }
}
