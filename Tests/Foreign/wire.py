"""HTTP/2 by hand: for what a gRPC library would never send, or would hide."""

import dataclasses
import select
import socket
import struct
import time

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import hyperframe.frame

SERVICE = "/contacts.v1.ContactService/"


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number, value):
    """A length-delimited field of a message."""
    if isinstance(value, str):
        value = value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value


def envelope(message, compressed=0, length=None):
    if not isinstance(message, bytes):
        message = message.SerializeToString()
    return struct.pack(">BI", compressed, len(message) if length is None else length) + message


@dataclasses.dataclass
class Answer:
    headers: dict = dataclasses.field(default_factory=dict)
    trailers: dict = dataclasses.field(default_factory=dict)
    body: bytearray = dataclasses.field(default_factory=bytearray)
    ended: bool = False
    reset: int = None

    @property
    def over(self):
        return self.ended or self.reset is not None

    @property
    def status(self):
        value = self.trailers.get("grpc-status", self.headers.get("grpc-status"))
        return None if value is None else int(value)

    def messages(self, kind):
        out, rest = [], bytes(self.body)
        while len(rest) >= 5:
            length = struct.unpack(">BI", rest[:5])[1]
            if len(rest) < 5 + length:
                break
            out.append(kind.FromString(rest[5:5 + length]))
            rest = rest[5 + length:]
        return out


class Connection:
    """One connection. With `reads=False` no window is given back, as by a client that never reads;
    `window` is what each stream and the connection give the server at first."""

    def __init__(self, server, window=1 << 20, reads=True):
        self.reads = reads
        self.socket = socket.create_connection((server.host, server.port), timeout=10)
        self.socket.setblocking(False)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(
            validate_outbound_headers=False, normalize_outbound_headers=False,
            header_encoding="utf-8"))
        # The library would take no frame after a GOAWAY, though open streams go on.
        self.h2._frame_dispatch_table[hyperframe.frame.GoAwayFrame] = self._take_goaway
        self.h2.local_settings = h2.settings.Settings(initial_values={
            h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window,
            h2.settings.SettingCodes.ENABLE_PUSH: 0})
        self.h2.initiate_connection()
        if window > 65535:
            self.h2.increment_flow_control_window(window - 65535)
        self.answers = {}
        self.goaways = []
        self.closed = False
        self.unsent = b""
        self.push()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def open(self, path, headers=(), verb="POST", end=False,
             content_type="application/grpc+proto", te="trailers"):
        stream = self.h2.get_next_available_stream_id()
        fields = [(":method", verb), (":scheme", "http"), (":path", path),
                  (":authority", "contacts")]
        if content_type:
            fields.append(("content-type", content_type))
        if te:
            fields.append(("te", te))
        self.answers[stream] = Answer()
        self.h2.send_headers(stream, fields + list(headers), end_stream=end)
        self.push()
        return stream

    def send(self, stream, data, end=False, seconds=20):
        """Sends as the windows allow; stops early when the answer is over. Returns what it sent."""
        limit = time.monotonic() + seconds
        sent, data = 0, memoryview(data)
        while sent < len(data) and not self.answers[stream].over and not self.closed:
            room = min(self.room(stream), len(data) - sent, self.h2.max_outbound_frame_size)
            if room > 0 and not self.unsent:
                self.h2.send_data(stream, bytes(data[sent:sent + room]))
                sent += room
                self.push()
                self.pull(0)
            elif not self.pull(limit - time.monotonic()):
                break
        if end and sent == len(data) and not self.answers[stream].over and not self.closed:
            self.h2.end_stream(stream)
            self.push()
        return sent

    def room(self, stream):
        try:
            return self.h2.local_flow_control_window(stream)
        except h2.exceptions.StreamClosedError:
            return 0

    def push(self):
        self.unsent += self.h2.data_to_send()
        try:
            while self.unsent:
                self.unsent = self.unsent[self.socket.send(self.unsent):]
        except BlockingIOError:
            pass
        except OSError:
            self.closed, self.unsent = True, b""

    def pull(self, seconds):
        """Waits for something from the server; False when nothing came."""
        writers = [self.socket] if self.unsent else []
        readable, writable, _ = select.select([self.socket], writers, [], max(seconds, 0))
        if writable:
            self.push()
        if not readable:
            return bool(writable)
        try:
            data = self.socket.recv(1 << 18)
        except OSError:
            data = b""
        if not data:
            self.closed = True
            return False
        for event in self.h2.receive_data(data):
            self._take(event)
        self.push()
        return True

    def _take_goaway(self, frame):
        self.goaways.append((frame.error_code, frame.last_stream_id))
        return [], []

    def _take(self, event):
        answer = self.answers.get(getattr(event, "stream_id", None))
        if answer is None:
            return
        if isinstance(event, h2.events.ResponseReceived):
            answer.headers = dict(event.headers)
        elif isinstance(event, h2.events.TrailersReceived):
            answer.trailers = dict(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            answer.body += event.data
            if self.reads:
                self.h2.acknowledge_received_data(
                    event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            answer.ended = True
        elif isinstance(event, h2.events.StreamReset):
            answer.reset = int(event.error_code)

    def wait(self, stream, condition=lambda answer: answer.over, seconds=20):
        """Reads until the answer satisfies the condition, or is over."""
        end = time.monotonic() + seconds
        answer = self.answers[stream]
        while not condition(answer) and not answer.over and not self.closed:
            assert time.monotonic() < end, f"no answer within {seconds} s: {answer}"
            self.pull(end - time.monotonic())
        return answer

    def call(self, method, data=b"", end=True, seconds=20, path=None, **options):
        """One call to its end."""
        stream = self.open(path or SERVICE + method, **options)
        self.send(stream, data, end=end, seconds=seconds)
        return self.wait(stream, seconds=seconds)
