// The limits that the rules enforce. The rules themselves stand in the files named after them.

/// A rule that a value broke: the reason and what to do about it, for people.
package struct RuleFault: Sendable, Equatable {
    package var reason: Reason
    package var message: String

    package init(_ reason: Reason, _ message: String) {
        self.reason = reason
        self.message = message
    }
}

package enum ContactLimits {
    /// RFC 5321 section 4.5.3.1.3 allows a path of 256 bytes with its angle brackets.
    package static let emailBytes = 254
    /// RFC 5321 section 4.5.3.1.1.
    package static let emailLocalPartBytes = 64
    /// ITU-T E.164 section 6: at most 15 digits; fewer than 8 is no international number.
    package static let phoneDigits = 8...15
    /// As long as identifiers of other systems get; fits an index entry with room to spare.
    package static let externalIDBytes = 255
    /// A name; longer ones are data in the wrong column.
    package static let textBytes = 1024
    /// The name of a custom field.
    package static let fieldNameBytes = 150
    /// Custom fields of one contact.
    package static let fields = 300
    /// Custom fields of a stored contact, as JSON: what one contact on the wire can come to. A byte
    /// may be written as six, and short values of 300 fields take some more.
    package static let storedFieldBytes = 6 * contactBytes + 16 * 1024
    /// Lists that one contact or one import names. Each costs a row: a call of 10,000 small contacts
    /// may come to a million.
    package static let lists = 100
    /// One contact on the wire.
    package static let contactBytes = 100 * 1024
}

/// The rules of one import: what its options and its workspace make of them.
package struct ContactRules: Sendable {
    /// The identifier that must be there.
    package let matchBy: MatchBy
    /// What phone numbers without a country code get.
    package let dialCode: DialCode?

    /// - Throws: `DecodeError.invalid` naming the option at fault.
    package init(_ options: UpsertOptions) throws(DecodeError) {
        matchBy = options.matchBy
        guard !options.defaultDialCode.isEmpty else {
            dialCode = nil
            return
        }
        guard let code = PhoneRule.dialCode(options.defaultDialCode) else {
            throw DecodeError.invalid(
                field: "default_dial_code",
                description: "it is not a country code; give its digits, such as 1 or 44")
        }
        dialCode = code
    }
}
