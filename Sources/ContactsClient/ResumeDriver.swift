// Keeps a resumable upsert's call alive: connects, calls, sends and receives, and does so again
// when the server goes away.
//
// In: the shared state's messages. Out: results into the shared state, and at last how it ended.
// One task for each upsert, and while a call is open one more that sends.

internal import Contacts

struct ResumeDriver: Sendable {
    let state: ResumeState
    let configuration: ContactsClient.Configuration
    let options: UpsertOptions
    let policy: RetryPolicy

    /// Runs calls until one ends it all.
    func run() async {
        while true {
            let error = await connection()
            let delay = state.change { fields -> Duration? in
                fields.endCall()
                if let error, let delay = fields.retryDelay(error, policy) { return delay }
                fields.finish(error)
                return nil
            }
            guard let delay else { return }
            do {
                try await Task.sleep(for: delay)
            } catch {
                return state.change { $0.finish(.cancelledByCaller) }
            }
        }
    }

    /// One connection with one call on it; gives why it ended, nil when all is answered.
    private func connection() async -> ClientError? {
        do {
            let client = try await ContactsClient.connect(configuration)
            let error = await call(client)
            if error == nil {
                // It closes in the background; nobody has to wait for that.
                Task { await client.close() }
            }
            return error
        } catch {
            return Self.clientError(error)
        }
    }

    private func call(_ client: ContactsClient) async -> ClientError? {
        do {
            let stream = try await client.bulkUpsert(options)
            let started = try await stream.started()
            if let error = state.change({ $0.begin(started) }) { return error }
            async let sending: Void = send(stream)
            let error = await receive(stream)
            // What still waits to be sent belongs to the next call.
            state.change { $0.endCall() }
            await sending
            return error
        } catch {
            return Self.clientError(error)
        }
    }

    private func send(_ stream: BulkUpsertStream) async {
        while true {
            switch await state.wait({ $0.nextStep() }) {
            case .stop: return
            case .finish: return stream.finish()
            case .message(let bytes):
                // Why it failed is told with the results.
                do { try await stream.send(bytes: bytes) } catch { return }
            }
        }
    }

    private func receive(_ stream: BulkUpsertStream) async -> ClientError? {
        do {
            for try await results in stream.results {
                let (isNext, hasRoom) = state.change { fields in
                    (fields.add(results), fields.hasRoomForResults)
                }
                guard isNext else { return .malformed }
                if !hasRoom { await waitForRoom() }
            }
            return state.attempt { $0.isDone ? true : nil } == nil ? .endedEarly : nil
        } catch {
            let isSummed = (try? await stream.summary()) != nil
            state.change { $0.isSummed = isSummed }
            return Self.clientError(error)
        }
    }

    /// Returns also when the end has come: then the call is of no use any more.
    private func waitForRoom() async {
        await state.wait { $0.hasRoomForResults || $0.end != nil ? () : nil }
    }

    private static func clientError(_ error: any Error) -> ClientError {
        // It was of use at the first connection, so somebody is exchanging it.
        if let error = error as? SecurityFileError { return .unavailable("\(error)") }
        return error as? ClientError ?? .cancelledByCaller
    }
}
