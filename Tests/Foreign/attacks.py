"""What an attacker sends over and over: for the tests in small, for attack_figures.py at length.

An attack is a function of a number: what its connection sends then. It gets 0, 1, 2 … and may rely on
nothing else, since nobody checks what comes back.
"""

import dataclasses
import gzip
import itertools
import ssl
import struct

from frames import (
    ACK, CONTINUATION, END_HEADERS, END_STREAM, GOAWAY, INITIAL_WINDOW_SIZE, LOOK_UP, NO_ERROR, PING,
    PREFACE, SETTINGS, STREAM, WITH_PRIORITY, block, call, data, frame, headers, integer, priority,
    request_fields, rst, settings, window_update)
from stubs import pb
from wire import SERVICE, envelope

OPEN = headers(1, request_fields(STREAM))
WINDOW_OF_NOTHING = ((INITIAL_WINDOW_SIZE, 0),)
LARGEST = 4 * 1024 * 1024


def stream(number):
    """The number of a connection's n-th stream."""
    return 2 * number + 1


@dataclasses.dataclass
class Attack:
    # What comes with the connection's preface, and what again and again.
    send: object
    opening: bytes = b""
    settings: tuple = ()
    # Useless things in each piece, and how many of them may pass; None: they are not counted.
    events: int = 1
    limit: int = None
    # The debug data of the GOAWAY, which is the name of the counter too.
    reason: str = None
    # The attacker takes what is sent to it.
    reads: bool = True
    # Seconds between the pieces.
    pause: float = 0
    # Pieces of one connection; then it opens another. None: as many as the server takes.
    pieces: int = None
    # Connections at once, where it is these that count.
    at_once: int = 1
    # What its first bytes are, and whether it hangs up with a reset.
    preface: bytes = PREFACE
    hangs_up: bool = False

    def first(self):
        return (self.preface + settings(*self.settings) if self.preface == PREFACE
                else self.preface) + self.opening

    def pieces_of(self):
        numbers = itertools.count() if self.pieces is None else range(self.pieces)
        return (self.send(number) for number in numbers)


def always(content):
    return lambda number: content


def streams(make, count=50):
    """Pieces of `count` streams each."""
    return lambda number: b"".join(
        make(stream(n)) for n in range(number * count, (number + 1) * count))


def field(name, value, first=0x00):
    return bytes([first]) + integer(len(name), 7) + name + integer(len(value), 7) + value


MINIMAL = block(request_fields())
# An entry that fills the table, then as many references to it as fit: 4 KB each, for one byte.
REFERENCES = (field(b"x", b"y" * 4000, 0x40) + b"\xbe" * 12000)
# New entries, each of which drives out the ones before.
CHURN = b"".join(field(b"x%d" % n, b"y" * 1000, 0x40) for n in range(16))

# A request that is answered by a reset, behind which everything is ignored.
MALFORMED = headers(1, request_fields(more=[("X", "y")]))

# Contacts without a byte: two bytes each on the wire, and with gzip four for a thousand.
EMPTY_CONTACTS = b"\x12\x00"
UPSERT = SERVICE + "UpsertContacts"


def compressed(message):
    """Calls with that message compressed."""
    body = envelope(gzip.compress(message), 1)
    fields = request_fields(UPSERT, [("grpc-encoding", "gzip")])
    return streams(lambda s: headers(s, fields) + data(s, body, END_STREAM), 4)


def whole(message, window=1 << 20):
    """Calls with as much of that message as the connection's window takes."""
    body = envelope(message[:window - 5])
    pieces = [body[n:n + 16384] for n in range(0, len(body), 16384)]
    return lambda n: headers(stream(n), request_fields(UPSERT)) + b"".join(
        data(stream(n), piece) for piece in pieces) + data(stream(n), b"", END_STREAM)


USELESS = dict(limit=10_000, reason="useless_frames")
PINGS = dict(limit=10_000, reason="too_many_pings")
RESETS = dict(events=50, limit=500)
PROVOKED = RESETS | dict(reason="provoked_resets")

