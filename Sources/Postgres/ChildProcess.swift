// Child processes. In: a program, its arguments, where its output goes. Out: its exit, and signals
// to it. One thread of its own starts each child and waits for it, because PR_SET_PDEATHSIG means
// the death of the parent's *thread* (prctl(2)): a child started from a pooled thread would die
// with that. Any thread may signal or wait.

import Glibc
import NIOConcurrencyHelpers

package final class ChildProcess: Sendable {
    private struct State {
        var processID: pid_t = 0
        var startError: CInt = 0
        /// As waitpid(2) tells it; nil while the child runs.
        var exitStatus: CInt?
    }

    private let state = NIOLockedValueBox(State())
    private let arguments: [String]
    private let environment: [String]
    /// Its other end is closed first when the child has been started, then when it has ended.
    private let startedPipe: Pipe
    private let endedPipe: Pipe

    /// Starts a program by its absolute path, in a process group of its own, so that a Ctrl-C meant
    /// for this process does not reach it. Standard output and error are appended to `log`.
    package init(arguments: [String], environment: [String], log: String) throws(PostgresError) {
        self.arguments = arguments
        self.environment = environment
        let output = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        guard output >= 0 else {
            throw PostgresError(.cluster, "cannot write \(log): \(Self.text(errno))")
        }
        startedPipe = try Pipe()
        endedPipe = try Pipe()
        let context = Unmanaged.passRetained(Start(child: self, output: output))
        var thread = pthread_t()
        let code = pthread_create(&thread, nil, keepChild, context.toOpaque())
        guard code == 0 else {
            context.release()
            Glibc.close(output)
            throw PostgresError(.cluster, "cannot start a thread: \(Self.text(code))")
        }
        pthread_detach(thread)
        _ = startedPipe.waitForClose(Deadline(after: .seconds(60)))
        let startError = state.withLockedValue { $0.startError }
        guard startError == 0 else {
            throw PostgresError(
                .cluster, "cannot start \(arguments.first ?? ""): \(Self.text(startError))")
        }
    }

    /// Nothing once the child has ended: its id may be another's.
    package func signal(_ number: CInt) {
        state.withLockedValue { state in
            if state.exitStatus == nil, state.processID > 0 { kill(state.processID, number) }
        }
    }

    package var isRunning: Bool { state.withLockedValue { $0.exitStatus == nil } }
    package var processID: Int32 { state.withLockedValue { $0.processID } }

    /// The exit code, 128 + the number of a deadly signal, or nil if it still runs.
    package func waitForExit(within limit: Duration) -> Int? {
        waitForExit(Deadline(after: limit))
    }

    func waitForExit(_ deadline: Deadline) -> Int? {
        guard endedPipe.waitForClose(deadline) else { return nil }
        guard let status = state.withLockedValue({ $0.exitStatus }) else { return nil }
        let signal = status & 0x7f
        return Int(signal == 0 ? (status >> 8) & 0xff : 128 + signal)
    }

    /// On the child's thread, from its start to its end.
    fileprivate func keep(output: CInt) {
        var processID: pid_t = 0
        let code = spawn(output, &processID)
        Glibc.close(output)
        state.withLockedValue {
            $0.processID = processID
            $0.startError = code
        }
        startedPipe.closeWriteEnd()
        var status: CInt = 0
        if code == 0 {
            // The id stays reserved until it is waited for, and `signal` asks under the lock.
            var information = siginfo_t()
            while waitid(P_PID, id_t(processID), &information, WEXITED | WNOWAIT) != 0,
                errno == EINTR
            {}
            state.withLockedValue { state in
                waitpid(processID, &status, 0)
                state.exitStatus = status
            }
        } else {
            state.withLockedValue { $0.exitStatus = 127 << 8 }
        }
        endedPipe.closeWriteEnd()
    }

    private func spawn(_ output: CInt, _ processID: inout pid_t) -> CInt {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO)
        posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO)
        // Most descriptors close by themselves; one of a library that forgot to say so would keep
        // a socket open in the child.
        for name in ClusterFiles.names(in: "/proc/self/fd") {
            guard let descriptor = CInt(name), descriptor > STDERR_FILENO else { continue }
            posix_spawn_file_actions_addclose(&actions, descriptor)
        }

        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        var all = sigset_t()
        sigemptyset(&none)
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setpgroup(&attributes, 0)
        let flags = POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF
        posix_spawnattr_setflags(&attributes, Int16(flags))

        var words = arguments.map { strdup($0) } + [nil]
        var variables = environment.map { strdup($0) } + [nil]
        defer { (words + variables).forEach { free($0) } }
        guard let program = words.first ?? nil else { return EINVAL }
        return posix_spawn(&processID, program, &actions, &attributes, &words, &variables)
    }

    static func text(_ code: CInt) -> String {
        strerror(code).map { String(cString: $0) } ?? "error \(code)"
    }
}

/// What the child's thread is given.
private final class Start {
    let child: ChildProcess
    let output: CInt

    init(child: ChildProcess, output: CInt) {
        self.child = child
        self.output = output
    }
}

private func keepChild(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let context else { return nil }
    let start = Unmanaged<Start>.fromOpaque(context).takeRetainedValue()
    start.child.keep(output: start.output)
    return nil
}

/// A one-shot signal that can be waited for with a deadline: the closing of a pipe.
private final class Pipe: Sendable {
    private let readEnd: CInt
    private let writeEnd: NIOLockedValueBox<CInt>

    init() throws(PostgresError) {
        var ends: [CInt] = [-1, -1]
        guard pipe(&ends) == 0 else {
            throw PostgresError(.cluster, "cannot make a pipe: \(ChildProcess.text(errno))")
        }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        readEnd = ends[0]
        writeEnd = NIOLockedValueBox(ends[1])
    }

    deinit {
        closeWriteEnd()
        Glibc.close(readEnd)
    }

    func closeWriteEnd() {
        writeEnd.withLockedValue { end in
            if end >= 0 { Glibc.close(end) }
            end = -1
        }
    }

    func waitForClose(_ deadline: Deadline) -> Bool {
        deadline.wait(for: CInt(POLLIN), on: readEnd) != nil
    }
}
