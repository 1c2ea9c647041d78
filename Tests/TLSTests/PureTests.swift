// What decides without a socket: when files are read again, when a line is written, which names count.

import NIOCore
import Testing

@testable import TLS

struct PureTests {
    /// The answer to each look in turn.
    private func answers(_ changes: inout FileChanges, _ looks: [[FileStamp?]]) -> [Bool] {
        var answers: [Bool] = []
        for look in looks { answers.append(changes.look(look)) }
        return answers
    }

    @Test
    func `A change is taken when it stands still`() {
        let (a, b, c) = (FileStamp(inode: 1), FileStamp(inode: 2), FileStamp(inode: 3))
        var changes = FileChanges([a, a])
        // The certificate has come, the key has not; then both have.
        #expect(
            answers(&changes, [[a, a], [b, a], [b, b], [b, b], [b, b]])
                == [false, false, false, true, false])
        // Of no use or not, it is tried once.
        #expect(answers(&changes, [[nil, b], [nil, b], [nil, b]]) == [false, true, false])
        // Back to what it was is a change, too; but not when it was only between two looks.
        #expect(
            answers(&changes, [[b, b], [b, b], [c, b], [b, b], [b, b]])
                == [false, true, false, false, false])
    }

    @Test
    func `What somebody asked to read is not read twice`() {
        let (a, b) = (FileStamp(inode: 1), FileStamp(inode: 2))
        var changes = FileChanges([a])
        #expect(answers(&changes, [[b]]) == [false])
        changes.willRead([b])
        #expect(answers(&changes, [[b], [b]]) == [false, false])
    }

    @Test
    func `A line stands for many failures`() {
        let begin = NIODeadline.now()
        var digest = FailureDigest()
        let first = digest.add(at: begin)
        #expect(first == 1)
        for millisecond in 1...9999 {
            let none = digest.add(at: begin + .milliseconds(Int64(millisecond)))
            #expect(none == nil)
        }
        let second = digest.add(at: begin + TLSLimits.failureLineInterval)
        #expect(second == 10_000)
        let third = digest.add(at: begin + TLSLimits.failureLineInterval)
        #expect(third == nil)
    }

    @Test
    func `A server's name is one of its certificate's`() {
        for (name, pattern) in [
            ("a.example", "a.example"), ("A.Example.", "a.example"), ("a.example", "*.example"),
            ("localhost", "localhost"),
        ] {
            #expect(PeerIdentities.matches(name, pattern))
        }
        for (name, pattern) in [
            ("a.example", "b.example"), ("a.b.example", "*.example"), ("example", "*.example"),
            (".example", "*.example"), ("a.example", "a*.example"), ("a.example", "*"),
            ("*.example", "*.example"), ("", ""), ("a.example", "a.example."),
        ] {
            #expect(!PeerIdentities.matches(name, pattern))
        }
    }

    @Test
    func `A name counts in the shape of its kind alone`() {
        #expect(PeerIdentities.isURI("spiffe://a.example/x"))
        #expect(PeerIdentities.isURI("urn:a"))
        for name in ["", ":", "a.example", "urn:a b", "urn:\u{0}", "urn:\u{fc}"] {
            #expect(!PeerIdentities.isURI(name))
        }
        #expect(PeerIdentities.isHost("a-1.B_example"))
        for name in ["", "a:b", "spiffe://a", "a b", "a\u{0}.example", "\u{fc}.example"] {
            #expect(!PeerIdentities.isHost(name))
        }
        #expect(PeerIdentities.isCommonName("Import Tool \u{fc}"))
        for name in ["", "urn:a", "a\nb", "a\u{0}", "a\u{7f}"] {
            #expect(!PeerIdentities.isCommonName(name))
        }
    }
}
