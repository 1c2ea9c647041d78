// How long `serve` lets connections live. Flags win over the environment.

import ArgumentParser
import ContactsServer
import Foundation

struct ConnectionLifeOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Connections older than this are asked to make way for new ones, such as 1h, or off.",
            discussion: """
                Their calls go on to their end. Behind a balancer of connections it brings new \
                servers their share. Else CONTACTS_MAX_CONNECTION_AGE, else off.
                """, valueName: "time"))
    var maxConnectionAge: LifeArgument?

    @Option(
        help: ArgumentHelp(
            "Connections without a call for this long are let go, such as 10m, or off.",
            discussion: "Else CONTACTS_MAX_CONNECTION_IDLE, else 30m, as gRPC's own clients do.",
            valueName: "time"))
    var maxConnectionIdle: LifeArgument?

    func life() throws -> ConnectionLife {
        var life = ConnectionLife()
        let age = try maxConnectionAge ?? Self.variable("CONTACTS_MAX_CONNECTION_AGE")
        if let age { life.age = age.duration }
        let idle = try maxConnectionIdle ?? Self.variable("CONTACTS_MAX_CONNECTION_IDLE")
        if let idle { life.idle = idle.duration }
        return life
    }

    private static func variable(_ name: String) throws -> LifeArgument? {
        guard let text = ProcessInfo.processInfo.environment[name], !text.isEmpty else {
            return nil
        }
        guard let value = LifeArgument(argument: text) else {
            throw ValidationError("\(name): \"\(text)\" is not a time such as 10m, or off")
        }
        return value
    }
}

/// A time such as `10m`, or `off`.
struct LifeArgument: ExpressibleByArgument {
    /// nil: for ever.
    let duration: Duration?

    init?(argument: String) {
        if argument == "off" {
            duration = nil
        } else if let time = RetentionArgument(argument: argument) {
            duration = time.duration
        } else {
            return nil
        }
    }
}
