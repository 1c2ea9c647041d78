// The calls beside the upsert: exports, events, lists, imports, health.
//
// In: what is asked for. Out: answers, asynchronously. Any thread.

public import Contacts
internal import HTTP2
internal import NIOCore
internal import RPC

extension ContactsClient {
    /// All contacts of the workspace, or those of one list, in the order of their ids.
    ///
    /// ```swift
    /// for try await records in client.exportContacts() {
    ///     for record in records { print(record.contact.email ?? "") }
    /// }
    /// ```
    public func exportContacts(listID: Int64? = nil) -> ServerStream<[ContactRecord]> {
        serverStream("ExportContacts", ServiceRequests.exportContacts(listID: listID ?? 0)) {
            decoder, bytes throws(DecodeError) in try decoder.exportContacts(bytes)
        }
    }

    /// The events of imports that asked for workflows: those that are there, then those to come.
    /// To go on later, pass the offset of the last event that was handled.
    ///
    /// - Parameter offset: The last offset that the caller has; 0: from the oldest that is kept.
    public func watchEvents(after offset: UInt64 = 0) -> ServerStream<[ContactEvent]> {
        serverStream("WatchEvents", ServiceRequests.watchEvents(after: offset)) {
            decoder, bytes throws(DecodeError) in try decoder.watchEvents(bytes)
        }
    }

    /// Makes a list.
    ///
    /// - Throws: `ClientError`, with `ALREADY_EXISTS` when there is one of that name.
    public func createList(_ name: String) async throws -> ContactList {
        let response = try await unary("CreateList", ServiceRequests.createList(name))
        return try decoding(response) { try ResponseDecoder().createList($0) }
    }

    /// The lists of the workspace, in the order of their ids.
    public func lists() async throws -> [ContactList] {
        let response = try await unary("ListLists", ServiceRequests.listLists())
        return try decoding(response) { try ResponseDecoder().listLists($0) }
    }

    /// Removes a list; its contacts stay.
    public func deleteList(_ id: Int64) async throws {
        let response = try await unary("DeleteList", ServiceRequests.deleteList(id))
        try decoding(response) { try ResponseDecoder().deleteList($0) }
    }

    /// What is known of an import.
    ///
    /// - Throws: `ClientError`, with `NOT_FOUND` when there is none of that id.
    public func `import`(_ id: String) async throws -> Import {
        let response = try await unary("GetImport", ServiceRequests.getImport(id))
        return try decoding(response) { try ResponseDecoder().getImport($0) }
    }

    /// A page of the workspace's imports, the latest first.
    ///
    /// - Parameters:
    ///   - pageSize: The most imports on the page; 0 is the server's default.
    ///   - pageToken: The `nextPageToken` of the page before; empty: the first page.
    /// - Returns: The imports, and what asks for the next page; empty on the last one.
    public func imports(
        pageSize: Int = 0, pageToken: String = ""
    ) async throws -> (imports: [Import], nextPageToken: String) {
        let request = ServiceRequests.listImports(
            pageSize: Int32(clamping: pageSize), pageToken: pageToken)
        let response = try await unary("ListImports", request)
        return try decoding(response) { try ResponseDecoder().listImports($0) }
    }

    /// Whether the server can commit contacts, by `grpc.health.v1.Health`.
    public func health() async throws -> ServingStatus {
        let response = try await unary(path: HealthCheck.path, HealthCheck.request)
        guard let status = response.withUnsafeReadableBytes(HealthCheck.status) else {
            throw ClientError.malformed
        }
        return status
    }

    private func serverStream<Batch: Sendable>(
        _ method: String, _ message: [UInt8], _ decode: @escaping StreamReading<Batch>.Decode
    ) -> ServerStream<Batch> {
        ServerStream { [self] in
            try await onLoop { [connection, metadata] in
                let exchange = StreamExchange()
                let call = try connection.value.start(
                    Self.service + method, metadata: metadata, handler: exchange)
                exchange.begin(call, message)
                return StreamReading(
                    state: exchange.state, exchange: exchange,
                    eventLoop: connection.value.eventLoop, decode: decode)
            }
        }
    }
}
