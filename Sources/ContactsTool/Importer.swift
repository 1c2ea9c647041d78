// In: a file and a server's address. Out: every record of the file stored once, the refused ones set
// aside, the counts. The file is read only as fast as the server takes and answers, so that memory
// does not grow with it; a server that goes away is waited for. One task reads and sends; one task
// for each stream takes its results.

package import ContactsClient

package struct Importer: Sendable {
    /// What the caller asks of an import.
    package struct Options: Sendable {
        package var reading = ReadingOptions()
        package var upsert = UpsertOptions()
        /// More than one is faster on a wide server, and gives up the file's order between the
        /// repeats of one key.
        package var streams = 1
        /// Contacts in a message.
        package var chunk = 500
        package var rejectsPath: String?
        /// How long it goes on without a server, once it has reached it.
        package var retry = RetryPolicy()
        /// Goes on with the import of the file that broke off.
        package var resumes = false
        package var window = ImportLedger.Window()

        package init() {}
    }

    private var options: Options
    private let input: InputFile
    private var reader: ContactReader
    private var records: [InputRecord] = []
    private var isAtEnd = false
    /// What an earlier run has left to go on from.
    private var earlier: SavedImport?

    /// An import of that file.
    package init(input: InputFile, options: Options) {
        self.input = input
        self.options = options
        reader = ContactReader(name: input.path, options: options.reading)
    }

    /// Reads the beginning of the file and says in one line what was understood.
    package mutating func understand() async throws -> String {
        while reader.understood == nil, !isAtEnd {
            try await fill(upTo: 1)
        }
        return reader.understood ?? "an empty file"
    }

    /// Looks for what an import that broke off has left.
    ///
    /// - Returns: What there is to say about it.
    /// - Throws: `ResumeRefused`, and errors of the state file, when the import cannot be gone on
    ///   with though it should be.
    package mutating func lookBack(workspace: String?) throws -> String? {
        guard let (file, identity) = stateFile else {
            guard options.resumes else { return nil }
            throw ResumeRefused(
                description: "--resume goes with a file, one stream and no dry run",
                status: ExitStatus.usage)
        }
        guard options.resumes else {
            guard let left = try? file.read(), left.file == identity, left.report.read > 0
            else { return nil }
            return "\(file.path) tells of an import that broke off after line "
                + "\(left.position.line - 1); --resume would have gone on with it"
        }
        guard let earlier = try file.read() else {
            return "there is no \(file.path); the import begins at the start"
        }
        if let refusal = earlier.refusal(
            file: identity, options: options.identity(workspace: workspace),
            importID: options.upsert.importID, path: input.path)
        {
            throw refusal
        }
        try goOn(from: earlier)
        return "goes on with line \(earlier.position.line), after "
            + "\(ProgressText.grouped(earlier.report.read)) records"
    }

    /// Where the state of this import is kept, and what its file is known by; nil where it cannot
    /// be gone on with.
    private var stateFile: (ImportStateFile, FileIdentity)? {
        guard options.streams == 1, !options.upsert.validateOnly, input.path != "-",
            let identity = input.identity()
        else { return nil }
        return (ImportStateFile(input: input.path), identity)
    }

    private mutating func goOn(from earlier: SavedImport) throws {
        self.earlier = earlier
        options.upsert.importID = earlier.importID
        // At the very beginning all is as it is.
        guard earlier.position != ReadingPosition() else { return }
        try input.seek(to: earlier.position.offset)
        reader.go(to: earlier.position)
        records = []
        isAtEnd = false
    }

    /// Sends the file. `watch` is given what tells how far it is, to be asked while it lasts.
    ///
    /// - Throws: What went wrong before the first record could be sent.
    package mutating func run(
        _ configuration: ContactsClient.Configuration,
        watch: (@escaping @Sendable () -> ProgressSnapshot) -> Void = { _ in }
    ) async throws -> (report: ImportReport, failure: (any Error)?) {
        // A wrong address is told at once; only a server that was there is waited for.
        await (try ContactsClient.connect(configuration)).close()
        let ledger = makeLedger()
        let streams = (0..<options.streams).map { [options, earlier] _ in
            ContactsClient.resumableUpsert(
                configuration, options.upsert, firstSequence: (earlier?.sequence ?? 0) + 1,
                retry: options.retry)
        }
        input.whenInterrupted { for stream in streams { stream.stopRetrying() } }
        let silence = SilenceWatch(ledger, configuration)
        let watching = Task { await silence.run() }
        defer { watching.cancel() }
        watch { Self.progress(ledger, streams, silence) }
        let limits = try await streams[0].started().limits
        if let (file, identity) = stateFile {
            let beginning = SavedImport(
                importID: streams[0].importID, file: identity,
                options: options.identity(workspace: configuration.workspace))
            try ledger.keep(earlier ?? beginning, in: file)
        }
        await withTaskGroup { group in
            for (index, stream) in streams.enumerated() {
                group.addTask { [input] in
                    await Self.takeResults(stream, index, ledger, input)
                }
            }
            do { try await send(streams, limits, ledger) } catch { ledger.fail(error) }
            for stream in streams { stream.finish() }
        }
        var report = ledger.finish(isWhole: !input.wasInterrupted)
        report.wasInterrupted = input.wasInterrupted
        report.isDryRun = options.upsert.validateOnly
        let failure = ledger.failure
        report.failure = failure.map(ErrorText.text)
        return (report, failure)
    }

    private func makeLedger() -> ImportLedger {
        let format = reader.format ?? .csv
        let path =
            options.rejectsPath ?? RejectsFile.defaultPath(input: input.path, format: format)
        return ImportLedger(
            streams: options.streams, window: options.window, totalBytes: input.byteCount,
            header: reader.header, rejects: RejectsFile(path: path),
            maxFailures: options.upsert.maxFailures, earlier: earlier)
    }

    private static func progress(
        _ ledger: ImportLedger, _ streams: [ResumableUpsert], _ silence: SilenceWatch
    ) -> ProgressSnapshot {
        var progress = ledger.progress()
        let outage = streams.compactMap(\.outage).min { $0.since < $1.since }
        progress.outage =
            outage.map { outage in
                ProgressSnapshot.Outage(
                    seconds: (ContinuousClock.now - outage.since).seconds,
                    reason: outage.error.message)
            } ?? silence.outage
        return progress
    }

    /// Once anything has failed nothing more is sent, so a reader that waits for a pipe shall not.
    private static func takeResults(
        _ stream: ResumableUpsert, _ index: Int, _ ledger: ImportLedger, _ input: InputFile
    ) async {
        do {
            for try await results in stream.results {
                ledger.settle(results, stream: index)
                if ledger.failure != nil { input.stop() }
            }
            _ = try await stream.summary()
        } catch {
            ledger.fail(error)
            input.stop()
        }
    }

    private mutating func send(
        _ streams: [ResumableUpsert], _ limits: Limits, _ ledger: ImportLedger
    ) async throws {
        let chunk = min(options.chunk, Int(clamping: limits.maxContactsPerMessage))
        var builder = MessageBuilder(limits: limits)
        var next = 0
        while ledger.failure == nil {
            try await fill(upTo: chunk)
            if records.isEmpty { return }
            await ledger.waitForRoom()
            var rest = records[...]
            while !rest.isEmpty, ledger.failure == nil {
                rest = builder.take(rest)
                ledger.add(builder.noted, stream: next)
                if !builder.contacts.isEmpty { try await streams[next].send(builder.contacts) }
                next = (next + 1) % streams.count
            }
            records.removeAll(keepingCapacity: true)
        }
    }

    /// Reads until there are so many records or the file has ended.
    private mutating func fill(upTo count: Int) async throws {
        if !input.wasStopped { try reader.read(upTo: count, into: &records) }
        while records.count < count, !isAtEnd {
            // What is there already does not wait for a slow pipe.
            if !records.isEmpty, !input.isReady { return }
            let chunk = try await input.read()
            if input.wasStopped {
                // What the buffer holds may be half a record; none of it was sent.
                isAtEnd = true
                records.removeAll()
                return
            }
            if let chunk {
                reader.append(chunk)
            } else {
                reader.finish()
                isAtEnd = true
            }
            try reader.read(upTo: count, into: &records)
        }
    }
}

