// SIGTERM and SIGINT as something to wait for, on the main thread.

import Foundation
import NIOConcurrencyHelpers

/// Catches the signals that stop a server. The first begins the stop; a second ends the process at
/// once, for an operator who will not wait.
final class StopSignals {
    private let arrival = Arrival()
    private var sources: [any DispatchSourceSignal] = []

    init() {
        for (number, name) in [(SIGTERM, "SIGTERM"), (SIGINT, "SIGINT")] {
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler { [arrival] in arrival.receive(name) }
            source.resume()
            sources.append(source)
        }
    }

    /// Waits for the first signal and tells its name.
    func wait() -> String { arrival.wait() }

    private final class Arrival: Sendable {
        private let first = NIOLockedValueBox<String?>(nil)
        private let arrived = DispatchSemaphore(value: 0)

        func receive(_ name: String) {
            let isFirst = first.withLockedValue { first in
                defer { first = first ?? name }
                return first == nil
            }
            guard isFirst else { _exit(130) }
            arrived.signal()
        }

        func wait() -> String {
            arrived.wait()
            return first.withLockedValue { $0 } ?? ""
        }
    }
}
