// How many files and sockets the process may have open. In: the policy for connections. Out: the same,
// within what the system allows. Before anything is opened.

import ContactsServer
import Glibc
import Logging

enum Descriptors {
    /// For the lanes and other connections to the database, the admin address, certificates, the log,
    /// and the event loops' own: some 50, and twice as much again for larger machines.
    static let reserve = 200

    /// Raises the process's limit as far as it may be, and lowers that of connections where even so it
    /// would leave none for anything else.
    static func makeRoom(for policy: ServerPolicy, _ logger: Logger) -> ServerPolicy {
        var limit = rlimit()
        let files = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        guard getrlimit(files, &limit) == 0 else { return policy }
        let wanted = rlim_t(policy.connections + reserve)
        if limit.rlim_cur < wanted {
            limit.rlim_cur = min(wanted, limit.rlim_max)
            _ = setrlimit(files, &limit)
        }
        guard limit.rlim_cur < wanted else { return policy }
        var policy = policy
        policy.connections = max(1, Int(limit.rlim_cur) - reserve)
        policy.connectionsPerAddress = min(
            policy.connectionsPerAddress, max(1, policy.connections / 2))
        logger.warning(
            "the system's limit of open files leaves room for fewer connections; see ulimit -n",
            metadata: [
                "open_files": "\(limit.rlim_cur)", "max_connections": "\(policy.connections)",
            ])
        return policy
    }
}