/// Cuts records into messages that the server takes.
struct MessageBuilder {
    private let limits: Limits
    private(set) var contacts: [Contact] = []
    private(set) var noted: [(PendingRecord, Rejection?)] = []

    init(limits: Limits) {
        self.limits = limits
    }

    /// Fills one message and gives back what did not fit.
    mutating func take(_ records: ArraySlice<InputRecord>) -> ArraySlice<InputRecord> {
        contacts.removeAll(keepingCapacity: true)
        noted.removeAll(keepingCapacity: true)
        // Room for the message's own few bytes.
        let limit = Int(clamping: limits.maxMessageBytes) - 64
        var bytes = 0
        for index in records.indices {
            let held = PendingRecord(
                line: records[index].line, bytes: records[index].bytes, end: records[index].end)
            switch records[index].content {
            case .failure(let refused):
                noted.append((held, refused.rejection))
            case .success(let contact):
                let size = contact.largestWireBytes
                if size > limit {
                    // Sent, it would end the whole call and not this contact alone.
                    noted.append((held, Self.tooLarge))
                    continue
                }
                guard bytes + size <= limit else { return records[index...] }
                bytes += size
                contacts.append(contact)
                noted.append((held, nil))
            }
        }
        return []
    }

    private static let tooLarge = Rejection(
        Reason.contactTooLarge.rawValue, "larger than a message of the server may be")
}

extension Contact {
    /// At most so many bytes on the wire.
    var largestWireBytes: Int {
        // A tag and a length of at most five bytes before each text and each message.
        let head = 6
        let texts = [email, phone, externalID, id, name, firstName, lastName]
        var bytes = head + texts.reduce(0) { $0 + ($1.map { $0.utf8.count + head } ?? 0) }
        bytes += head + listIDs.count * 10
        for field in fields {
            bytes += 2 * head + field.name.utf8.count
            // A value that is no text: at most a Timestamp with both its numbers.
            if case .string(let text) = field.value {
                bytes += text.utf8.count + head
            } else {
                bytes += 24
            }
        }
        return bytes
    }
}
