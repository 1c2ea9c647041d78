// In: a contact's number. Out: words for its keys, whose order is nothing like that of the numbers
// though each belongs to one number, and the way back. Pure; any thread.

struct RandomKeys: Sendable {
    private let seed: UInt64

    init(seed: UInt64) {
        self.seed = Self.mixed(seed)
    }

    /// For the email.
    func word(_ number: Int) -> UInt64 { Self.mixed(UInt64(bitPattern: Int64(number)) ^ seed) }

    /// The number that has the word.
    func number(_ word: UInt64) -> Int { Int(Int64(bitPattern: Self.unmixed(word) ^ seed)) }

    /// For the external id: another order than that of the emails.
    func secondWord(_ number: Int) -> UInt64 { Self.mixed(word(number) ^ 0xA076_1D64_78BD_642F) }

    /// For the phone number: different for different numbers below 2^33, and at most ten digits.
    func digits(_ number: Int) -> UInt64 {
        let mask: UInt64 = (1 << 33) - 1
        var word = (UInt64(bitPattern: Int64(number)) ^ seed) & mask
        word ^= word >> 17
        word = word &* 0xED5A_D4BB & mask
        word ^= word >> 15
        word = word &* 0xAC4C_1B51 & mask
        return word ^ word >> 16
    }

    /// SplitMix64's last steps: each can be undone, so different numbers stay different (Steele,
    /// Lea, Flood: "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).
    static func mixed(_ number: UInt64) -> UInt64 {
        var word = number
        word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
        return word ^ (word >> 31)
    }

    /// The same steps backwards, by the inverses of the factors modulo 2^64.
    static func unmixed(_ mixed: UInt64) -> UInt64 {
        var word = mixed
        word = (word ^ (word >> 31) ^ (word >> 62)) &* 0x3196_42B2_D24D_8EC3
        word = (word ^ (word >> 27) ^ (word >> 54)) &* 0x96DE_1B17_3F11_9089
        return word ^ (word >> 30) ^ (word >> 60)
    }
}
