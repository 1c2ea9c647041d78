// In: a file of either format. Out: nothing; the contacts must be the same wherever the file is cut,
// and one that is written as JSON must come back.

import ContactsClient
@testable import ContactsTool

enum ContactsFuzz {
    static func check(_ bytes: [UInt8], name: String, _ cuts: inout Cuts) {
        for emptyClears in [false, true] {
            var options = ReadingOptions()
            options.unknownKeys = emptyClears ? .field : .reject
            options.mapping.emptyClears = emptyClears
            options.mapping.matchBy = emptyClears ? .id : .email
            let whole = read([bytes[...]], name, options)
            let cut = read(cuts.random(bytes), name, options)
            let isSame =
                cut.fault == whole.fault && cut.records.elementsEqual(whole.records, by: isSame)
            demand(isSame, "cut otherwise: \(cut), not \(whole)")
            for record in whole.records {
                if case .success(let contact) = record.content { checkReturn(of: contact) }
            }
        }
    }

    private static func isSame(_ left: InputRecord, _ right: InputRecord) -> Bool {
        guard left.line == right.line, left.end == right.end else { return false }
        switch (left.content, right.content) {
        case (.success(let left), .success(let right)): return left == right
        case (.failure(let left), .failure(let right)): return left.rejection == right.rejection
        default: return false
        }
    }

    private static func read(
        _ chunks: [ArraySlice<UInt8>], _ name: String, _ options: ReadingOptions
    ) -> (records: [InputRecord], fault: String?) {
        var reader = ContactReader(name: name, options: options)
        var records: [InputRecord] = []
        do throws(FormatError) {
            for chunk in chunks {
                reader.append(Array(chunk))
                try reader.read(upTo: .max, into: &records)
            }
            reader.finish()
            try reader.read(upTo: .max, into: &records)
        } catch {
            return (records, error.description)
        }
        return (records, nil)
    }

    private static func checkReturn(of contact: Contact) {
        var writer = JSONWriter()
        writer.object { $0.contact(contact) }
        var mapping = JSONMapping()
        mapping.emptyClears = true
        mapping.matchBy = .id
        let record = NDJSONRecord(line: 1, bytes: writer.bytes)
        let back = Result { () throws(RejectedRecord) in try mapping.contact(record) }
        demand(
            (try? back.get()) == contact,
            "\(contact) came back as \(back) from \(String(decoding: writer.bytes, as: UTF8.self))")
    }
}
