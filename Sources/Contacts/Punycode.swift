// How long a label of a domain becomes in the DNS: RFC 3492 section 6.3, counting only.
// In: a label's characters. Out: the bytes of its A-label, `xn--` included.
// Pure functions, any thread. Emails are kept as they are; only the length of a label is checked.

enum Punycode {
    /// RFC 3492 section 5.
    private static let base = 36
    private static let tMin = 1
    private static let tMax = 26

    /// The bytes of the A-label of a label beyond ASCII.
    static func aLabelBytes(_ label: ArraySlice<Unicode.Scalar>) -> Int {
        let basic = label.count(where: \.isASCII)
        var bytes = "xn--".utf8.count + basic + (basic > 0 ? 1 : 0)
        var handled = basic
        var code = 128
        var delta = 0
        var bias = 72
        let values = label.map { Int($0.value) }
        while let next = values.filter({ $0 >= code }).min() {
            delta += (next - code) * (handled + 1)
            code = next
            for value in values {
                if value < code { delta += 1 }
                if value != code { continue }
                bytes += digits(delta, bias)
                bias = adapt(delta, handled + 1, first: handled == basic)
                delta = 0
                handled += 1
            }
            delta += 1
            code += 1
        }
        return bytes
    }

    /// The digits of a generalised variable-length integer.
    private static func digits(_ delta: Int, _ bias: Int) -> Int {
        var rest = delta
        var count = 1
        var position = base
        while true {
            let threshold = min(max(position - bias, tMin), tMax)
            if rest < threshold { return count }
            rest = (rest - threshold) / (base - threshold)
            count += 1
            position += base
        }
    }

    /// RFC 3492 section 6.1.
    private static func adapt(_ delta: Int, _ points: Int, first: Bool) -> Int {
        var delta = first ? delta / 700 : delta / 2
        delta += delta / points
        var steps = 0
        while delta > ((base - tMin) * tMax) / 2 {
            delta /= base - tMin
            steps += base
        }
        return steps + (base - tMin + 1) * delta / (delta + 38)
    }
}
