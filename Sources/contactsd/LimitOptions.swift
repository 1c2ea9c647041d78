// How much one peer may take of the server. In: flags. Out: the policy.

import ArgumentParser
import ContactsServer

struct LimitOptions: ParsableArguments {
    @Option(help: "Connections in all; further ones are closed at once.")
    var maxConnections = ConnectionPolicy().connections

    @Option(help: "Connections of one address, or one IPv6 network of 64 bits.")
    var maxConnectionsPerAddress = ConnectionPolicy().connectionsPerAddress

    @Option(help: "Connections opened in a second, half of them by one address.")
    var maxConnectionsPerSecond = ConnectionPolicy().connectionsPerSecond

    @Option(help: "Calls of one connection at the same time.")
    var maxStreams = ConnectionPolicy().streams

    @Option(help: "Calls that one connection may begin in a second.")
    var maxStreamsPerSecond = ConnectionPolicy().streamsPerSecond

    func validate() throws {
        let values = [
            ("--max-connections", maxConnections),
            ("--max-connections-per-address", maxConnectionsPerAddress),
            ("--max-connections-per-second", maxConnectionsPerSecond),
            ("--max-streams", maxStreams), ("--max-streams-per-second", maxStreamsPerSecond),
        ]
        // The most that SETTINGS_MAX_CONCURRENT_STREAMS is of use for: streams have odd numbers of
        // 31 bits.
        for (name, value) in values where !(1...1_000_000_000).contains(value) {
            throw ValidationError("\(name): give a number from 1 to 1000000000")
        }
    }

    var policy: ConnectionPolicy {
        var policy = ConnectionPolicy()
        policy.connections = maxConnections
        policy.connectionsPerAddress = maxConnectionsPerAddress
        policy.connectionsPerSecond = maxConnectionsPerSecond
        policy.streams = maxStreams
        policy.streamsPerSecond = maxStreamsPerSecond
        return policy
    }
}
