// grpc.reflection.v1.ServerReflection, and v1alpha, which is the same under another name: what the
// server offers, for clients without a schema (gRPC, "GRPC Server Reflection Protocol").
//
// In: questions. Out: an answer to each, in order; what there is not, is an answer too. Event loop
// thread. A question is taken only while the peer reads the answers, those to others of its calls too.

internal import NIOCore
internal import RPC

final class ReflectionCall: CallHandler {
    private let descriptors: DescriptorSet
    /// Files that this call has sent: as imports they are not sent again.
    private var sentFiles: Set<String> = []
    private var isOver = false
    private var isWaiting = false
    private var waitCount = 0

    init(descriptors: DescriptorSet = .served) { self.descriptors = descriptors }

    func messagesAvailable(_ call: ServerCall) {
        while !isOver {
            guard call.unsentByteCountToAnybody <= ServerLimits.unsentBytesToAnybody else {
                return wait(call)
            }
            guard let message = call.nextMessage() else { break }
            waitCount = 0
            call.returnCredit(message.creditByteCount)
            answer(Array(message.bytes.readableBytesView), call)
        }
        if call.isRequestComplete { end(call, .ok) }
    }

    /// Looks again, less and less often. Where it is other calls whose answers are not read, it is
    /// given up after a second: connections with many calls that look would cost too much.
    private func wait(_ call: ServerCall) {
        if call.isRequestComplete { return end(call, .ok) }
        if isWaiting { return }
        if waitCount >= Self.waitLimit, call.unsentByteCount == 0 {
            return end(call, .answersUnread)
        }
        isWaiting = true
        let pause = Self.firstPause * (1 << min(waitCount, Self.waitLimit))
        waitCount += 1
        call.later(pause) { [weak self, weak call] in
            guard let self, let call, !self.isOver else { return }
            self.isWaiting = false
            self.messagesAvailable(call)
        }
    }

    private static let firstPause = TimeAmount.milliseconds(10)
    /// Pauses that double, some 1.3 s in all.
    private static let waitLimit = 7

    func writable(_ call: ServerCall) { messagesAvailable(call) }

    func draining(_ call: ServerCall) { end(call, .shuttingDown) }

    func ended(_ call: ServerCall, by cause: CallEnd) { isOver = true }

    private func end(_ call: ServerCall, _ status: RPCStatus) {
        guard !isOver else { return }
        isOver = true
        call.finish(status)
    }

    private func answer(_ request: [UInt8], _ call: ServerCall) {
        guard let (host, question) = try? Question.read(request) else {
            call.refused(.malformedMessage)
            return end(call, .malformed("ServerReflectionRequest"))
        }
        guard let question else { return end(call, .noReflectionQuestion) }
        var response = WireWriter()
        if !host.isEmpty { response.text(1, host) }
        response.bytes(2, request)
        answer(question, &response)
        call.send(maxByteCount: response.bytes.count) { $0.writeBytes(response.bytes) }
    }

    /// `ServerReflectionRequest`'s `message_request`.
    private enum Question {
        case fileByName(String)
        case fileOfSymbol(String)
        case fileOfExtension(of: String, number: UInt64)
        case extensionNumbers(of: String)
        case services

        /// The host, and the last question, as protobuf has it for a oneof.
        static func read(_ bytes: [UInt8]) throws(WireError) -> (host: String, Question?) {
            var host = ""
            var question: Question?
            var reader = WireReader(bytes)
            while let (number, value) = try reader.next() {
                switch number {
                case 1: host = try utf8(value)
                case 3: question = .fileByName(value.text)
                case 4: question = .fileOfSymbol(value.text)
                case 5: question = try fileOfExtension(value.bytes)
                case 6: question = .extensionNumbers(of: value.text)
                case 7: question = .services
                default: break
                }
            }
            return (host, question)
        }

        /// It is given back, and must not grow by being mended.
        private static func utf8(_ value: WireReader.Value) throws(WireError) -> String {
            guard let text = String(validating: value.bytes, as: UTF8.self) else {
                throw WireError()
            }
            return text
        }

        private static func fileOfExtension(
            _ bytes: ArraySlice<UInt8>
        ) throws(WireError) -> Question {
            var type = ""
            var extensionNumber: UInt64 = 0
            var reader = WireReader(bytes)
            while let (number, value) = try reader.next() {
                switch (number, value) {
                case (1, _): type = value.text
                case (2, .number(let value)): extensionNumber = value
                default: break
                }
            }
            return .fileOfExtension(of: type, number: extensionNumber)
        }
    }

    /// Writes the answer's field of `ServerReflectionResponse`'s `message_response`.
    private func answer(_ question: Question, _ response: inout WireWriter) {
        switch question {
        case .fileByName(let name):
            if descriptors.files[name] != nil { return answerFile(name, &response) }
            answerNotFound("file \(name.prefix(Self.echoedByteCount))", &response)
        case .fileOfSymbol(let symbol):
            if let name = descriptors.fileOfSymbol[symbol] { return answerFile(name, &response) }
            answerNotFound("symbol \(symbol.prefix(Self.echoedByteCount))", &response)
        case .fileOfExtension(let type, let number):
            // The protos have no extensions; proto3 knows none but those of options.
            answerNotFound(
                "extension \(number) of \(type.prefix(Self.echoedByteCount))", &response)
        case .extensionNumbers(let type):
            guard descriptors.messages.contains(type) else {
                return answerNotFound(
                    "message type \(type.prefix(Self.echoedByteCount))", &response)
            }
            response.message(5) { $0.text(1, type) }
        case .services:
            response.message(6) { list in
                for service in descriptors.services {
                    list.message(1) { $0.text(1, service) }
                }
            }
        }
    }

    /// So much of a question's text comes back in the text of an error.
    private static let echoedByteCount = 200

    private func answerFile(_ name: String, _ response: inout WireWriter) {
        let files = descriptors.withImports(of: name, knowing: &sentFiles)
        response.message(4) { answer in
            for file in files { answer.bytes(1, file) }
        }
    }

    private func answerNotFound(_ what: String, _ response: inout WireWriter) {
        response.message(7) {
            $0.number(1, UInt64(RPCCode.notFound.rawValue))
            $0.text(2, "there is no \(what)")
        }
    }
}