ATTACKS = {
    # Frames that cost nothing to send.
    "SETTINGS": Attack(always(settings((INITIAL_WINDOW_SIZE, 65535)) * 100), events=100, **USELESS),
    "SETTINGS with many entries": Attack(
        always(settings(*((0x77, n) for n in range(32))) * 20), events=20, **USELESS),
    "empty SETTINGS": Attack(always(settings() * 100), events=100, **USELESS),
    "SETTINGS acknowledged": Attack(always(frame(SETTINGS, ACK) * 100), events=100, limit=10_000),
    "PING": Attack(always(frame(PING, 0, 0, b"\0" * 8) * 100), events=100, **PINGS),
    "PING answers": Attack(always(frame(PING, ACK, 0, b"\0" * 8) * 100), events=100, **USELESS),
    "PRIORITY": Attack(always(priority(1, 3) * 100), events=100, **USELESS),
    "unknown frames": Attack(always(frame(0x77, 0, 0, b"x") * 100), events=100, **USELESS),
    "unknown frames on a stream": Attack(
        always(frame(0x77, 0, 1, b"x") * 100), OPEN, events=100, **USELESS),
    "ALTSVC and ORIGIN": Attack(
        always((frame(0xA, 0, 0, b"\0\0") + frame(0xC)) * 50), events=100, **USELESS),
    "empty DATA": Attack(always(data(1) * 100), OPEN, events=100, **USELESS),
    "DATA of padding": Attack(
        always(frame(0, 0x8, 1, b"\x07" + b"\0" * 7) * 100), OPEN, events=100, **USELESS),
    "WINDOW_UPDATE": Attack(always(window_update(0, 1) * 100), events=100, **USELESS),
    "WINDOW_UPDATE of a stream": Attack(
        always(window_update(1, 1) * 100), OPEN, WINDOW_OF_NOTHING, events=100, **USELESS),
    "WINDOW_UPDATE of a closed stream": Attack(
        always(window_update(1, 1) * 100), OPEN + rst(1), events=100, **USELESS),
    "a window opened by bytes": Attack(
        always(window_update(1, 1) * 100), headers(1) + data(1, envelope(pb.GetContactsRequest(
            keys=[pb.ContactKey(email="x")] * 2000)), END_STREAM),
        ((INITIAL_WINDOW_SIZE, 1),), events=100, **USELESS),
    "windows that come and go": Attack(
        always((settings((INITIAL_WINDOW_SIZE, 0)) + settings((INITIAL_WINDOW_SIZE, 1))) * 50),
        b"".join(call(stream(n)) for n in range(100)), events=100, **USELESS),
    # A connection without a stream ends with the first of them.
    "GOAWAY": Attack(
        always(frame(GOAWAY, 0, 0, b"\0" * 8) * 100), OPEN, events=100, **USELESS),
    "RST_STREAM of a closed stream": Attack(
        always(rst(1) * 100), OPEN + rst(1), events=100, limit=10_000, reason=None),
    # Streams that are opened to be reset.
    "rapid reset": Attack(
        streams(lambda s: headers(s) + rst(s)), reason="too_many_resets", **RESETS),
    "rapid reset without an error": Attack(
        streams(lambda s: headers(s) + rst(s, NO_ERROR)), reason="too_many_resets", **RESETS),
    "rapid reset of a request that has ended": Attack(
        streams(lambda s: headers(s, flags=END_HEADERS | END_STREAM) + rst(s)),
        settings=WINDOW_OF_NOTHING, reason="too_many_resets", **RESETS),
    "rapid reset of calls that have no time": Attack(
        streams(lambda s: headers(s, request_fields(more=[("grpc-timeout", "1n")])) + rst(s)),
        reason="too_many_resets", **RESETS),
    "resets provoked by a window too large": Attack(
        streams(lambda s: headers(s, request_fields(STREAM)) + window_update(s, 0x7FFFFFFF) * 2),
        **PROVOKED),
    "resets provoked by a content-length": Attack(
        streams(lambda s: headers(s, request_fields(more=[("content-length", "1")]))
                + data(s, envelope(b""), END_STREAM)), **PROVOKED),
    "resets provoked by a bad field": Attack(
        streams(lambda s: headers(s, request_fields(more=[("X", "y")]))), **PROVOKED),
    "resets provoked by bad trailers": Attack(
        streams(lambda s: headers(s) + headers(s, [("x", "y")])), **PROVOKED),
    "a stream that depends on itself": Attack(
        streams(lambda s: headers(s, flags=END_HEADERS | WITH_PRIORITY,
                                  payload=struct.pack(">IB", s, 16) + MINIMAL) + rst(s)),
        **RESETS),
    "more streams than allowed": Attack(
        streams(lambda s: headers(s, request_fields(STREAM)), 100), events=100, limit=10_000),
    # Calls and requests that are answered, and come to nothing.
    "calls of no method": Attack(
        streams(lambda s: call(s, "/no/such"))),
    "requests that are no RPC": Attack(streams(lambda s: headers(
        s, [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "x")],
        END_HEADERS | END_STREAM))),
    # Header blocks.
    "CONTINUATION": Attack(
        always(frame(CONTINUATION, 0, 1, b"") * 100), headers(1, flags=0, payload=MINIMAL),
        events=100, limit=500, reason="too_many_continuations"),
    "CONTINUATION with fields": Attack(
        always(frame(CONTINUATION, 0, 1, b"\x90" * 16000)), headers(1, flags=0, payload=MINIMAL),
        limit=500, reason="oversized_headers"),
    "header fields too many": Attack(streams(lambda s: headers(
        s, payload=MINIMAL + field(b"x", b"") * 2000, flags=END_HEADERS | END_STREAM), 4)),
    "header fields too large": Attack(streams(lambda s: headers(
        s, payload=MINIMAL + field(b"x", b"y" * 16200), flags=END_HEADERS | END_STREAM), 4)),
    "HPACK references": Attack(streams(lambda s: headers(
        s, payload=MINIMAL + REFERENCES, flags=END_HEADERS | END_STREAM), 4),
        events=4, limit=4, reason="oversized_headers"),
    "HPACK table churn": Attack(streams(lambda s: headers(
        s, payload=MINIMAL + CHURN, flags=END_HEADERS | END_STREAM), 4)),
    "HPACK table churn on a reset stream": Attack(
        always(headers(1, payload=CHURN, flags=END_HEADERS) * 4), MALFORMED, events=4, limit=68,
        reason="oversized_headers"),
    "HEADERS on a reset stream": Attack(
        always(headers(1, payload=b"") * 100), MALFORMED, events=100, **USELESS),
    "the end of a reset stream": Attack(
        always(data(1, b"", END_STREAM) * 100), MALFORMED, events=100, **USELESS),
    # Messages that are more than they seem.
    "gzip bombs": Attack(compressed(b"\0" * (2 * LARGEST))),
    "gzip of empty contacts": Attack(compressed(EMPTY_CONTACTS * (LARGEST // 2))),
    "gzip of unknown fields": Attack(compressed(b"\x7a\x00" * (LARGEST // 2))),
    "empty contacts": Attack(whole(EMPTY_CONTACTS * LARGEST), pause=1.2),
    "empty custom fields": Attack(
        whole((b"\x12\xa0\x06" + b"\x4a\x00" * 400) * 2000), pause=1.2),
    # Slow ones.
    "a slow preface": Attack(
        lambda n: PREFACE[n % 24:n % 24 + 1], preface=b"", pause=1, pieces=24),
    "no preface": Attack(always(b""), preface=b"", pause=1),
    "slow headers": Attack(always(b"\0"), frame(1, 0, 1, b"", length=16384), pause=1),
    "slow bodies": Attack(
        lambda n: data(stream(n % 100), b"x"),
        b"".join(headers(stream(n), request_fields(STREAM))
                 + data(stream(n), struct.pack(">BI", 0, LARGEST)) for n in range(100)), pause=0.1),
    "lengths that lie": Attack(
        always(b""), b"".join(
            headers(stream(n), request_fields(STREAM)) + data(stream(n), struct.pack(
                ">BI", 0, LARGEST)) for n in range(250)), pause=1),
    "large messages without an end": Attack(
        lambda n: data(stream(n % 200), b"x" * 16384),
        b"".join(headers(stream(n), request_fields(STREAM)) + data(stream(n), struct.pack(
            ">BI", 0, LARGEST)) for n in range(200)), pause=0.002),
    "idle streams": Attack(always(b""), b"".join(
        headers(stream(n), request_fields(STREAM)) for n in range(250)), pause=1),
    "idle streams with large headers": Attack(always(b""), b"".join(headers(
        stream(n), payload=block(request_fields(STREAM)) + field(b"x", b"y" * 15000),
        flags=END_HEADERS) for n in range(250)), pause=1),
    # Peers that do not read.
    "PINGs and no reading": Attack(
        always(frame(PING, 0, 0, b"\0" * 8) * 100), reads=False, events=100, **PINGS),
    "SETTINGS and no reading": Attack(always(settings() * 100), reads=False, events=100, **USELESS),
    "answers that are not read": Attack(
        streams(lambda s: call(s, "/no/such")), reads=False),
    "look-ups that are not read": Attack(
        streams(lambda s: call(s, message=pb.GetContactsRequest(
            keys=[pb.ContactKey(email="h1@honest.example")] * 2000)), 1), reads=False, pause=0.05),
    # Connections.
    "connections that come and go": Attack(always(b""), pieces=1, at_once=50),
    "connections that come and are reset": Attack(
        always(b""), pieces=1, hangs_up=True, at_once=50),
    "no HTTP/2": Attack(
        always(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"), preface=b"", pieces=1, at_once=50),
}


def client_hello():
    """What begins a handshake, and costs the server a signature."""
    taken, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2"])
    try:
        context.wrap_bio(taken, sent, server_hostname="localhost").do_handshake()
    except ssl.SSLWantReadError:
        return sent.read()
    raise AssertionError("the handshake needs an answer")


HELLO = client_hello()

# On a port with TLS.
TLS_ATTACKS = {
    "handshakes that are left": Attack(always(b""), preface=HELLO, pieces=1, at_once=50),
    "handshakes that are reset": Attack(always(b""), preface=HELLO, pieces=1,
                                        hangs_up=True, at_once=50),
    "handshakes that go no further": Attack(always(b""), preface=HELLO, pause=1, at_once=50),
    "a handshake byte by byte": Attack(
        lambda n: HELLO[n:n + 1], preface=b"", pause=0.1, pieces=len(HELLO)),
    "no TLS": Attack(always(PREFACE), preface=b"", pieces=1, at_once=50),
}
