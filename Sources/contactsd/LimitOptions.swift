// How much one peer may take of the server. In: flags. Out: the policy.

import ArgumentParser
import ContactsServer

struct LimitOptions: ParsableArguments {
    private static let usual = ServerPolicy()

    @Option(help: "Connections in all; further ones are closed at once.")
    var maxConnections = usual.connections

    @Option(help: "Connections of one address, or one IPv6 network of 64 bits.")
    var maxConnectionsPerAddress = usual.connectionsPerAddress

    @Option(help: "Connections opened in a second, half of them by one address.")
    var maxConnectionsPerSecond = usual.connectionsPerSecond

    @Option(help: "Calls of one connection at the same time.")
    var maxStreams = usual.streams

    @Option(help: "Calls that are open at the same time, of all connections together.")
    var maxStreamsOfAll = usual.streamsOfAll

    @Option(help: "Calls that one connection may begin in a second.")
    var maxStreamsPerSecond = usual.streamsPerSecond

    @Option(help: "Seconds from a connection to the end of its TLS handshake.")
    var maxHandshakeSeconds = Int(usual.handshake.components.seconds)

    @Option(help: "Bytes of a call's header list, as RFC 9113 section 6.5.2 counts them.")
    var maxHeaderBytes = usual.headerBytes

    @Option(help: "Fields of a call's header list.")
    var maxHeaderFields = usual.headerFields

    @Option(help: "Calls that a connection resets in 10 s, beside those that are answered.")
    var maxResets = usual.resets

    @Option(help: "Frames without use of a connection in 10 s, and 10 for each useful one.")
    var maxUselessFrames = usual.uselessFrames

    @Option(help: "Bytes of a message, also when it is decompressed.")
    var maxMessageBytes = usual.messageBytes

    @Option(help: "Contacts of a message, or of a unary call.")
    var maxContactsPerMessage = usual.contactsPerMessage

    @Option(help: "Contacts of a call without a result; then the server reads no more of it.")
    var maxUnansweredContacts = usual.unansweredContacts

    @Option(help: "The same of all calls together.")
    var maxUnansweredContactsOfAll = usual.unansweredContactsOfAll

    @Option(help: "Bytes of messages that calls hold, of all calls together.")
    var maxHeldBytes = usual.heldBytes

    @Option(help: "Bytes of answers that nobody has taken, of all calls together.")
    var maxUnreadBytes = usual.unreadBytes

    func validate() throws {
        // The most that SETTINGS_MAX_CONCURRENT_STREAMS is of use for: streams have odd numbers of
        // 31 bits.
        let most = 1_000_000_000
        let kibibyte = 1024
        for (name, value, range) in [
            ("--max-connections", maxConnections, 1...most),
            ("--max-connections-per-address", maxConnectionsPerAddress, 1...most),
            ("--max-connections-per-second", maxConnectionsPerSecond, 1...most),
            ("--max-streams", maxStreams, 1...most),
            ("--max-streams-of-all", maxStreamsOfAll, 1...most),
            ("--max-streams-per-second", maxStreamsPerSecond, 1...most),
            ("--max-handshake-seconds", maxHandshakeSeconds, 1...3600),
            // A call of gRPC has some ten fields and half a kilobyte; nghttp2 takes 64 KiB.
            ("--max-header-bytes", maxHeaderBytes, kibibyte...64 * kibibyte),
            ("--max-header-fields", maxHeaderFields, 16...10_000),
            ("--max-resets", maxResets, 1...most),
            // A connection begins with a few of them.
            ("--max-useless-frames", maxUselessFrames, 10...most),
            // One contact must fit; a connection may begin four of the largest.
            ("--max-message-bytes", maxMessageBytes, 128 * kibibyte...4096 * kibibyte),
            // What the decoder takes apart when a message is large.
            (
                "--max-contacts-per-message", maxContactsPerMessage,
                1...Self.usual.contactsPerMessage
            ),
            ("--max-unanswered-contacts", maxUnansweredContacts, 1...most),
            ("--max-unanswered-contacts-of-all", maxUnansweredContactsOfAll, 1...most),
            ("--max-held-bytes", maxHeldBytes, 1024 * kibibyte...most),
            ("--max-unread-bytes", maxUnreadBytes, 1024 * kibibyte...most),
        ] where !range.contains(value) {
            throw ValidationError(
                "\(name): give a number from \(range.lowerBound) to \(range.upperBound)")
        }
    }

    var policy: ServerPolicy {
        var policy = ServerPolicy()
        policy.connections = maxConnections
        policy.connectionsPerAddress = maxConnectionsPerAddress
        policy.connectionsPerSecond = maxConnectionsPerSecond
        policy.streams = maxStreams
        policy.streamsOfAll = maxStreamsOfAll
        policy.streamsPerSecond = maxStreamsPerSecond
        policy.handshake = .seconds(maxHandshakeSeconds)
        policy.headerBytes = maxHeaderBytes
        policy.headerFields = maxHeaderFields
        policy.resets = maxResets
        policy.uselessFrames = maxUselessFrames
        policy.messageBytes = maxMessageBytes
        policy.contactsPerMessage = maxContactsPerMessage
        policy.unansweredContacts = maxUnansweredContacts
        policy.unansweredContactsOfAll = maxUnansweredContactsOfAll
        policy.heldBytes = maxHeldBytes
        policy.unreadBytes = maxUnreadBytes
        return policy
    }
}
