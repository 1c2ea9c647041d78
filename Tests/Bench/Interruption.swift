// What an interrupt does. In: SIGINT, SIGTERM. Out: the end of the process, its files removed. A
// thread of Dispatch's.

import Foundation

/// Cleans up and ends the process on SIGINT and SIGTERM.
final class Interruption {
    private var sources: [any DispatchSourceSignal] = []

    init(_ cleanUp: @escaping @Sendable () -> Void) {
        for number in [SIGINT, SIGTERM] {
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler {
                Note.print("interrupted, cleaning up")
                cleanUp()
                _exit(130)
            }
            source.resume()
            sources.append(source)
        }
    }

    func cancel() {
        for source in sources { source.cancel() }
    }
}
