// The files around a private cluster. In: its directory and the user that owns it. Out:
// directories with the right owner and mode, the lock, the socket's directory, the log's tail. Any
// thread; blocks only on the disk.
//
//   <directory>/data          PostgreSQL's data directory
//   <directory>/postgres.log  what the server and initdb say; the previous run's is .log.1
//   <directory>/s             the socket's directory, 0700
//   <directory>/socket        only if that path is too long: the name of its stand-in under /tmp
//   <directory>/cluster.lock  locked while a process of ours owns the cluster

import Glibc

struct ClusterFiles {
    let directory: String
    let owner: ClusterOwner

    var data: String { directory + "/data" }
    var partialData: String { directory + "/data.partial" }
    var log: String { directory + "/postgres.log" }
    private var lockFile: String { directory + "/" + Self.lockName }
    private var socketNote: String { directory + "/socket" }

    private static let lockName = "cluster.lock"

    /// sun_path holds 108 bytes with its final NUL (unix(7)).
    static let socketPathByteLimit = 107

    /// Hands the directory to the owner, if it is empty or a cluster's already: a mistaken path,
    /// for instance /tmp, must not change hands.
    func take() throws(PostgresError) {
        let names = Self.names(in: directory)
        guard names.isEmpty || names.contains(Self.lockName) else {
            throw PostgresError(
                .cluster, "\(directory) holds other files; a cluster needs an empty directory")
        }
        try make(directory)
    }

    /// Clears away what an earlier run left; only under the lock.
    func prepare() throws(PostgresError) {
        rename(log, log + ".1")
        if Self.status(of: partialData) != nil { try discardPartialData() }
    }

    func make(_ path: String) throws(PostgresError) {
        if mkdir(path, 0o700) != 0, errno != EEXIST {
            throw Self.failure("make", path)
        }
        guard chown(path, owner.userID, owner.groupID) == 0 else {
            throw Self.failure("change the owner of", path)
        }
        guard chmod(path, 0o700) == 0 else { throw Self.failure("protect", path) }
    }

    /// An initdb that was killed leaves this.
    private func discardPartialData() throws(PostgresError) {
        let name = "\(partialData).\(getpid())"
        guard rename(partialData, name) == 0 else { throw Self.failure("move", partialData) }
        Self.removeTree(name)
    }

    var isInitialized: Bool { Self.status(of: data + "/PG_VERSION") != nil }

    /// For instance "15".
    var dataVersion: String? {
        Self.read(data + "/PG_VERSION", lastBytes: 16)?.filter { !$0.isWhitespace }
    }

    /// The lock's descriptor; it is held until that is closed, also across namespaces of processes,
    /// where the id in postmaster.pid says nothing.
    func lock() throws(PostgresError) -> CInt {
        let descriptor = open(lockFile, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw Self.failure("open", lockFile) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            close(descriptor)
            throw PostgresError(
                .cluster, "the cluster in \(directory) is in use by another process or start")
        }
        return descriptor
    }

    /// The id of a living postmaster in the data directory. A postmaster.pid whose process is gone,
    /// or is another program that got the id, is stale and removed.
    func livingPostmaster() -> pid_t? {
        let path = data + "/postmaster.pid"
        guard let text = Self.read(path, lastBytes: 4096) else { return nil }
        let first = text.split(whereSeparator: \.isNewline).first.flatMap { Int32($0) }
        if let processID = first, processID > 0, kill(processID, 0) == 0 || errno == EPERM,
            Self.isSame("/proc/\(processID)/cwd", data)
        {
            return processID
        }
        unlink(path)
        return nil
    }

    /// The server works in its data directory; only a process there can be ours.
    private static func isSame(_ first: String, _ second: String) -> Bool {
        guard let first = status(of: first), let second = status(of: second) else { return false }
        return first.st_dev == second.st_dev && first.st_ino == second.st_ino
    }

    /// `<directory>/s`, or a directory under /tmp whose name is kept in `<directory>/socket`.
    func socketDirectory() throws(PostgresError) -> String {
        let own = directory + "/s"
        if own.utf8.count + Self.socketName.utf8.count <= Self.socketPathByteLimit {
            try make(own)
            return own
        }
        let noted = Self.read(socketNote, lastBytes: 200)
        if let noted, noted.hasPrefix(Self.standInPrefix), isOurs(noted) { return noted }
        var template = Array((Self.standInPrefix + "XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else { throw Self.failure("make", Self.standInPrefix) }
        let path = template.withUnsafeBytes { String(decoding: $0.dropLast(), as: UTF8.self) }
        try make(path)
        Self.write(path, to: socketNote)
        return path
    }

    func removeStandIn(_ path: String) {
        guard path.hasPrefix(Self.standInPrefix) else { return }
        rmdir(path)
        unlink(socketNote)
    }

    private static let socketName = "/.s.PGSQL.\(ClusterSettings.port)"
    private static let standInPrefix = "/tmp/pg-"

    /// Not a link, and nobody else's: /tmp is everybody's.
    private func isOurs(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
            && status.st_uid == owner.userID && status.st_mode & 0o777 == 0o700
    }

    /// The log's last lines, for an error.
    var logTail: String {
        Self.read(log, lastBytes: 2000)?.split(whereSeparator: \.isNewline).suffix(12)
            .joined(separator: "\n") ?? "(no log)"
    }

    static func failure(_ verb: String, _ path: String) -> PostgresError {
        PostgresError(.cluster, "cannot \(verb) \(path): \(ChildProcess.text(errno))")
    }

    static func status(of path: String) -> stat? {
        var status = stat()
        return stat(path, &status) == 0 ? status : nil
    }

    /// The last bytes of a small text file.
    static func read(_ path: String, lastBytes: Int) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        let size = lseek(descriptor, 0, SEEK_END)
        lseek(descriptor, max(0, size - lastBytes), SEEK_SET)
        let bytes = [UInt8](unsafeUninitializedCapacity: lastBytes) { buffer, count in
            count = max(0, Glibc.read(descriptor, buffer.baseAddress, lastBytes))
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func write(_ text: String, to path: String) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { return }
        _ = Glibc.write(descriptor, text, text.utf8.count)
        close(descriptor)
    }

    /// Depth first, without following links.
    static func removeTree(_ path: String) {
        var status = stat()
        guard lstat(path, &status) == 0 else { return }
        if status.st_mode & S_IFMT == S_IFDIR {
            for name in names(in: path) { removeTree(path + "/" + name) }
        }
        remove(path)
    }

    /// What a directory holds, without itself and its parent; nothing if it cannot be read.
    static func names(in path: String) -> [String] {
        guard let listing = opendir(path) else { return [] }
        defer { closedir(listing) }
        var names: [String] = []
        while let entry = readdir(listing) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names
    }
}
