// contacts sample: writes made-up contacts to try an import with. In: flags. Out: a file on
// standard output, written as it is made. On the main task.

import ArgumentParser
import ContactsTool

struct SampleCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sample",
        abstract: "Writes made-up contacts in many scripts, some of them faulty.",
        discussion: """
            contacts sample --count 1000000 > people.csv
            Emails are distinct unless --repeats asks otherwise.
            """)

    /// So much is gathered before it is written.
    private static let bufferBytes = 256 * 1024

    @Option(help: "How many.")
    var count = 1000

    @Option(help: "The same seed makes the same contacts.")
    var seed: UInt64 = 1

    @Option(help: "csv or ndjson.")
    var format = FileFormat.csv

    @Option(help: "The share of rows with a fault, 0 to 1.")
    var dirty = 0.01

    @Option(help: "The share of rows that repeat the keys of an earlier one, 0 to 1.")
    var repeats = 0.0

    @Flag(help: "Begins with a byte order mark.")
    var bom = false

    @Flag(help: "Ends lines in CRLF.")
    var crlf = false

    func validate() throws {
        guard count >= 0, (0...1).contains(dirty), (0...1).contains(repeats) else {
            throw ValidationError("--count has to be 0 or more, --dirty and --repeats from 0 to 1")
        }
    }

    func run() throws {
        var options = SampleWriter.Options()
        options.format = format
        options.mark = bom
        options.crlf = crlf
        var writer = SampleWriter(options: options)
        let contacts = SampleContacts(seed: seed, dirty: dirty, repeats: repeats)
        for number in 0..<count {
            writer.append(contacts.row(number))
            guard writer.bytes.count >= Self.bufferBytes else { continue }
            try Terminal.output(writer.bytes)
            writer.removeAll()
        }
        try Terminal.output(writer.bytes)
    }
}
