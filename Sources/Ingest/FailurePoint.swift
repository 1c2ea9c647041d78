// Moments at which the tests let the server die, since chance rarely hits them.
//
// In: the environment's CONTACTSD_FAILURE_POINT, NAME:COUNT. Out: SIGKILL to the process itself when
// it comes to that point for the COUNT-th time. Any thread. In debug builds only, which the tests
// run; a release build has nothing of it.

#if DEBUG
    internal import Foundation
    internal import Synchronization
#endif

enum FailurePoint: String {
    /// Rows are sent, and COPY waits for its end.
    case beforeCopyEnds = "before-copy-ends"
    /// All is written but the COMMIT.
    case beforeCommit = "before-commit"
    /// It is committed, and nobody was told.
    case afterCommit = "after-commit"
    /// A call goes on with an import, and does not know yet where.
    case beforeProgressIsRead = "before-progress-is-read"

    #if DEBUG
        private static let chosen: (point: FailurePoint, count: Int)? = {
            let parts = ProcessInfo.processInfo.environment["CONTACTSD_FAILURE_POINT"]?
                .split(separator: ":")
            guard let parts else { return nil }
            guard parts.count == 2, let point = FailurePoint(rawValue: String(parts[0])),
                let count = Int(parts[1]), count > 0
            else { fatalError("FAILURE_POINT is not NAME:COUNT") }  // safe because only tests ask
            return (point, count)
        }()
        private static let passes = Atomic(0)

        func pass() {
            guard let chosen = Self.chosen, chosen.point == self,
                Self.passes.add(1, ordering: .relaxed).newValue == chosen.count
            else { return }
            kill(getpid(), SIGKILL)
            // The signal may take a moment; nothing else may happen on this thread.
            while true { pause() }
        }
    #else
        @inline(__always) func pass() {}
    #endif
}
