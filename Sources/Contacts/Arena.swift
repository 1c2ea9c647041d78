// The memory that protobuf-c decodes one message into: a bump allocator with a budget.
//
// In: protobuf-c's requests for memory while it unpacks. Out: pointers that live until the next
// reset. One thread. Empty sub-messages of two bytes each unpack to more than fifty times their
// size; an unpack that passes the budget fails cleanly instead (the allocator answers NULL).

internal import CContactsProto
internal import CProtobufC

final class Arena {
    /// What the C thunk sees: the block being filled, and how much may still be taken.
    private struct State {
        var next: UnsafeMutableRawPointer
        /// What may be taken from the block; never more than the budget, so one look is enough.
        var available: Int
        /// What the budget has left beyond `available`; negative once it was exceeded.
        var budget: Int
        var blocks: [UnsafeMutableRawPointer]
        let blockByteCount: Int
    }

    /// One block serves a usual message of 500 contacts; larger messages add blocks.
    static let usualBlockByteCount = 256 * 1024

    private let blockByteCount: Int
    private let state: UnsafeMutablePointer<State>
    private let first: UnsafeMutableRawPointer
    private let budget: Int
    /// What protobuf-c is handed. It points into this object and must not outlive it.
    private(set) var allocator: ProtobufCAllocator

    /// - Parameter budget: The most bytes that one message may take.
    init(budget: Int, blockByteCount: Int = Arena.usualBlockByteCount) {
        self.budget = budget
        self.blockByteCount = blockByteCount
        first = .allocate(byteCount: blockByteCount, alignment: 16)
        state = .allocate(capacity: 1)
        state.initialize(
            to: State(
                next: first, available: 0, budget: 0, blocks: [],
                blockByteCount: blockByteCount))
        allocator = ProtobufCAllocator(
            alloc: { Arena.allocate($0, $1) }, free: { _, _ in }, allocator_data: state)
        reset()
    }

    deinit {
        reset()
        state.deinitialize(count: 1)
        state.deallocate()
        first.deallocate()
    }

    /// Whether the last message asked for more than the budget.
    var isExhausted: Bool { state.pointee.budget < 0 }

    /// Gives all memory back. Whatever was decoded before is gone.
    ///
    /// - Parameter limit: What may be taken now, if that is less than the budget.
    func reset(atMost limit: Int = .max) {
        if !state.pointee.blocks.isEmpty {
            for block in state.pointee.blocks { block.deallocate() }
            state.pointee.blocks.removeAll(keepingCapacity: true)
        }
        state.pointee.next = first
        let budget = min(budget, limit)
        state.pointee.available = min(blockByteCount, budget)
        state.pointee.budget = budget - state.pointee.available
    }

    /// Memory for one value of C, zeroed by nobody.
    func allocate<Value>(_ type: Value.Type) -> UnsafeMutablePointer<Value>? {
        Self.allocate(state, MemoryLayout<Value>.size)?.bindMemory(to: type, capacity: 1)
    }

    /// Memory for bytes or an array.
    func allocate(byteCount: Int) -> UnsafeMutableRawPointer? { Self.allocate(state, byteCount) }

    /// A copy of a text, as protobuf-c's `bytes`.
    func copy(_ text: String) -> ProtobufCBinaryData {
        var text = text
        return text.withUTF8 { utf8 in
            guard let start = utf8.baseAddress, !utf8.isEmpty,
                let copy = Self.allocate(state, utf8.count)
            else { return ProtobufCBinaryData(len: 0, data: nil) }
            copy.copyMemory(from: start, byteCount: utf8.count)
            return ProtobufCBinaryData(
                len: utf8.count, data: copy.bindMemory(to: UInt8.self, capacity: utf8.count))
        }
    }

    /// Unpacks a message; `nil` if it is malformed, or needs more than the budget.
    func unpack<Message>(
        _ bytes: UnsafeRawBufferPointer, atMost limit: Int = .max,
        _ function: (
            UnsafeMutablePointer<ProtobufCAllocator>?, Int, UnsafePointer<UInt8>?
        ) -> UnsafeMutablePointer<Message>?
    ) -> UnsafeMutablePointer<Message>? {
        reset(atMost: limit)
        // An empty buffer has no address, and protobuf-c wants one.
        var nothing: UInt8 = 0
        let start = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
        return withUnsafePointer(to: &nothing) { function(&allocator, bytes.count, start ?? $0) }
    }

    private static func allocate(
        _ data: UnsafeMutableRawPointer?, _ size: Int
    ) -> UnsafeMutableRawPointer? {
        guard let state = data?.assumingMemoryBound(to: State.self) else { return nil }
        let rounded = (size + 15) & ~15
        if rounded > state.pointee.available, !addBlock(state, rounded) { return nil }
        let pointer = state.pointee.next
        state.pointee.next = pointer + rounded
        state.pointee.available -= rounded
        return pointer
    }

    /// Begins another block, if the budget allows what is asked for.
    @inline(never)
    private static func addBlock(_ state: UnsafeMutablePointer<State>, _ size: Int) -> Bool {
        let budget = state.pointee.budget + state.pointee.available
        guard budget >= size else {
            state.pointee.available = 0
            state.pointee.budget = -1
            return false
        }
        let byteCount = max(size, state.pointee.blockByteCount)
        let block = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: 16)
        state.pointee.blocks.append(block)
        state.pointee.next = block
        state.pointee.available = min(byteCount, budget)
        state.pointee.budget = budget - state.pointee.available
        return true
    }
}
