// The slow path of the rule for emails: whatever is not a good ASCII email.
// In: a value's bytes as they came. Out: the normalised bytes, or the first fault in words.
// Pure functions, any thread. Builds Strings: only addresses beyond ASCII and faulty ones pay.
// Case: the Unicode Standard section 3.13, toLowercase, with Final_Sigma and without a locale.
// Labels: RFC 5890 section 2.3.2.1 and RFC 5891 section 4.2.3 where they do not depend on tables.

extension EmailRule {
    @inline(never)
    static func normalizeSlowly(_ input: Span<UInt8>, into output: inout [UInt8]) -> RuleFault? {
        if let fault = TextRule.validity(input) { return fault }
        let text = TextRule.string(input)
        let trimmed = trim(text)
        let isASCII = TextRule.isPlainASCII(input)
        let normal = isASCII ? trimmed.lowercased() : lowercase(composed(trimmed))
        if let problem = problem(in: Array(normal.unicodeScalars), bytes: normal.utf8.count) {
            return RuleFault(.emailInvalid, problem)
        }
        output.append(contentsOf: normal.utf8)
        return nil
    }

    private static func trim(_ text: String) -> String {
        let scalars = text.unicodeScalars
        let isSpace = { (scalar: Unicode.Scalar) in scalar.properties.isWhitespace }
        guard let first = scalars.firstIndex(where: { !isSpace($0) }),
            let last = scalars.lastIndex(where: { !isSpace($0) })
        else { return "" }
        return String(scalars[first...last])
    }

    /// NFC.
    private static func composed(_ text: String) -> String {
        String(decoding: text._nfcCodeUnits, as: UTF8.self)
    }

    /// The Unicode default lower-case of an NFC text. It is composed once more, for the lower-case
    /// of a few letters has a composed form where the letter has none (J and U+030C): without that
    /// a value could change when it is normalised again.
    private static func lowercase(_ text: String) -> String {
        let scalars = Array(text.unicodeScalars)
        guard scalars.contains("\u{3A3}") else { return composed(text.lowercased()) }
        // The standard library maps each letter by itself; sigma is the one that looks around.
        var marked = String.UnicodeScalarView()
        for (index, scalar) in scalars.enumerated() {
            let final = scalar == "\u{3A3}" && isFinalSigma(scalars, index)
            marked.append(final ? "\u{3C2}" : scalar)
        }
        return composed(String(marked).lowercased())
    }

    /// The Unicode Standard table 3-17: after a cased letter and before none, over whatever is
    /// case-ignorable.
    private static func isFinalSigma(_ scalars: [Unicode.Scalar], _ index: Int) -> Bool {
        let before = scalars[..<index].last { !$0.properties.isCaseIgnorable }
        let after = scalars[(index + 1)...].first { !$0.properties.isCaseIgnorable }
        return before?.properties.isCased == true && after?.properties.isCased != true
    }

    // MARK: - Form

    private static func problem(in scalars: [Unicode.Scalar], bytes: Int) -> String? {
        if scalars.isEmpty { return "is only white space" }
        if bytes > ContactLimits.emailBytes {
            return "is longer than \(ContactLimits.emailBytes) bytes"
        }
        guard let at = scalars.firstIndex(of: "@") else { return "has no @" }
        if scalars[(at + 1)...].contains("@") { return "has more than one @" }
        return problem(inLocalPart: scalars[..<at]) ?? problem(inDomain: scalars[(at + 1)...])
    }

    private static func problem(inLocalPart local: ArraySlice<Unicode.Scalar>) -> String? {
        if local.isEmpty { return "has nothing before the @" }
        if byteCount(local) > ContactLimits.emailLocalPartBytes {
            return "has more than \(ContactLimits.emailLocalPartBytes) bytes before the @"
        }
        if local.first == "\"" { return "has a quoted part before the @" }
        if local.first == "." || local.last == "." {
            return "has a dot first or last before the @"
        }
        for index in local.indices {
            let scalar = local[index]
            if scalar == "." {
                if local[index - 1] == "." { return "has two dots in a row before the @" }
            } else if scalar.isASCII {
                if !ASCII.atext.contains(UInt8(truncatingIfNeeded: scalar.value)) {
                    return "has a character before the @ that is not allowed there"
                }
            } else if !isVisible(local, index) {
                return "has an invisible or unassigned character before the @"
            }
        }
        return nil
    }

    private static func problem(inDomain domain: ArraySlice<Unicode.Scalar>) -> String? {
        if domain.isEmpty { return "has nothing after the @" }
        if domain.first == "[" { return "has an address literal after the @" }
        if domain.last == "." { return "has a dot at the end" }
        let labels = domain.split(separator: ".", omittingEmptySubsequences: false)
        if labels.contains(where: \.isEmpty) { return "has an empty label in the domain" }
        if labels.count < 2 { return "has a domain of one label" }
        for label in labels {
            if let problem = problem(inLabel: label) { return problem }
        }
        // RFC 3696 section 2: such a name could not be told from an IPv4 address.
        if labels.last?.allSatisfy({ ("0"..."9").contains($0) }) == true {
            return "has a top-level domain of digits alone"
        }
        return nil
    }

    private static func problem(inLabel label: ArraySlice<Unicode.Scalar>) -> String? {
        if label.first == "-" || label.last == "-" {
            return "has a hyphen first or last in a label of the domain"
        }
        var isASCII = true
        for index in label.indices {
            let scalar = label[index]
            if scalar.isASCII {
                if !ASCII.label.contains(UInt8(truncatingIfNeeded: scalar.value)) {
                    return "has a character in the domain that is not allowed there"
                }
            } else {
                isASCII = false
                guard isVisible(label, index), belongsInLabel(scalar) else {
                    return "has a character in the domain that is not allowed there"
                }
            }
        }
        // RFC 5890 section 2.3.2.1: the 63 bytes are those of the A-label.
        let bytes = isASCII ? label.count : Punycode.aLabelBytes(label)
        return bytes > labelBytes ? "has a label of the domain that is too long" : nil
    }

    // MARK: - Characters beyond ASCII

    /// No control, format, private, unassigned or space character, and no combining mark that would
    /// combine with a separator. The two joiners pass between characters beyond ASCII, where some
    /// scripts and emoji need them (RFC 5892 appendix A.1 and A.2 do so by tables).
    private static func isVisible(_ text: ArraySlice<Unicode.Scalar>, _ index: Int) -> Bool {
        let scalar = text[index]
        if scalar == "\u{200C}" || scalar == "\u{200D}" {
            return index > text.startIndex && index < text.endIndex - 1
                && !text[index - 1].isASCII && !text[index + 1].isASCII
        }
        switch scalar.properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .spaceSeparator,
            .lineSeparator, .paragraphSeparator:
            return false
        case .nonspacingMark, .spacingMark, .enclosingMark:
            return index > text.startIndex && text[index - 1] != "."
        default:
            return true
        }
    }

    /// Letters, marks, digits and symbols (emoji domains exist); of the punctuation only what
    /// RFC 5892 appendix A.3 to A.7 allows between letters.
    private static func belongsInLabel(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation,
            .initialPunctuation, .finalPunctuation, .otherPunctuation:
            return ["\u{B7}", "\u{5F3}", "\u{5F4}", "\u{30FB}"].contains(scalar)
        default:
            return true
        }
    }

    private static func byteCount(_ scalars: ArraySlice<Unicode.Scalar>) -> Int {
        scalars.reduce(0) { $0 + UTF8.width($1) }
    }
}
