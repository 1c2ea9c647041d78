// Waiting for NOTIFY. In: a connection that has run LISTEN, and a time. Out: what was told since
// the last wait. Blocks the connection's thread; another thread may end the wait early.
// https://www.postgresql.org/docs/15/libpq-notify.html

import CLibpq
import Glibc

/// What a NOTIFY told.
package struct Notification: Sendable, Equatable {
    package let channel: String
    package let payload: String
}

extension Connection {
    /// Waits for notifications. Those that came while a statement ran are told first.
    ///
    /// - Parameters:
    ///   - timeout: How long to wait at most.
    ///   - wakeUp: Ends the wait early.
    /// - Returns: At least one notification, or none when the time is up or the wait was ended.
    package func notifications(
        waitingAtMost timeout: Duration, wakeUp: WakeUp
    ) throws(PostgresError) -> [Notification] {
        let connection = try open()
        let deadline = Deadline(after: timeout)
        while true {
            let told = takeNotifications(connection)
            if !told.isEmpty { return told }
            let ready = deadline.wait(
                forInputOn: PQsocket(connection), or: wakeUp.descriptor)
            switch ready {
            case .timeIsUp: return []
            case .second:
                wakeUp.clear()
                return []
            case .first:
                if PQconsumeInput(connection) == 0 { throw lost(connection) }
            }
        }
    }

    private func takeNotifications(_ connection: OpaquePointer) -> [Notification] {
        var told: [Notification] = []
        while let notify = PQnotifies(connection) {
            told.append(
                Notification(
                    channel: String(cString: notify.pointee.relname),
                    payload: String(cString: notify.pointee.extra)))
            PQfreemem(notify)
        }
        return told
    }
}
