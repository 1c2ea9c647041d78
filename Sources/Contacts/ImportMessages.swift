// The requests and answers about imports, between wire bytes and values.
//
// In: one whole message, or values. Out: the other. Event loop thread.

internal import CContactsProto
internal import CProtobufC

/// A page of imports that a caller asks for.
package struct ImportPage: Sendable, Equatable {
    /// The most imports of one page.
    package static let sizeLimit = 1000

    package let size: Int
    /// Empty: the first page.
    package let token: String
}

extension RequestDecoder {
    /// Decodes a `GetImportRequest`.
    ///
    /// - Returns: The import's id.
    package func decodeGetImport(_ bytes: UnsafeRawBufferPointer) throws(DecodeError) -> String {
        let message = try unpack(bytes, contacts__v1__get_import_request__unpack)
        let importID = try Self.importID(message.pointee.import_id)
        guard !importID.isEmpty else {
            throw DecodeError.invalid(field: "import_id", description: "it is empty")
        }
        return importID
    }

    /// Decodes a `ListImportsRequest`.
    package func decodeListImports(
        _ bytes: UnsafeRawBufferPointer
    ) throws(DecodeError) -> ImportPage {
        let message = try unpack(bytes, contacts__v1__list_imports_request__unpack)
        let size = Int(message.pointee.page_size)
        guard size >= 0 else {
            throw DecodeError.invalid(field: "page_size", description: "it is negative")
        }
        return ImportPage(
            size: size == 0 ? ImportPage.sizeLimit : min(size, ImportPage.sizeLimit),
            token: try Self.text(message.pointee.page_token, "page_token"))
    }
}

extension ResponseEncoder {
    /// A `GetImportResponse`.
    package func getImport(_ value: Import) -> PackedMessage {
        let response = builder.make(
            Contacts__V1__GetImportResponse.self, contacts__v1__get_import_response__init)
        response?.pointee.import = makeImport(value)
        return PackedMessage(response)
    }

    /// A `ListImportsResponse`.
    package func listImports(_ imports: [Import], nextPageToken: String) -> PackedMessage {
        let response = builder.make(
            Contacts__V1__ListImportsResponse.self, contacts__v1__list_imports_response__init)
        response?.pointee.n_imports = imports.count
        response?.pointee.imports = builder.array(imports.map(makeImport))
        response?.pointee.next_page_token = arena.copy(nextPageToken)
        return PackedMessage(response)
    }

    private func makeImport(_ value: Import) -> UnsafeMutablePointer<Contacts__V1__Import>? {
        let message = builder.make(Contacts__V1__Import.self, contacts__v1__import__init)
        message?.pointee.import_id = arena.copy(value.importID)
        message?.pointee.state = Contacts__V1__ImportState(UInt32(value.state.rawValue))
        message?.pointee.summary = makeSummary(value.summary)
        message?.pointee.options = builder.options(value.options)
        message?.pointee.created_at = builder.timestamp(value.createdAt)
        message?.pointee.updated_at = builder.timestamp(value.updatedAt)
        return message
    }
}
