// Where lanes wait for work, and which of them do.
//
// In: lanes that find nothing to do, queues that have something. Out: lanes woken. Any thread.

internal import NIOConcurrencyHelpers

final class LaneDoors: Sendable {
    /// Of each lane: true when it is to look for work.
    private let doors: [ConditionLock<Bool>]
    private let isFree: NIOLockedValueBox<[Bool]>

    init(count: Int) {
        doors = (0..<count).map { _ in ConditionLock(value: false) }
        isFree = NIOLockedValueBox(Array(repeating: true, count: count))
    }

    var count: Int { doors.count }

    subscript(lane: Int) -> ConditionLock<Bool> { doors[lane] }

    /// A lane says that it looks for work, before it looks, or that it has found some. So what comes
    /// while it looks either is found or wakes it.
    func setFree(_ lane: Int, _ isFree: Bool) {
        self.isFree.withLockedValue { $0[lane] = isFree }
    }

    var freeCount: Int { isFree.withLockedValue { $0.count(where: \.self) } }

    /// Wakes a lane that has nothing to do, if there is one. No door may be held.
    func wakeFreeLane() {
        let lane = isFree.withLockedValue { isFree in
            let lane = isFree.firstIndex(of: true)
            if let lane { isFree[lane] = false }
            return lane
        }
        guard let lane else { return }
        doors[lane].lock()
        doors[lane].unlock(withValue: true)
    }
}
