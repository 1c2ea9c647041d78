// In: Ctrl-C. Out: the first one is handed to the command, which winds up; the second one ends the
// process at once. On a queue of its own.

import ContactsTool
import Dispatch
import Foundation
import Synchronization

final class Interrupt {
    private static let queue = DispatchQueue(label: "contacts.interrupt")
    /// Signals are the process's, so their number is too.
    private static let count = Atomic(0)

    private let source: any DispatchSourceSignal

    init(_ windUp: @escaping @Sendable () -> Void) {
        signal(SIGINT, SIG_IGN)
        source = DispatchSource.makeSignalSource(signal: SIGINT, queue: Self.queue)
        source.setEventHandler {
            let count = Self.count.wrappingAdd(1, ordering: .relaxed).newValue
            guard count == 1 else { _exit(ExitStatus.interrupted) }
            Terminal.note("\nstopping; Ctrl-C again ends at once\n")
            windUp()
        }
        source.activate()
    }

    /// Gives Ctrl-C back its usual meaning.
    func cancel() {
        source.cancel()
        signal(SIGINT, SIG_DFL)
    }
}
