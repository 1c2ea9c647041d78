// Which programs a private cluster runs and as whom. In: the installed binaries, the user of this
// process. Out: command lines. PostgreSQL refuses to run as root, so as root its programs run as
// `postgres`, or `nobody` without it, by setpriv(1) of util-linux, which also makes them die with
// this process. Any thread.

import Glibc

/// The user that owns the cluster's files and runs its server.
struct ClusterOwner: Equatable {
    let userID: uid_t
    let groupID: gid_t
    let name: String

    static func find() throws(PostgresError) -> ClusterOwner {
        guard geteuid() == 0 else {
            return ClusterOwner(userID: geteuid(), groupID: getegid(), name: "")
        }
        for name in ["postgres", "nobody"] {
            guard let entry = getpwnam(name) else { continue }
            return ClusterOwner(
                userID: entry.pointee.pw_uid, groupID: entry.pointee.pw_gid, name: name)
        }
        throw PostgresError(.cluster, "root cannot run PostgreSQL, and there is no plain user")
    }

    /// An ancestor of `directory` that keeps this user out.
    func obstacle(on directory: String) -> String? {
        var path = ""
        for part in directory.split(separator: "/").dropLast() {
            path += "/" + part
            guard let status = ClusterFiles.status(of: path) else { continue }
            let mask: mode_t =
                status.st_uid == userID ? 0o100 : status.st_gid == groupID ? 0o010 : 0o001
            if userID != 0, status.st_mode & mask == 0 { return path }
        }
        return nil
    }
}

struct ClusterPrograms {
    private let directory: String
    private let owner: ClusterOwner
    private let setpriv: String?

    init(dataVersion: String?, owner: ClusterOwner) throws(PostgresError) {
        let found = Self.candidates(dataVersion).first {
            access($0 + "/postgres", X_OK) == 0 && access($0 + "/initdb", X_OK) == 0
        }
        guard let found else {
            throw PostgresError(
                .cluster,
                "no postgres and initdb in PATH or \(Self.debianRoot); install PostgreSQL")
        }
        directory = found
        self.owner = owner
        setpriv = ["/usr/bin/setpriv", "/bin/setpriv"].first { access($0, X_OK) == 0 }
        if setpriv == nil, !owner.name.isEmpty {
            throw PostgresError(.cluster, "as root, setpriv of util-linux is needed")
        }
    }

    /// The command line of a server program, run as the owner. `deathSignal` reaches it when this
    /// process dies, however that happens. setpriv sets it after the change of user, which would
    /// clear it.
    func command(_ program: String, _ arguments: [String], deathSignal: String) -> [String] {
        let command = [directory + "/" + program] + arguments
        guard let setpriv else { return command }
        var prefix = [setpriv, "--pdeathsig", deathSignal]
        if !owner.name.isEmpty {
            prefix += ["--reuid=\(owner.userID)", "--regid=\(owner.groupID)", "--init-groups"]
        }
        return prefix + ["--"] + command
    }

    /// Nothing of ours but the path: PG* variables and locales would change what the server does.
    var environment: [String] {
        ["PATH=\(directory):/usr/bin:/bin", "LANG=C", "LC_ALL=C", "TZ=UTC", "HOME=/"]
    }

    private static let debianRoot = "/usr/lib/postgresql"

    /// Binaries of the version that made the data come first, then PATH, then the newest.
    private static func candidates(_ dataVersion: String?) -> [String] {
        var places = dataVersion.map { ["\(debianRoot)/\($0)/bin"] } ?? []
        if let path = getenv("PATH") {
            places += String(cString: path).split(separator: ":").map(String.init)
        }
        return places + installedVersions().map { "\(debianRoot)/\($0)/bin" }
            + ["/usr/local/pgsql/bin", "/usr/pgsql/bin"]
    }

    private static func installedVersions() -> [Int] {
        ClusterFiles.names(in: debianRoot).compactMap { Int($0) }.sorted(by: >)
    }
}
