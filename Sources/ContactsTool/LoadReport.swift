// In: what a load run measured. Out: a table for people and a JSON object for programs. Latency is
// that of each contact, from the moment it was (or, at a fixed rate, should have been) sent to its
// result. Values.

import ContactsClient
package import Histogram

/// What one stream, or all of them, measured.
package struct LoadCounts: Sendable {
    package var created = 0
    package var updated = 0
    package var unchanged = 0
    package var replayed = 0
    package var failed = 0
    package var failedByReason: [String: Int] = [:]
    /// Nanoseconds from sending to result.
    package var latency = Histogram<UInt64>(numberOfSignificantValueDigits: .three)

    package init() {}

    /// Contacts that have a result.
    package var acknowledged: Int { created + updated + unchanged + replayed + failed }

    mutating func add(_ other: LoadCounts) {
        created += other.created
        updated += other.updated
        unchanged += other.unchanged
        replayed += other.replayed
        failed += other.failed
        failedByReason.merge(other.failedByReason, uniquingKeysWith: +)
        latency.add(other.latency)
    }

    mutating func count(_ result: ContactResult) {
        switch result.status {
        case .created: created += 1
        case .updated: updated += 1
        case .unchanged: unchanged += 1
        case .replayed: replayed += 1
        case .failed:
            failed += 1
            failedByReason[result.error?.reasonText ?? "UNKNOWN", default: 0] += 1
        }
    }
}

package struct LoadReport: Sendable {
    package var options: LoadOptions
    package var counts = LoadCounts()
    /// Sent, answered or not.
    package var sent = 0
    /// Message bytes sent.
    package var bytes = 0
    /// From the first message to the last result.
    package var seconds = 0.0
    /// Time to make the messages, before the clock started.
    package var preparationSeconds = 0.0
    /// At a fixed rate: how late the latest message went out.
    package var maximumLag = 0.0
    package var failure: String?
    /// What reading back found; nil when it was not asked for.
    package var verification: LoadVerification?

    /// The percentiles that are told.
    private static let percentiles: [(name: String, value: Double)] = [
        ("p50", 50), ("p90", 90), ("p99", 99), ("p99_9", 99.9),
    ]
    /// A rate is not kept when messages go out later than this.
    private static let tolerableLag = 0.1

    package init(options: LoadOptions) {
        self.options = options
    }

    package var contactsPerSecond: Double {
        seconds > 0 ? Double(counts.acknowledged) / seconds : 0
    }

    package var megabytesPerSecond: Double { seconds > 0 ? Double(bytes) / seconds / 1e6 : 0 }

    /// The table.
    package var text: String {
        var rows = [
            ("contacts", ProgressText.grouped(counts.acknowledged)),
            ("created", ProgressText.grouped(counts.created)),
            ("updated", ProgressText.grouped(counts.updated)),
            ("unchanged", ProgressText.grouped(counts.unchanged)),
            ("failed", ProgressText.grouped(counts.failed)),
            ("seconds", ProgressText.fixed(seconds, places: 3)),
            ("contacts/s", ProgressText.grouped(Int(contactsPerSecond))),
            ("MB/s", ProgressText.fixed(megabytesPerSecond, places: 2)),
        ]
        if options.rate != nil {
            rows.append(("latest send, s", ProgressText.fixed(maximumLag, places: 3)))
        }
        var text = ProgressText.table(rows.map { (name: $0.0, value: $0.1) })
        text += "\nlatency of a contact, ms\n"
        var latencies = Self.percentiles.map { percentile in
            let name = "  " + percentile.name.replacing("_", with: ".")
            let value = counts.latency.valueAtPercentile(percentile.value)
            return (name: name, value: milliseconds(value))
        }
        latencies.append((name: "  max", value: milliseconds(maximumLatency)))
        text += ProgressText.table(latencies)
        for (reason, count) in counts.failedByReason.sorted(by: { $0.value > $1.value }) {
            text += "failed \(reason): \(ProgressText.grouped(count))\n"
        }
        if options.rate != nil, maximumLag > Self.tolerableLag {
            text += "\nthe rate was not kept: the server or this machine is too slow for it\n"
        }
        if let failure { text += "\nended early: \(failure)\n" }
        if let verification { text += "\nread back\n" + verification.text }
        return text
    }

    /// The JSON object.
    package var json: [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in
            writer.object("options") { writer in options.write(to: &writer) }
            writer.set("sent", sent)
            writer.set("contacts", counts.acknowledged)
            writer.set("created", counts.created)
            writer.set("updated", counts.updated)
            writer.set("unchanged", counts.unchanged)
            writer.set("failed", counts.failed)
            writer.object("failed_by_reason") { writer in
                for (reason, count) in counts.failedByReason.sorted(by: { $0.key < $1.key }) {
                    writer.set(reason, count)
                }
            }
            writer.set("seconds", seconds)
            writer.set("preparation_seconds", preparationSeconds)
            writer.set("contacts_per_second", contactsPerSecond)
            writer.set("bytes", bytes)
            writer.set("megabytes_per_second", megabytesPerSecond)
            writer.set("maximum_lag_seconds", maximumLag)
            writer.object("latency_ns") { writer in
                for percentile in Self.percentiles {
                    let value = counts.latency.valueAtPercentile(percentile.value)
                    writer.set(percentile.name, value)
                }
                writer.set("max", maximumLatency)
                writer.set("mean", counts.acknowledged > 0 ? counts.latency.mean : 0)
            }
            verification?.write(to: &writer)
            if let failure { writer.set("error", failure) } else { writer.setNull("error") }
        }
        writer.endLine()
        return writer.bytes
    }

    private var maximumLatency: UInt64 { counts.latency.totalCount > 0 ? counts.latency.max : 0 }

    private func milliseconds(_ nanoseconds: UInt64) -> String {
        ProgressText.fixed(Double(nanoseconds) / 1e6, places: 3)
    }
}

extension LoadVerification {
    private var rows: [(name: String, count: Int)] {
        [
            ("acknowledged", acknowledged), ("stored", stored), ("missing", missing),
            ("different", different),
        ]
    }

    fileprivate var text: String {
        ProgressText.table(
            rows.map { (name: "  " + $0.name, value: ProgressText.grouped($0.count)) })
    }

    fileprivate func write(to writer: inout JSONWriter) {
        writer.object("verification") { writer in
            for row in rows { writer.set(row.name, row.count) }
        }
    }
}
