// In: what is asked of an import, and what is left of an earlier one. Out: the state to go on from,
// or why that cannot be. On the reading task.

import ContactsClient

/// An import cannot be gone on with as it was asked for.
package struct ResumeRefused: Error, Sendable, CustomStringConvertible {
    package var description: String
    /// The exit code.
    package var status: Int32
}

extension Importer.Options {
    /// The options that say what a file means and what becomes of it, each by its flag. Others may
    /// change from one run to the next.
    func identity(workspace: String?) -> [String: String] {
        let lists = upsert.listIDs.map(String.init).joined(separator: ",")
        let maps = reading.mapping.map.map { "\($0.field)=\($0.column)" }
        let options = [
            "--format": reading.format?.rawValue ?? "",
            "--delimiter": reading.delimiter.map { String(UnicodeScalar($0)) } ?? "",
            "--map": maps.joined(separator: "\n"),
            "--ignore": reading.mapping.ignore.joined(separator: "\n"),
            "--empty-clears": reading.mapping.emptyClears ? "yes" : "",
            "--unknown-keys": reading.unknownKeys.rawValue,
            "--match-by": "\(upsert.matchBy)", "--mode": "\(upsert.writeMode)",
            "--existence": "\(upsert.existence)", "--dial-code": upsert.defaultDialCode,
            "--list": lists, "--run-workflow": upsert.runWorkflow ? "yes" : "",
            "--workspace": workspace ?? "", "--rejects": rejectsPath ?? "",
        ]
        return options.filter { !$0.value.isEmpty }
    }
}

extension SavedImport {
    /// Why an import cannot go on from here; nil when it can.
    func refusal(
        file: FileIdentity, options: [String: String], importID: String, path: String
    ) -> ResumeRefused? {
        guard file == self.file else {
            return ResumeRefused(
                description: "\(path) has changed since the import broke off; import it again "
                    + "without --resume: records that are stored come out unchanged",
                status: ExitStatus.dataError)
        }
        let flags = Set(options.keys).union(self.options.keys).sorted()
        let other = flags.first { options[$0] != self.options[$0] }
        let isOther = !importID.isEmpty && importID != self.importID
        guard let flag = other ?? (isOther ? "--import-id" : nil) else { return nil }
        return ResumeRefused(
            description: "\(flag) is not what it was when the import broke off; go on with the "
                + "same options, or import the file again without --resume",
            status: ExitStatus.usage)
    }
}
