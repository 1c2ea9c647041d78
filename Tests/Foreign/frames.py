"""HTTP/2 frame by frame: a peer that sends whatever it is told, and checks nothing of it."""

import contextlib
import select
import socket
import struct
import time

import hpack

from wire import SERVICE, envelope

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, \
    CONTINUATION = range(10)
# Flags.
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
WITH_PRIORITY = 0x20
# Settings.
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, \
    MAX_HEADER_LIST_SIZE = range(1, 7)
# Errors (RFC 9113 section 7).
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, \
    FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, \
    ENHANCE_YOUR_CALM = range(12)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

LOOK_UP = SERVICE + "GetContacts"
STREAM = SERVICE + "BulkUpsert"

def frame(kind, flags=0, stream=0, payload=b"", length=None):
    """`length` may lie."""
    length = len(payload) if length is None else length
    return struct.pack(">I", length)[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings(*pairs):
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", *pair) for pair in pairs))


def window_update(stream, increment):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", increment))


def rst(stream, code=CANCEL):
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def priority(stream, on=0, weight=16):
    return frame(PRIORITY, 0, stream, struct.pack(">IB", on, weight))


def request_fields(path=LOOK_UP, more=()):
    return [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "contacts"),
            ("content-type", "application/grpc"), ("te", "trailers"), *more]


def block(fields):
    """A header block that neither uses nor changes the table, so that it may be sent at any time."""
    out = bytearray()
    for name, value in fields:
        out.append(0)
        for text in (name, value):
            text = text.encode("latin-1") if isinstance(text, str) else text
            out += integer(len(text), 7) + text
    return bytes(out)


def integer(number, bits, first=0):
    """RFC 7541 section 5.1."""
    most = (1 << bits) - 1
    if number < most:
        return bytes([first | number])
    out = bytearray([first | most])
    number -= most
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def headers(stream, fields=None, flags=END_HEADERS, payload=None):
    if payload is None:
        payload = block(request_fields() if fields is None else fields)
    return frame(HEADERS, flags, stream, payload)


def data(stream, content=b"", flags=0):
    return frame(DATA, flags, stream, content)


def call(stream, path=LOOK_UP, message=b"", more=()):
    """A whole unary call."""
    return headers(stream, request_fields(path, more)) + data(
        stream, envelope(message), END_STREAM)


class Peer:
    """One connection, its preface and first SETTINGS sent. What came is in `frames`, each a tuple of
    kind, flags, stream and payload. The server's SETTINGS are acknowledged."""

    def __init__(self, server, *pairs, preface=True, acknowledge=True, source=None, receive_buffer=None):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            self.socket.bind((source, 0))
        self.socket.settimeout(10)
        self.socket.connect((server.host, server.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.acknowledge = acknowledge
        self.frames = []
        self.closed = False
        self._decoder = hpack.Decoder()
        self._rest = b""
        if preface:
            self.send(PREFACE + settings(*pairs))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, *parts):
        """Sends all of it, or as much as the server takes before it hangs up."""
        if self.closed:
            return
        try:
            self.socket.sendall(b"".join(parts))
        except (BrokenPipeError, ConnectionResetError):
            # What came before may still be read.
            pass

    def send_now(self, content):
        """Sends what the socket takes at once; how much that was."""
        try:
            return self.socket.send(content, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        except OSError:
            self.closed = True
            return 0

    def pull(self, seconds):
        """Waits for bytes; False: none came."""
        if self.closed or not select.select([self.socket], [], [], max(seconds, 0))[0]:
            return False
        try:
            received = self.socket.recv(1 << 18)
        except ConnectionResetError:
            received = b""
        if not received:
            self.closed = True
            return False
        self._rest += received
        while len(self._rest) >= 9:
            end = 9 + int.from_bytes(self._rest[:3], "big")
            if len(self._rest) < end:
                break
            kind, flags, stream = struct.unpack(">BBI", self._rest[3:9])
            self._take(kind, flags, stream & 0x7FFFFFFF, self._rest[9:end])
            self._rest = self._rest[end:]
        return True

    def _take(self, kind, flags, stream, payload):
        if kind == HEADERS:
            payload = dict(self._decoder.decode(payload))
        if kind == SETTINGS and not flags & ACK and self.acknowledge:
            self.send(frame(SETTINGS, ACK))
        self.frames.append((kind, flags, stream, payload))

    def until(self, condition, seconds=10, what="the frame"):
        """The first true value of the condition over the frames; the connection may end before."""
        end = time.monotonic() + seconds
        while True:
            value = condition(self)
            if value or self.closed:
                return value
            left = end - time.monotonic()
            assert left > 0, f"{what} did not come within {seconds} s: {self.told()}"
            self.pull(left)

    def of(self, kind, stream=None):
        return [f for f in self.frames if f[0] == kind and stream in (None, f[2])]

    # What has come.

    @property
    def goaways(self):
        """Code and debug data of each."""
        return [(struct.unpack(">I", f[3][4:8])[0], f[3][8:].decode()) for f in self.of(GOAWAY)]

    def reset_code(self, stream):
        found = self.of(RST_STREAM, stream)
        return struct.unpack(">I", found[0][3])[0] if found else None

    def answer(self, stream):
        """All header fields of the stream's answer, once it has ended."""
        if not any(f[1] & END_STREAM for f in self.frames if f[2] == stream):
            return None
        fields = {}
        for found in self.of(HEADERS, stream):
            fields |= found[3]
        return fields

    def body(self, stream):
        return b"".join(f[3] for f in self.of(DATA, stream))

    def told(self):
        kinds = {}
        for kind, _, stream, payload in self.frames:
            kinds.setdefault((kind, stream), payload)
        return {"goaways": self.goaways, "closed": self.closed, "frames": kinds}

    # What must come.

    def ends(self, *codes, seconds=10):
        """The connection ends, by a GOAWAY with one of the codes; returns its debug data."""
        self.until(lambda peer: peer.closed, seconds, "the end of the connection")
        found = [debug for code, debug in self.goaways if code in codes]
        assert found, self.told()
        return found[0]

    def resets(self, stream, *codes, seconds=10):
        """The stream is reset with one of the codes. An endpoint may treat any stream error as one of
        the connection (RFC 9113 section 5.4.1), then a GOAWAY has the code. Returns which it was."""
        self.until(lambda peer: peer.reset_code(stream) is not None or peer.goaways, seconds,
                   "the reset")
        code = self.reset_code(stream)
        if code is not None:
            assert code in codes, self.told()
            return "stream"
        self.ends(*codes)
        return "connection"

    def answers(self, stream, seconds=10):
        fields = self.until(lambda peer: peer.answer(stream), seconds, "the answer")
        assert fields, self.told()
        return fields

    def is_ready(self):
        """The server's SETTINGS came: its windows are what they say."""
        self.until(lambda peer: peer.of(SETTINGS))
        self.is_alive(b"is ready")

    def is_served(self, stream, seconds=10):
        fields = self.answers(stream, seconds)
        assert fields.get("grpc-status") == "0", fields
        return fields

    def is_alive(self, token=b"is alive"):
        """The connection takes all that was sent, and answers."""
        self.send(frame(PING, 0, 0, token))
        assert self.until(lambda peer: [f for f in peer.of(PING) if f[1] & ACK and f[3] == token]), \
            self.told()
        assert not self.goaways, self.told()

    def serves(self, stream):
        """The connection takes another call."""
        self.send(call(stream))
        self.is_served(stream)


@contextlib.contextmanager
def peers(server, count, *pairs, **options):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Peer(server, *pairs, **options)) for _ in range(count)]
