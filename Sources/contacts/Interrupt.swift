// In: Ctrl-C and SIGTERM. Out: the first one is handed to the command, which winds up; the second
// one ends the process at once. On a queue of its own.

import ArgumentParser
import ContactsTool
import Dispatch
import Foundation
import Synchronization

final class Interrupt {
    private static let queue = DispatchQueue(label: "contacts.interrupt")
    private static let signals = [SIGINT, SIGTERM]
    /// Signals are the process's, so the first one that came is too; 0: none has.
    private static let first = Atomic<Int32>(0)

    private let sources: [any DispatchSourceSignal]

    /// What a command exits with that was interrupted: 130 after Ctrl-C, 143 after SIGTERM.
    static var exitCode: ExitCode { ExitCode(status(first.load(ordering: .relaxed))) }

    private static func status(_ signal: Int32) -> Int32 {
        signal == SIGTERM ? ExitStatus.terminated : ExitStatus.interrupted
    }

    init(_ windUp: @escaping @Sendable () -> Void) {
        sources = Self.signals.map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: Self.queue)
            source.setEventHandler {
                let isFirst = Self.first.compareExchange(
                    expected: 0, desired: number, ordering: .relaxed
                ).exchanged
                guard isFirst else { _exit(Self.status(number)) }
                Terminal.note("\nstopping; Ctrl-C again ends at once\n")
                windUp()
            }
            source.activate()
            return source
        }
    }

    /// Gives the signals back their usual meaning.
    func cancel() {
        for source in sources { source.cancel() }
        for number in Self.signals { signal(number, SIG_DFL) }
    }
}
