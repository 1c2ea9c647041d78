// What the unary methods do: how a request is read, what is asked of the engine, and how the answer
// is written. Event loop thread.

internal import Contacts
internal import Ingest
internal import RPC

enum UnaryMethods {
    static var getContacts: UnaryMethod<[ContactKey?]> {
        UnaryMethod(
            messageName: "GetContactsRequest",
            decode: { decoder, bytes throws(DecodeError) in try decoder.decodeGetContacts(bytes) },
            answerByteCount: { keys in
                min(LookupTooLarge.byteLimit, keys.count * ContactLimits.contactBytes)
            },
            run: { keys, workspace, call in
                guard keys.count <= ServerLimits.keysPerLookup else {
                    return call.end(.tooManyKeys(keys.count, limit: ServerLimits.keysPerLookup))
                }
                call.engine.contacts(
                    keys, in: workspace,
                    completion: call.answer { found, encoder in encoder.getContacts(found) })
            })
    }

    static var getImport: UnaryMethod<String> {
        UnaryMethod(
            messageName: "GetImportRequest",
            decode: { decoder, bytes throws(DecodeError) in try decoder.decodeGetImport(bytes) },
            answerByteCount: { _ in ServerLimits.smallAnswerBytes },
            run: { importID, workspace, call in
                call.engine.findImport(
                    importID, in: workspace,
                    completion: call.answer { found, encoder throws(RPCStatus) in
                        guard let found else { throw .unknownImport(importID) }
                        return encoder.getImport(found)
                    })
            })
    }

    static var listImports: UnaryMethod<ImportPage> {
        UnaryMethod(
            messageName: "ListImportsRequest",
            decode: { decoder, bytes throws(DecodeError) in try decoder.decodeListImports(bytes) },
            answerByteCount: { _ in ImportList.byteLimit },
            run: { page, workspace, call in
                let place = ImportPlace(token: page.token)
                guard page.token.isEmpty || place != nil else { return call.end(.wrongPageToken) }
                call.engine.imports(
                    page.size, after: place, in: workspace,
                    completion: call.answer { found, encoder in
                        let last = found.hasMore ? found.imports.last.map(ImportPlace.init) : nil
                        return encoder.listImports(found.imports, nextPageToken: last?.token ?? "")
                    })
            })
    }

    static var createList: UnaryMethod<String> {
        UnaryMethod(
            messageName: "CreateListRequest",
            decode: { decoder, bytes throws(DecodeError) in try decoder.decodeCreateList(bytes) },
            answerByteCount: { _ in ServerLimits.smallAnswerBytes },
            run: { name, workspace, call in
                call.engine.createList(
                    name, in: workspace,
                    completion: call.answer { made, encoder throws(RPCStatus) in
                        switch made {
                        case .created(let list): return encoder.createList(list)
                        case .nameTaken: throw .listNameTaken
                        case .tooMany(let limit): throw .tooManyLists(limit)
                        }
                    })
            })
    }

    static var listLists: UnaryMethod<Void> {
        UnaryMethod(
            messageName: "ListListsRequest",
            decode: { decoder, bytes throws(DecodeError) in try decoder.decodeListLists(bytes) },
            answerByteCount: { _ in LookupTooLarge.byteLimit },
            run: { _, workspace, call in
                call.engine.lists(
                    in: workspace,
                    completion: call.answer { lists, encoder in encoder.listLists(lists) })
            })
    }

    static var deleteList: UnaryMethod<Int64> {
        UnaryMethod(
            messageName: "DeleteListRequest",
            decode: { decoder, bytes throws(DecodeError) in try decoder.decodeDeleteList(bytes) },
            answerByteCount: { _ in ServerLimits.smallAnswerBytes },
            run: { id, workspace, call in
                call.engine.deleteList(
                    id, in: workspace,
                    completion: call.answer { isGone, encoder throws(RPCStatus) in
                        guard isGone else { throw .unknownList(id) }
                        return encoder.deleteList()
                    })
            })
    }
}
