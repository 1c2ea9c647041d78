// Why a bench ends early: a wrong answer, a wrong table, or something that does not start. A value.

struct BenchError: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}
