// The dial codes of ITU-T E.164 with the lengths of their national numbers and their trunk prefix.
// In: a dial code. Out: its row. Pure data; any thread.
// Lengths and prefixes: the national numbering plans that ITU-T publishes for E.164, as collected
// in the metadata of libphonenumber 9.0.43 (fixed lines and mobiles). Where a plan is open, its
// maximum here is the longest that is in use among the numbers that can begin with the digits of
// the code itself, for that is what the maximum decides: 31, 39, 43, 49, 53, 62, 352, 381, 383,
// 685, 972. 379 is assigned to the Vatican, which uses 39.

/// What stands before a national number when it is dialled inside its country.
package enum TrunkPrefix: Sendable, Equatable {
    /// Nothing.
    case none
    /// `0`; the numbers themselves do not begin with it.
    case zero
    /// Nothing, and the numbers themselves may begin with `0`, which is dialled from abroad too.
    case keepsZero
    /// `8`; the numbers themselves may begin with it.
    case eight
    /// `0`, and `8` until 2023.
    case zeroOrEight
    /// `06`.
    case zeroSix
    /// `8`, then `0` before an area code.
    case eightZero
}

/// One dial code's numbers.
struct DialPlan: Sendable {
    var code: Int
    /// Digits of a national number, without trunk prefix.
    var lengths: ClosedRange<Int>
    var trunk: TrunkPrefix

    /// Of the code.
    var digitCount: Int { code < 10 ? 1 : code < 100 ? 2 : 3 }

    private init(_ code: Int, _ lengths: ClosedRange<Int>, _ trunk: TrunkPrefix) {
        self.code = code
        self.lengths = lengths
        self.trunk = trunk
    }

    /// The row of a dial code; nil when there is none.
    static func of(_ code: Int) -> DialPlan? {
        var low = 0
        var high = all.count
        while low < high {
            let middle = (low + high) / 2
            if all[middle].code < code { low = middle + 1 } else { high = middle }
        }
        return low < all.count && all[low].code == code ? all[low] : nil
    }

    /// The row of the code that an international number begins with. No code begins another one.
    static func ofNumber(_ digits: Span<UInt8>) -> DialPlan? {
        var code = 0
        for index in 0..<min(3, digits.count) {
            code = code * 10 + Int(digits[index] &- UInt8(ascii: "0"))
            if let plan = of(code) { return plan }
        }
        return nil
    }

    private typealias Plan = DialPlan

