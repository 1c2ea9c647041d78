// What an interrupt does. In: SIGINT, SIGTERM. Out: the end of the process, its files removed. A
// thread of Dispatch's.

import Foundation
import Synchronization

/// Cleans up and ends the process on SIGINT and SIGTERM.
final class Interruption {
    private var sources: [any DispatchSourceSignal] = []
    private let cleaning = Cleaning()

    init(_ cleanUp: @escaping @Sendable () -> Void) {
        for number in [SIGINT, SIGTERM] {
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler { [cleaning] in
                guard cleaning.begin() else { return }
                Note.print("interrupted, cleaning up")
                cleanUp()
                _exit(130)
            }
            source.resume()
            sources.append(source)
        }
    }

    /// Does not return when an interrupt came before: the failures that follow from it are no news.
    func cancel() {
        for source in sources { source.cancel() }
        while cleaning.hasBegun { sleep(60) }
    }

    private final class Cleaning: Sendable {
        private let flag = Atomic(false)

        var hasBegun: Bool { flag.load(ordering: .acquiring) }

        /// - Returns: Whether this is the first time.
        func begin() -> Bool { !flag.exchange(true, ordering: .acquiringAndReleasing) }
    }
}
