// What can go wrong between this module and PostgreSQL, as one closed type. In: a failed libpq call
// or result. Out: a value that the caller sorts by the questions below ("may I retry?"). Any
// thread. Its description is safe to log: no connection string, no row values. The server's DETAIL
// quotes rows, so only code that may see them reads `detail`.

import CLibpq

package struct PostgresError: Error, Equatable, Sendable, CustomStringConvertible {
    package enum Kind: String, Sendable {
        case couldNotConnect = "could not connect"
        /// The socket is gone, or the connection was given up or closed earlier.
        case connectionLost = "connection lost"
        /// The server refused the statement; `sqlstate` says why.
        case server = "server error"
        /// No answer within the deadline. The connection is closed; the outcome is unknown.
        case deadlineExceeded = "deadline exceeded"
        /// A call that does not fit the state of the connection: a bug on this side.
        case misuse = "misuse"
        /// A private cluster could not be made, started or stopped.
        case cluster = "private cluster"
    }

    package let kind: Kind
    /// Five characters (PostgreSQL, Appendix A), nil when the server did not speak.
    package let sqlstate: String?
    /// The primary message, in one line. Of class 22 it may quote a value, and of a function anything.
    package let message: String
    /// A function in one of the languages of PostgreSQL raised it.
    package let isOfFunction: Bool
    /// The name of the broken constraint or unique index.
    package let constraint: String?
    /// May hold row values: never in an answer to a client, in a log only on request.
    package let detail: String?
    /// The prepared statement that failed, of those that were sent together.
    package let statement: String?

    package init(
        _ kind: Kind, _ message: String, sqlstate: String? = nil, constraint: String? = nil,
        detail: String? = nil, statement: String? = nil, isOfFunction: Bool = false
    ) {
        self.kind = kind
        self.sqlstate = sqlstate
        self.message = message
        self.constraint = constraint
        self.detail = detail
        self.statement = statement
        self.isOfFunction = isOfFunction
    }

    /// May the same transaction succeed when it is run again on the same connection?
    package var isTransient: Bool {
        ["40001", "40P01", "55P03"].contains(sqlstate)
    }

    /// Is a new connection needed, and may it help? True also past the deadline: that connection
    /// is closed. Nothing is said about what became of a COMMIT that was under way.
    package var isConnectionLoss: Bool {
        switch kind {
        case .connectionLost, .deadlineExceeded: return true
        case .misuse, .cluster: return false
        case .couldNotConnect where sqlstate == nil: return true
        case .couldNotConnect, .server:
            guard let sqlstate else { return false }
            return sqlstate.hasPrefix("08") || Self.endsOfConnections.contains(sqlstate)
        }
    }

    /// May the database be as it should be later, without anything done on this side? It is away, has
    /// another password as yet, is read-only or full.
    package var mayPass: Bool {
        isConnectionLoss || kind == .couldNotConnect || sqlstate == "25006"
            || sqlstate?.hasPrefix("53") == true
    }

    /// Is the data of the statement to blame?
    package var isDataError: Bool {
        sqlstate?.hasPrefix("22") == true || sqlstate?.hasPrefix("23") == true
    }

    package var isUniqueViolation: Bool { sqlstate == "23505" }

    package var description: String {
        var text = kind.rawValue
        if let sqlstate { text += " \(sqlstate)" }
        if let constraint { text += " (constraint \(constraint))" }
        return text + ": " + (quotesValues ? "the message may quote a value" : message)
    }

    /// The server ends the connection with these: shutdown, crash, starting up, too many clients,
    /// database dropped, the two idle time limits.
    private static let endsOfConnections: Set<String> = [
        "57P01", "57P02", "57P03", "57P04", "57P05", "25P03", "53300",
    ]

    /// Messages of class 22 quote the value they reject, except for these: too long, bad encoding,
    /// wrong binary length, malformed COPY. Those of an owner's triggers say what they like.
    private var quotesValues: Bool {
        if isOfFunction { return true }
        guard let sqlstate, sqlstate.hasPrefix("22") else { return false }
        return !["22001", "22021", "22P03", "22P04"].contains(sqlstate)
    }
}

extension PostgresError {
    /// The error that a result carries; the caller still owns the result.
    /// https://www.postgresql.org/docs/15/libpq-exec.html#LIBPQ-PQRESULTERRORFIELD
    init(result: OpaquePointer, connectionIsLost: Bool, statement: String? = nil) {
        func field(_ code: Character) -> String? {
            guard let ascii = code.asciiValue else { return nil }
            return PQresultErrorField(result, CInt(ascii)).map { String(cString: $0) }
        }
        let sqlstate = field("C")
        self.init(
            sqlstate == nil && connectionIsLost ? .connectionLost : .server,
            Self.oneLine(field("M") ?? String(cString: PQresultErrorMessage(result))),
            sqlstate: sqlstate, constraint: field("n"), detail: field("D"), statement: statement,
            isOfFunction: Self.isOfFunction(file: field("F") ?? ""))
    }

    /// Whether PostgreSQL's source file is one of a language that functions are written in.
    private static func isOfFunction(file: String) -> Bool {
        ["pl_", "plperl", "plpy", "pltcl", "plv8"].contains { file.hasPrefix($0) }
    }

    static func oneLine(_ text: String) -> String {
        let lines = text.split(whereSeparator: \.isNewline)
        return lines.map { line in
            String(line.drop(while: \.isWhitespace))
        }.joined(separator: " ")
    }
}
