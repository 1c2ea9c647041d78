// SIGTERM and SIGINT as something to wait for, on the main thread.

import Foundation
import Synchronization

/// Catches the signals that stop a server. The first begins the stop; a second ends the process at
/// once, for an operator who will not wait.
final class StopSignals: Sendable {
    private let received = Mutex<String?>(nil)
    private let arrived = DispatchSemaphore(value: 0)
    private let sources = Mutex<[any DispatchSourceSignal]>([])

    init() {
        for (number, name) in [(SIGTERM, "SIGTERM"), (SIGINT, "SIGINT")] {
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler { [weak self] in self?.receive(name) }
            source.resume()
            sources.withLock { $0.append(source) }
        }
    }

    private func receive(_ name: String) {
        let isFirst = received.withLock { received in
            defer { received = received ?? name }
            return received == nil
        }
        guard isFirst else { _exit(130) }
        arrived.signal()
    }

    /// Waits for the first signal and tells its name.
    func wait() -> String {
        arrived.wait()
        return received.withLock { $0 } ?? ""
    }
}
