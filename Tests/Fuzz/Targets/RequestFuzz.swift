// In: the bytes of a BulkUpsertRequest. Out: nothing; what the server's decoder takes and what its
// rules make of it must be what `RequestModel` makes of Google's C++ decoding of the same bytes.

@testable import Contacts
import Independent

enum RequestFuzz {
    // One decoder a process, as there is one a loop; libFuzzer calls from one thread.
    nonisolated(unsafe) private static let decoder = RequestDecoder()

    nonisolated(unsafe) private static var output = NormalizedContact()

    /// Made by `make fuzz`, which runs this in the project's folder.
    private static let descriptors = ".build-fuzz/contacts.protoset"

    private static let isPrepared: Bool = {
        let isReady = independent_prepare(descriptors)
        demand(isReady, "\(descriptors) could not be read")
        return isReady
    }()

    static func check(_ bytes: [UInt8]) {
        _ = isPrepared
        if WireScan.isOdd(bytes) {
            bytes.withUnsafeBytes { _ = try? decoder.decodeBulkUpsert($0) }
            return
        }
        let independent = bytes.withUnsafeBufferPointer {
            independent_decode($0.baseAddress, $0.count)
        }
        bytes.withUnsafeBytes { wire in
            do throws(DecodeError) {
                let decoded = try decoder.decodeBulkUpsert(wire)
                guard let independent else {
                    demand(false, "the server takes what is no BulkUpsertRequest")
                    return
                }
                compare(decoded, RequestModel(independent.pointee))
            } catch {
                let isTooMuch =
                    switch error {
                    case .tooComplex, .tooManyContacts: true
                    default: false
                    }
                demand(independent == nil || isTooMuch, "the server refuses a message: \(error)")
            }
        }
    }

    private static func compare(_ decoded: DecodedUpsert, _ model: RequestModel) {
        demand(decoded.firstSequence == model.firstSequence, "first_sequence differs")
        demand(decoded.contacts.count == model.contacts.count, "the number of contacts differs")
        demand(decoded.hasOptions == (model.options != nil), "the options' presence differs")
        var options = UpsertOptions()
        do throws(DecodeError) {
            options = try decoded.options() ?? options
            let expected = model.options ?? UpsertOptions()
            demand(options == expected, "options \(options), not \(expected)")
            demand(!model.hasBadOptions, "bad options are taken: \(options)")
        } catch {
            demand(model.hasBadOptions, "good options are refused: \(error)")
        }
        var hasInvalidText = model.hasInvalidText
        for matchBy in MatchBy.allCases {
            options.matchBy = matchBy
            guard let rules = rules(options) else { return }
            for (index, contact) in model.contacts.enumerated() {
                let fault = decoded.contacts.normalize(at: index, by: rules, into: &output)
                let expected = contact.outcome(by: rules)
                hasInvalidText = hasInvalidText || contact.hasInvalidText
                let found = fault.map { .failure($0) } ?? ContactModel.values(of: output)
                demand(found == expected, "contact \(index): \(found), not \(expected)")
            }
        }
        demand(
            !(model.isStrictlyValid && hasInvalidText),
            "a text is called invalid in a message that protobuf takes as UTF-8")
    }

    private static func rules(_ options: UpsertOptions) -> ContactRules? {
        if let rules = try? ContactRules(options) { return rules }
        var without = options
        without.defaultDialCode = ""
        return try? ContactRules(without)
    }
}
