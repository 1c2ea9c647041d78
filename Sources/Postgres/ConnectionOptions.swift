// What libpq is told when a connection opens. In: a connection URL or keyword string and our
// defaults. Out: keywords and values, the string's own first in rank. Any thread. Never quotes the
// string in an error: it may hold a password.
// https://www.postgresql.org/docs/15/libpq-connect.html#LIBPQ-PARAMKEYWORDS

import CLibpq
import Glibc

struct ConnectionOptions {
    /// A peer that is silent for 10 s is asked 3 times, 5 s apart: a dead host or a cut line is
    /// noticed in 25 s while reading, and by the user timeout while writing.
    private static let keepalives = [
        ("keepalives", "1"), ("keepalives_idle", "10"), ("keepalives_interval", "5"),
        ("keepalives_count", "3"), ("tcp_user_timeout", "25000"),
    ]

    private var values: [(String, String)]

    init(conninfo: String, applicationName: String) throws(PostgresError) {
        values = try Self.parse(conninfo)
        if let host = self["host"], host.contains("@") {
            // postgres://user:p@ss@host puts the password's end into the host's name, which
            // libpq would quote.
            throw PostgresError(
                .couldNotConnect,
                "the host's name has an \"@\": percent-encode it in the user or the password")
        }
        for (key, value) in Self.keepalives where self[key] == nil {
            values.append((key, value))
        }
        if self["application_name"] == nil {
            values.append(("application_name", applicationName))
        }
        values.removeAll { $0.0 == "client_encoding" }
        values.append(("client_encoding", "UTF8"))
    }

    subscript(key: String) -> String? {
        get { values.first { $0.0 == key }?.1 }
        set {
            values.removeAll { $0.0 == key }
            if let newValue { values.append((key, newValue)) }
        }
    }

    /// One for each host that is named, in their order. libpq goes on to the next by itself when a
    /// host refuses, but not when it keeps silent: it heeds connect_timeout only when it blocks.
    /// Contacts are written, so of several hosts the one that takes writes is meant.
    var alternatives: [ConnectionOptions] {
        let hosts = list("host")
        let addresses = list("hostaddr")
        let ports = list("port")
        let count = max(hosts.count, addresses.count)
        // Preferences cannot be told from one host alone.
        guard count > 1, self["target_session_attrs"] != "prefer-standby" else { return [self] }
        return (0..<count).map { index in
            var one = self
            if !hosts.isEmpty { one["host"] = index < hosts.count ? hosts[index] : nil }
            if !addresses.isEmpty {
                one["hostaddr"] = index < addresses.count ? addresses[index] : nil
            }
            if ports.count > 1 { one["port"] = index < ports.count ? ports[index] : nil }
            if one["target_session_attrs"] == nil { one["target_session_attrs"] = "read-write" }
            return one
        }
    }

    private func list(_ key: String) -> [String] {
        self[key]?.split(separator: ",", omittingEmptySubsequences: false).map(String.init) ?? []
    }

    /// Begins to connect; nil when out of memory. libpq copies what it is given.
    func startConnecting() -> OpaquePointer? {
        var keys = values.map { strdup($0.0) }
        var texts = values.map { strdup($0.1) }
        defer { (keys + texts).forEach { free($0) } }
        keys.append(nil)
        texts.append(nil)
        return keys.map { UnsafePointer($0) }.withUnsafeBufferPointer { keys in
            texts.map { UnsafePointer($0) }.withUnsafeBufferPointer { texts in
                PQconnectStartParams(keys.baseAddress, texts.baseAddress, 0)
            }
        }
    }

    private static func parse(_ conninfo: String) throws(PostgresError) -> [(String, String)] {
        // The message would quote the part that libpq did not understand.
        guard let options = PQconninfoParse(conninfo, nil) else {
            throw PostgresError(.couldNotConnect, "the connection string is not valid")
        }
        defer { PQconninfoFree(options) }
        var values: [(String, String)] = []
        var next = options
        while let key = next.pointee.keyword {
            if let value = next.pointee.val {
                values.append((String(cString: key), String(cString: value)))
            }
            next += 1
        }
        return values
    }
}
