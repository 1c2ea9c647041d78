// For how long, and how often, a resumable upsert tries to reach its server again. Values.

/// For how long a resumable upsert goes on without a server, and how it spaces its attempts.
public struct RetryPolicy: Sendable, Equatable {
    /// So long it tries again without one result more; zero: it does not try again.
    public var patience: Duration
    /// The longest wait before the first new attempt; it doubles with each. The waits themselves are
    /// random from zero to that, so that the clients of one server do not come back all at once.
    public var initialDelay: Duration
    /// The longest wait between two attempts.
    public var maximumDelay: Duration

    /// Makes a policy; the defaults are ten minutes, 100 ms and 5 s.
    public init(
        patience: Duration = .seconds(600), initialDelay: Duration = .milliseconds(100),
        maximumDelay: Duration = .seconds(5)
    ) {
        self.patience = patience
        self.initialDelay = initialDelay
        self.maximumDelay = maximumDelay
    }

    /// Never tries again.
    public static let never = RetryPolicy(patience: .zero)

    /// The longest wait after that many failures in a row, from 1.
    func longestDelay(afterFailures failures: Int) -> Duration {
        min(maximumDelay, initialDelay * (1 << min(failures - 1, 20)))
    }

    /// How long to wait.
    package func delay(afterFailures failures: Int) -> Duration {
        longestDelay(afterFailures: failures) * Double.random(in: 0...1)
    }
}

/// A time without progress, because the server is not there or cannot work.
public struct Outage: Sendable, Equatable {
    /// The first failure without a result since.
    public var since: ContinuousClock.Instant
    /// The latest failure.
    public var error: ClientError
}
