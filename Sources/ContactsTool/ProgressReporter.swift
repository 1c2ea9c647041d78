// In: a way to ask how far an import is. Out: a line on standard error now and then: a bar that is
// drawn again in place on a terminal, else a line every ten seconds. On a task of its own.

import Foundation

/// How progress is shown.
package enum ProgressStyle: String, Sendable, CaseIterable {
    case auto, bar, plain, none

    /// What `auto` means here: a bar where there is a terminal that can go back on its line.
    package func resolved(isTerminal: Bool, term: String?) -> ProgressStyle {
        guard self == .auto else { return self }
        return isTerminal && term != nil && term != "dumb" ? .bar : .plain
    }
}

package struct ProgressReporter: Sendable {
    private static let barInterval = Duration.milliseconds(200)
    /// When a terminal does not tell its width.
    private static let usualWidth = 80

    private let style: ProgressStyle
    private let interval: Duration
    private let snapshot: @Sendable () -> ProgressSnapshot

    /// A reporter; `interval` is the time between lines where there is no bar.
    package init(
        style: ProgressStyle, interval: Duration = .seconds(10),
        snapshot: @escaping @Sendable () -> ProgressSnapshot
    ) {
        let term = ProcessInfo.processInfo.environment["TERM"]
        self.style = style.resolved(isTerminal: isatty(STDERR_FILENO) == 1, term: term)
        self.interval = interval
        self.snapshot = snapshot
    }

    /// Reports until the task is cancelled, then takes the bar away.
    package func run() async {
        switch style {
        case .none, .auto: return
        case .plain:
            while await sleeps(interval) { write(ProgressText.plain(snapshot()) + "\n") }
        case .bar:
            while await sleeps(Self.barInterval) {
                // The width is asked each time, so a window may change its size.
                write("\r" + ProgressText.bar(snapshot(), width: width) + "\u{1B}[K")
            }
            write("\r\u{1B}[K")
        }
    }

    private func sleeps(_ duration: Duration) async -> Bool {
        do {
            try await Task.sleep(for: duration)
            return true
        } catch {
            return false
        }
    }

    private var width: Int {
        var size = winsize()
        let isKnown = ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0
        return isKnown ? Int(size.ws_col) : Self.usualWidth
    }

    private func write(_ text: String) {
        try? FileHandle.standardError.write(contentsOf: Array(text.utf8))
    }
}
