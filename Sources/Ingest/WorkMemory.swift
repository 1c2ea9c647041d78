// The bytes that one transaction works on: the rows of all its blocks, the rows that stand in the
// database, and the rows that come of merging them. A place in it is an offset, since growing moves
// it. One lane's thread; kept from transaction to transaction.

final class WorkMemory {
    private(set) var base: UnsafeMutableRawPointer
    private(set) var count = 0
    private var capacity: Int
    /// Where the memory was before it grew. Pointers to rows stay good until the next transaction.
    private var outgrown: [UnsafeMutableRawPointer] = []

    /// One transaction of usual contacts.
    private static let usualByteCount = 4 * 1024 * 1024

    init() {
        capacity = Self.usualByteCount
        base = .allocate(byteCount: capacity, alignment: 16)
    }

    deinit {
        releaseOutgrown()
        base.deallocate()
    }

    /// Makes room. What stood in the memory may move.
    private func reserve(_ byteCount: Int) {
        guard count + byteCount > capacity else { return }
        capacity = max(capacity * 2, count + byteCount)
        let larger = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 16)
        larger.copyMemory(from: base, byteCount: count)
        outgrown.append(base)
        base = larger
    }

    private func releaseOutgrown() {
        for memory in outgrown { memory.deallocate() }
        outgrown.removeAll()
    }

    /// Adds bytes that the caller writes at the offset returned.
    func append(byteCount: Int) -> Int {
        reserve(byteCount)
        let offset = count
        count += byteCount
        return offset
    }

    func append(_ bytes: UnsafeRawBufferPointer) -> Int {
        let offset = append(byteCount: bytes.count)
        if let start = bytes.baseAddress {
            (base + offset).copyMemory(from: start, byteCount: bytes.count)
        }
        return offset
    }

    /// Forgets everything from an offset on. No pointer may be held.
    func truncate(to offset: Int) {
        releaseOutgrown()
        count = offset
    }

    /// Forgets everything, and gives memory back that a large transaction needed.
    func reset() {
        releaseOutgrown()
        count = 0
        guard capacity > 4 * Self.usualByteCount else { return }
        base.deallocate()
        capacity = Self.usualByteCount
        base = .allocate(byteCount: capacity, alignment: 16)
    }
}