    /// In the order of the codes.
    private static let all: [DialPlan] = [
        Plan(1, 10...10, .none),  // US AG AI AS BB BM ...
        Plan(7, 10...10, .eight),  // RU KZ
        Plan(20, 8...10, .zero),  // EG
        Plan(27, 5...9, .zero),  // ZA
        Plan(30, 10...10, .none),  // GR
        Plan(31, 9...9, .zero),  // NL
        Plan(32, 8...9, .zero),  // BE
        Plan(33, 9...9, .zero),  // FR
        Plan(34, 9...9, .none),  // ES
        Plan(36, 8...9, .zeroSix),  // HU
        Plan(39, 6...10, .keepsZero),  // IT VA
        Plan(40, 6...9, .zero),  // RO
        Plan(41, 9...9, .zero),  // CH
        Plan(43, 4...10, .zero),  // AT
        Plan(44, 9...10, .zero),  // GB GG IM JE
        Plan(45, 8...8, .none),  // DK
        Plan(46, 7...9, .zero),  // SE
        Plan(47, 8...8, .none),  // NO SJ
        Plan(48, 7...9, .none),  // PL
        Plan(49, 5...11, .zero),  // DE
        Plan(51, 8...9, .zero),  // PE
        Plan(52, 10...10, .none),  // MX
        Plan(53, 6...8, .zero),  // CU
        Plan(54, 10...11, .zero),  // AR
        Plan(55, 10...11, .zero),  // BR
        Plan(56, 9...9, .none),  // CL
        Plan(57, 8...10, .zero),  // CO
        Plan(58, 10...10, .zero),  // VE
        Plan(60, 8...10, .zero),  // MY
        Plan(61, 9...9, .zero),  // AU CC CX
        Plan(62, 7...10, .zero),  // ID
        Plan(63, 6...10, .zero),  // PH
        Plan(64, 8...10, .zero),  // NZ
        Plan(65, 8...8, .none),  // SG
        Plan(66, 8...9, .zero),  // TH
        Plan(81, 9...10, .zero),  // JP
        Plan(82, 5...10, .zero),  // KR
        Plan(84, 9...10, .zero),  // VN
        Plan(86, 7...11, .zero),  // CN
        Plan(90, 10...10, .zero),  // TR
        Plan(91, 10...10, .zero),  // IN
        Plan(92, 9...10, .zero),  // PK
        Plan(93, 9...9, .zero),  // AF
        Plan(94, 9...9, .zero),  // LK
        Plan(95, 6...10, .zero),  // MM
        Plan(98, 6...10, .zero),  // IR
        Plan(211, 9...9, .zero),  // SS
        Plan(212, 9...9, .zero),  // MA EH
        Plan(213, 8...9, .zero),  // DZ
        Plan(216, 8...8, .none),  // TN
        Plan(218, 9...9, .zero),  // LY
        Plan(220, 7...9, .none),  // GM
        Plan(221, 9...9, .none),  // SN
        Plan(222, 8...8, .none),  // MR
        Plan(223, 8...8, .none),  // ML
        Plan(224, 8...9, .none),  // GN
        Plan(225, 10...10, .keepsZero),  // CI
        Plan(226, 8...8, .none),  // BF
        Plan(227, 8...8, .none),  // NE
        Plan(228, 8...8, .none),  // TG
        Plan(229, 10...10, .keepsZero),  // BJ
        Plan(230, 7...8, .none),  // MU
        Plan(231, 7...9, .zero),  // LR
        Plan(232, 8...8, .zero),  // SL
        Plan(233, 9...9, .zero),  // GH
        Plan(234, 10...10, .zero),  // NG
        Plan(235, 8...8, .none),  // TD
        Plan(236, 8...8, .none),  // CF
        Plan(237, 9...9, .none),  // CM
        Plan(238, 7...7, .none),  // CV
        Plan(239, 7...7, .none),  // ST
        Plan(240, 9...9, .none),  // GQ
        Plan(241, 7...8, .keepsZero),  // GA
        Plan(242, 9...9, .keepsZero),  // CG
        Plan(243, 7...10, .zero),  // CD
        Plan(244, 9...9, .none),  // AO
        Plan(245, 9...9, .none),  // GW
        Plan(246, 7...7, .none),  // IO
        Plan(247, 5...5, .none),  // AC
        Plan(248, 7...7, .none),  // SC
        Plan(249, 9...9, .zero),  // SD
        Plan(250, 8...9, .zero),  // RW
        Plan(251, 9...9, .zero),  // ET
        Plan(252, 6...9, .zero),  // SO
        Plan(253, 8...8, .none),  // DJ
        Plan(254, 7...9, .zero),  // KE
        Plan(255, 9...9, .zero),  // TZ
        Plan(256, 9...9, .zero),  // UG
        Plan(257, 8...8, .none),  // BI
        Plan(258, 8...9, .none),  // MZ
        Plan(260, 9...9, .zero),  // ZM
        Plan(261, 9...9, .zero),  // MG
        Plan(262, 9...9, .zero),  // RE YT
        Plan(263, 9...9, .zero),  // ZW
        Plan(264, 8...9, .zero),  // NA
        Plan(265, 7...9, .zero),  // MW
        Plan(266, 8...8, .none),  // LS
        Plan(267, 7...8, .none),  // BW
        Plan(268, 8...8, .none),  // SZ
        Plan(269, 7...7, .none),  // KM
        Plan(290, 4...5, .none),  // SH TA
        Plan(291, 7...7, .zero),  // ER
        Plan(297, 7...7, .none),  // AW
        Plan(298, 6...6, .none),  // FO
        Plan(299, 6...6, .none),  // GL
        Plan(350, 8...8, .none),  // GI
        Plan(351, 9...9, .none),  // PT
        Plan(352, 4...9, .none),  // LU
        Plan(353, 7...10, .zero),  // IE
        Plan(354, 7...9, .none),  // IS
        Plan(355, 8...9, .zero),  // AL
        Plan(356, 8...8, .none),  // MT
        Plan(357, 8...8, .none),  // CY
        Plan(358, 5...10, .zero),  // FI AX
        Plan(359, 6...9, .zero),  // BG
        Plan(370, 8...8, .zeroOrEight),  // LT
        Plan(371, 8...8, .none),  // LV
        Plan(372, 7...8, .none),  // EE
        Plan(373, 8...8, .zero),  // MD
        Plan(374, 8...8, .zero),  // AM
        Plan(375, 9...9, .eightZero),  // BY
        Plan(376, 6...9, .none),  // AD
        Plan(377, 8...9, .zero),  // MC
        Plan(378, 8...10, .keepsZero),  // SM
        Plan(379, 6...10, .keepsZero),  // VA
        Plan(380, 9...9, .zero),  // UA
        Plan(381, 7...9, .zero),  // RS
        Plan(382, 8...8, .zero),  // ME
        Plan(383, 8...9, .zero),  // XK
        Plan(385, 8...9, .zero),  // HR
        Plan(386, 8...8, .zero),  // SI
        Plan(387, 8...9, .zero),  // BA
        Plan(389, 8...8, .zero),  // MK
        Plan(420, 9...9, .none),  // CZ
        Plan(421, 6...9, .zero),  // SK
        Plan(423, 7...9, .zero),  // LI
        Plan(500, 5...5, .none),  // FK
        Plan(501, 7...7, .none),  // BZ
        Plan(502, 8...8, .none),  // GT
        Plan(503, 8...8, .none),  // SV
        Plan(504, 8...8, .none),  // HN
        Plan(505, 8...8, .none),  // NI
        Plan(506, 8...8, .none),  // CR
        Plan(507, 7...8, .none),  // PA
        Plan(508, 6...9, .zero),  // PM
        Plan(509, 8...8, .none),  // HT
        Plan(590, 9...9, .zero),  // GP BL MF
        Plan(591, 8...8, .zero),  // BO
        Plan(592, 7...7, .none),  // GY
        Plan(593, 8...9, .zero),  // EC
        Plan(594, 9...9, .zero),  // GF
        Plan(595, 7...9, .zero),  // PY
        Plan(596, 9...9, .zero),  // MQ
        Plan(597, 6...7, .none),  // SR
        Plan(598, 8...8, .zero),  // UY
        Plan(599, 7...8, .none),  // CW BQ
        Plan(670, 7...8, .none),  // TL
        Plan(672, 6...6, .none),  // NF
        Plan(673, 7...7, .none),  // BN
        Plan(674, 7...7, .none),  // NR
        Plan(675, 7...8, .none),  // PG
        Plan(676, 5...7, .none),  // TO
        Plan(677, 5...7, .none),  // SB
        Plan(678, 5...7, .none),  // VU
        Plan(679, 7...7, .none),  // FJ
        Plan(680, 7...7, .none),  // PW
        Plan(681, 6...6, .none),  // WF
        Plan(682, 5...5, .none),  // CK
        Plan(683, 4...7, .none),  // NU
        Plan(685, 5...7, .none),  // WS
        Plan(686, 5...8, .zero),  // KI
        Plan(687, 6...6, .none),  // NC
        Plan(688, 5...7, .none),  // TV
        Plan(689, 8...8, .none),  // PF
        Plan(690, 4...7, .none),  // TK
        Plan(691, 7...7, .none),  // FM
        Plan(692, 7...7, .none),  // MH
        Plan(800, 8...8, .none),  // no country
        Plan(808, 8...8, .none),  // no country
        Plan(850, 8...10, .zero),  // KP
        Plan(852, 8...8, .none),  // HK
        Plan(853, 8...8, .none),  // MO
        Plan(855, 8...9, .zero),  // KH
        Plan(856, 8...10, .zero),  // LA
        Plan(870, 9...12, .none),  // no country
        Plan(878, 12...12, .none),  // no country
        Plan(880, 6...10, .zero),  // BD
        Plan(881, 9...10, .none),  // no country
        Plan(882, 7...12, .none),  // no country
        Plan(883, 8...12, .none),  // no country
        Plan(886, 8...9, .zero),  // TW
        Plan(888, 11...11, .none),  // no country
        Plan(960, 7...7, .none),  // MV
        Plan(961, 7...8, .zero),  // LB
        Plan(962, 8...9, .zero),  // JO
        Plan(963, 8...9, .zero),  // SY
        Plan(964, 8...10, .zero),  // IQ
        Plan(965, 8...8, .none),  // KW
        Plan(966, 9...9, .zero),  // SA
        Plan(967, 7...9, .zero),  // YE
        Plan(968, 8...8, .none),  // OM
        Plan(970, 8...9, .zero),  // PS
        Plan(971, 8...9, .zero),  // AE
        Plan(972, 8...9, .zero),  // IL
        Plan(973, 8...8, .none),  // BH
        Plan(974, 8...8, .none),  // QA
        Plan(975, 7...8, .none),  // BT
        Plan(976, 8...10, .zero),  // MN
        Plan(977, 8...10, .zero),  // NP
        Plan(979, 9...9, .none),  // no country
        Plan(992, 9...9, .none),  // TJ
        Plan(993, 8...8, .eight),  // TM
        Plan(994, 9...9, .zero),  // AZ
        Plan(995, 9...9, .zero),  // GE
        Plan(996, 9...9, .zero),  // KG
        Plan(998, 9...9, .none),  // UZ
    ]
}
