// Statements that are sent together and answered together, in one round trip. In: prepared
// statements, queued in order. Out: their results, once somebody needs one. The connection's
// thread. After the first error the server skips the rest of what was queued, so a statement that
// must not be followed by a COMMIT raises an error.
// https://www.postgresql.org/docs/15/libpq-pipeline-mode.html

import CLibpq

extension Connection {
    /// Queues a prepared statement. It is on its way at the latest with the next `settle`, which
    /// has to come before anything else is done with the connection.
    package func enqueue(
        prepared name: String, _ parameters: Parameters = Parameters()
    ) throws(PostgresError) {
        let connection = try open()
        if copyIsOpen { throw PostgresError(.misuse, "a COPY is open on this connection") }
        if queuedStatements.isEmpty, PQenterPipelineMode(connection) != 1 {
            throw lost(connection)
        }
        let sent = parameters.withArrays {
            PQsendQueryPrepared(
                connection, name, $0.count, $0.values, $0.lengths, $0.formats, 1)
        }
        guard sent == 1 else { throw lost(connection) }
        queuedStatements.append(name)
        unflushedByteCount += parameters.byteCount
        if unflushedByteCount >= Self.pipelineFlushByteCount {
            try flush(connection, Deadline(after: statementDeadline))
            unflushedByteCount = 0
        }
    }

    /// Whether statements are queued whose results nobody has taken.
    package var hasQueuedStatements: Bool { !queuedStatements.isEmpty }

    /// Waits for the results of all queued statements, in their order.
    ///
    /// - Throws: The first error; its `statement` names the one that failed. What was queued behind
    ///   it did not run.
    @discardableResult
    package func settle() throws(PostgresError) -> [QueryResult] {
        guard !queuedStatements.isEmpty else { return [] }
        let names = queuedStatements
        queuedStatements.removeAll(keepingCapacity: true)
        unflushedByteCount = 0
        let connection = try open()
        let deadline = Deadline(after: statementDeadline)
        try send(connection, PQpipelineSync(connection), deadline)
        var results: [QueryResult] = []
        results.reserveCapacity(names.count)
        var failure: PostgresError?
        while let next = try nextOfPipeline(connection, deadline) {
            switch PQresultStatus(next) {
            case PGRES_TUPLES_OK, PGRES_COMMAND_OK, PGRES_EMPTY_QUERY:
                results.append(QueryResult(owning: next))
            case PGRES_PIPELINE_ABORTED:
                PQclear(next)
            default:
                let isLost = PQstatus(connection) == CONNECTION_BAD
                let name = results.count < names.count ? names[results.count] : nil
                failure =
                    failure
                    ?? PostgresError(result: next, connectionIsLost: isLost, statement: name)
                PQclear(next)
                if isLost {
                    close()
                    throw failure ?? PostgresError(.connectionLost, "the connection is closed")
                }
            }
        }
        guard PQexitPipelineMode(connection) == 1 else { throw lost(connection) }
        if let failure { throw failure }
        return results
    }

    /// nil at the end of the pipeline. Between the results of two statements libpq puts a nil.
    private func nextOfPipeline(
        _ connection: OpaquePointer, _ deadline: Deadline
    ) throws(PostgresError) -> OpaquePointer? {
        var nils = 0
        while nils < 2 {
            guard let result = try nextResult(connection, deadline) else {
                nils += 1
                continue
            }
            guard PQresultStatus(result) == PGRES_PIPELINE_SYNC else { return result }
            PQclear(result)
            return nil
        }
        throw lost(connection)
    }

    /// Large parameters go out as they come instead of gathering in libpq's buffer, which keeps its
    /// largest size.
    private static let pipelineFlushByteCount = 64 * 1024
}
