// In: a request that is not gRPC, as browsers, scanners and people with curl send them. Out: the
// answer that HTTP has for it (RFC 9110 section 15.5).
// On which thread: the connection's event loop.

import HTTP2
import NIOCore

/// An error of HTTP, with a line for humans.
struct HTTPAnswer: Equatable {
    let status: String
    /// Beside the content's.
    let fields: [String: String]
    let text: String

    /// No RPC is at the path.
    static let notFound = HTTPAnswer(
        status: "404", fields: [:], text: "404: nothing is here. This server speaks gRPC.\n")

    /// RFC 9110 section 15.5.6: "The origin server MUST generate an Allow header field".
    static let methodNotAllowed = HTTPAnswer(
        status: "405", fields: ["allow": "POST"],
        text: "405: this is an RPC of a gRPC server, which is called by POST.\n")

    /// RFC 9110 section 15.5.16 has Accept tell what would be taken.
    static let unsupportedMediaType = HTTPAnswer(
        status: "415", fields: ["accept": "application/grpc"],
        text: "415: this is an RPC of a gRPC server, which takes application/grpc.\n")

    /// RFC 6585 section 5.
    static let headersTooLarge = HTTPAnswer(
        status: "431", fields: [:], text: "431: the request's header fields are too large.\n")

    /// Answers and ends the stream. HEAD gets the fields without the text (section 9.3.2).
    func send(on stream: StreamID, of session: Session, withText: Bool) {
        var headers = Headers([
            (":status", status), ("content-type", "text/plain"),
            ("content-length", String(text.utf8.count)),
        ])
        for (name, value) in fields { headers.add(name, value) }
        guard withText else { return session.respondAndEnd(stream, headers) }
        guard let outbound = session.respond(stream, headers) else { return }
        session.append(to: outbound, reserving: text.utf8.count) { $0.writeString(text) }
        session.end(outbound, trailers: nil)
    }
}
