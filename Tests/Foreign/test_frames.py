"""What RFC 9113 has a server do with each frame: sections 3.4, 4, 5, 6 and 7.

Where the RFC asks for a stream error, a connection error with the same code passes too: section 5.4.1
lets an endpoint choose. After each test the server answers another connection (conftest.py).
"""

import socket
import struct

import pytest

from frames import (
    ACK, CANCEL, COMPRESSION_ERROR, CONTINUATION, DATA, ENABLE_PUSH, END_HEADERS, END_STREAM,
    FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, GOAWAY, HEADER_TABLE_SIZE, HEADERS, INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE, PADDED, PING, PREFACE, PRIORITY,
    PROTOCOL_ERROR, PUSH_PROMISE, REFUSED_STREAM, RST_STREAM, SETTINGS, STREAM, STREAM_CLOSED,
    WINDOW_UPDATE, WITH_PRIORITY, Peer, block, call, data, frame, headers, priority, request_fields,
    rst, settings, window_update)
from stubs import pb
from wire import envelope

# An open call, which neither side has ended.
OPEN = headers(1, request_fields(STREAM))
# A call whose request has ended, and whose answer waits for a window.
NO_WINDOW = (INITIAL_WINDOW_SIZE, 0)
ENDED = call(1)
MOST = 16384


@pytest.fixture
def peer(server):
    with Peer(server) as peer:
        yield peer


# What ends the connection. Name: the code, and what is sent.
CONNECTION_ERRORS = {
    "4.2: DATA over the largest frame": (
        {FRAME_SIZE_ERROR}, OPEN + data(1, b"\0" * (MOST + 1))),
    "4.2: HEADERS over the largest frame": (
        {FRAME_SIZE_ERROR}, headers(1, payload=b"\0" * (MOST + 1))),
    "4.2: SETTINGS over the largest frame": (
        {FRAME_SIZE_ERROR}, frame(SETTINGS, payload=b"\0" * 6 * 2731)),
    "4.2: a frame of an unknown kind over the largest frame": (
        {FRAME_SIZE_ERROR}, frame(0x77, payload=b"\0" * (MOST + 1))),
    "4.3: a block that cannot be decoded": (
        {COMPRESSION_ERROR}, headers(1, payload=b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")),
    "4.3: a block that ends within a field": (
        {COMPRESSION_ERROR}, headers(1, payload=b"\x00\x05ab")),
    "4.3: PRIORITY amid a block": ({PROTOCOL_ERROR}, headers(1, flags=0) + priority(1)),
    "4.3: HEADERS of another stream amid a block": (
        {PROTOCOL_ERROR}, headers(1, flags=0) + headers(3)),
    "4.3: DATA amid a block": ({PROTOCOL_ERROR}, headers(1, flags=0) + data(1)),
    "5.1: DATA on an idle stream": ({PROTOCOL_ERROR, STREAM_CLOSED}, data(1, b"x")),
    "5.1: RST_STREAM on an idle stream": ({PROTOCOL_ERROR}, rst(1)),
    "5.1: WINDOW_UPDATE on an idle stream": ({PROTOCOL_ERROR}, window_update(1, 1)),
    "5.1: CONTINUATION on an idle stream": (
        {PROTOCOL_ERROR}, frame(CONTINUATION, END_HEADERS, 1, b"")),
    "5.1: CONTINUATION on a half-closed stream": (
        {PROTOCOL_ERROR}, ENDED + frame(CONTINUATION, END_HEADERS, 1, b"")),
    "5.1.1: a stream of an even number": ({PROTOCOL_ERROR}, headers(2)),
    "5.1.1: a stream of a lower number": (
        {PROTOCOL_ERROR, STREAM_CLOSED}, call(5) + headers(3)),
    "5.5: an unknown frame amid a block": (
        {PROTOCOL_ERROR}, headers(1, flags=0) + frame(0x77, 0, 0, b"x")),
    "6.1: DATA on stream 0": ({PROTOCOL_ERROR}, data(0, b"x")),
    "6.1: DATA with more padding than payload": (
        {PROTOCOL_ERROR}, OPEN + data(1, b"\x05abc", PADDED)),
    "6.1: DATA with padding as long as the payload": (
        {PROTOCOL_ERROR}, OPEN + data(1, b"\x04abc", PADDED)),
    "6.1: padded DATA without the padding's length": (
        {PROTOCOL_ERROR, FRAME_SIZE_ERROR}, OPEN + data(1, b"", PADDED)),
    "6.2: HEADERS on stream 0": ({PROTOCOL_ERROR}, headers(0)),
    "6.2: HEADERS with more padding than payload": (
        {PROTOCOL_ERROR}, headers(1, flags=END_HEADERS | PADDED, payload=b"\xff" + b"\x82")),
    "6.2: HEADERS too short for the priority that its flag announces": (
        {FRAME_SIZE_ERROR, PROTOCOL_ERROR},
        headers(1, flags=END_HEADERS | WITH_PRIORITY, payload=b"\0\0")),
    "6.3: PRIORITY on stream 0": ({PROTOCOL_ERROR}, priority(0)),
    "6.4: RST_STREAM on stream 0": ({PROTOCOL_ERROR}, rst(0)),
    "6.4: RST_STREAM of three bytes": ({FRAME_SIZE_ERROR}, OPEN + frame(RST_STREAM, 0, 1, b"\0\0\0")),
    "6.4: RST_STREAM of five bytes": (
        {FRAME_SIZE_ERROR}, OPEN + frame(RST_STREAM, 0, 1, b"\0" * 5)),
    "6.5: an acknowledgement of SETTINGS with a payload": (
        {FRAME_SIZE_ERROR}, frame(SETTINGS, ACK, 0, b"\0" * 6)),
    "6.5: SETTINGS on a stream": ({PROTOCOL_ERROR}, frame(SETTINGS, 0, 1, b"")),
    "6.5: SETTINGS of seven bytes": ({FRAME_SIZE_ERROR}, frame(SETTINGS, 0, 0, b"\0" * 7)),
    "6.5.2: ENABLE_PUSH of 2": ({PROTOCOL_ERROR}, settings((ENABLE_PUSH, 2))),
    "6.5.2: an INITIAL_WINDOW_SIZE of 2^31": (
        {FLOW_CONTROL_ERROR}, settings((INITIAL_WINDOW_SIZE, 1 << 31))),
    "6.5.2: a MAX_FRAME_SIZE of 2^14 - 1": ({PROTOCOL_ERROR}, settings((MAX_FRAME_SIZE, MOST - 1))),
    "6.5.2: a MAX_FRAME_SIZE of 2^24": ({PROTOCOL_ERROR}, settings((MAX_FRAME_SIZE, 1 << 24))),
    "6.6: PUSH_PROMISE from a client": (
        {PROTOCOL_ERROR},
        OPEN + frame(PUSH_PROMISE, END_HEADERS, 1, struct.pack(">I", 2) + block(request_fields()))),
    "6.7: PING on a stream": ({PROTOCOL_ERROR}, frame(PING, 0, 1, b"\0" * 8)),
    "6.7: PING of seven bytes": ({FRAME_SIZE_ERROR}, frame(PING, 0, 0, b"\0" * 7)),
    "6.7: PING of nine bytes": ({FRAME_SIZE_ERROR}, frame(PING, 0, 0, b"\0" * 9)),
    "6.8: GOAWAY on a stream": ({PROTOCOL_ERROR}, frame(GOAWAY, 0, 1, b"\0" * 8)),
    "6.8: GOAWAY of seven bytes": ({FRAME_SIZE_ERROR}, frame(GOAWAY, 0, 0, b"\0" * 7)),
    "6.9: WINDOW_UPDATE of the connection by 0": ({PROTOCOL_ERROR}, window_update(0, 0)),
    "6.9: WINDOW_UPDATE of three bytes": (
        {FRAME_SIZE_ERROR}, frame(WINDOW_UPDATE, 0, 0, b"\0\0\1")),
    "6.9.1: the connection's window over 2^31 - 1": (
        {FLOW_CONTROL_ERROR}, window_update(0, 0x7FFFFFFF) + window_update(0, 0x7FFFFFFF)),
    "6.10: CONTINUATION on stream 0": (
        {PROTOCOL_ERROR}, headers(1, flags=0) + frame(CONTINUATION, END_HEADERS, 0, b"")),
    "6.10: CONTINUATION of another stream": (
        {PROTOCOL_ERROR}, headers(1, flags=0) + frame(CONTINUATION, END_HEADERS, 3, b"")),
    "6.10: CONTINUATION after a block's end": (
        {PROTOCOL_ERROR}, OPEN + frame(CONTINUATION, END_HEADERS, 1, b"")),
    "6.10: CONTINUATION after another one's end": (
        {PROTOCOL_ERROR},
        headers(1, flags=0) + frame(CONTINUATION, END_HEADERS, 1, b"")
        + frame(CONTINUATION, END_HEADERS, 1, b"")),
    "6.10: CONTINUATION after DATA": (
        {PROTOCOL_ERROR}, OPEN + data(1, b"") + frame(CONTINUATION, END_HEADERS, 1, b"")),
}


@pytest.mark.parametrize("case", CONNECTION_ERRORS)
def test_a_connection_error_is_told_by_a_goaway(peer, case):
    """5.4.1 too: the GOAWAY has the code, then the connection closes."""
    codes, sent = CONNECTION_ERRORS[case]
    peer.send(sent)
    peer.ends(*codes)


# What resets the stream 1 while it is open, or waits for its answer. Name: the code, what is sent.
STREAM_ERRORS = {
    "5.1: DATA after the stream's end": ({STREAM_CLOSED}, ENDED + data(1, b"x")),
    "5.1: HEADERS after the stream's end": (
        {STREAM_CLOSED}, ENDED + headers(1, flags=END_HEADERS | END_STREAM)),
    "5.1: DATA after the client's own RST_STREAM": ({STREAM_CLOSED}, OPEN + rst(1) + data(1, b"x")),
    "5.1: HEADERS after the client's own RST_STREAM": (
        {STREAM_CLOSED, PROTOCOL_ERROR}, OPEN + rst(1) + headers(1)),
    "6.3: PRIORITY of four bytes": ({FRAME_SIZE_ERROR}, OPEN + frame(PRIORITY, 0, 1, b"\0" * 4)),
    "6.9: WINDOW_UPDATE by 0": ({PROTOCOL_ERROR}, OPEN + window_update(1, 0)),
    "6.9.1: the stream's window over 2^31 - 1": (
        {FLOW_CONTROL_ERROR}, OPEN + window_update(1, 0x7FFFFFFF) + window_update(1, 0x7FFFFFFF)),
    "6.9.2: the stream's window over 2^31 - 1 by SETTINGS": (
        {FLOW_CONTROL_ERROR},
        OPEN + window_update(1, 0x7FFFFFFF) + settings((INITIAL_WINDOW_SIZE, 1))),
    "8.1: HEADERS without END_STREAM amid a request": (
        {PROTOCOL_ERROR}, OPEN + headers(1, [("x", "y")])),
}


@pytest.mark.parametrize("case", STREAM_ERRORS)
def test_a_stream_error_resets_the_stream_or_ends_the_connection(server, case):
    codes, sent = STREAM_ERRORS[case]
    with Peer(server, NO_WINDOW) as peer:
        peer.send(sent)
        if peer.resets(1, *codes) == "stream":
            peer.send(settings((INITIAL_WINDOW_SIZE, 1 << 20)))
            peer.serves(3)


def test_5_1_headers_on_a_stream_that_both_have_ended_are_an_error(peer):
    peer.send(call(1))
    peer.is_served(1)
    peer.send(headers(1))
    peer.ends(STREAM_CLOSED)


@pytest.mark.parametrize("end", [b"", rst(1)], ids=["both ended it", "the client reset it"])
def test_5_1_and_6_1_data_on_a_closed_stream_is_an_error(peer, end):
    peer.send(call(1))
    peer.is_served(1)
    peer.send(end, data(1, b"x" * 100))
    peer.ends(STREAM_CLOSED)


def test_5_1_what_crosses_the_servers_reset_is_ignored(server):
    """A client that has not yet read of the reset sends on, and ends its request by trailers."""
    with Peer(server, NO_WINDOW) as peer:
        peer.send(OPEN, window_update(1, 0x7FFFFFFF), window_update(1, 1))
        assert peer.resets(1, FLOW_CONTROL_ERROR) == "stream"
        peer.send(data(1, b"x" * 100), headers(1, [("x", "y")], END_HEADERS | END_STREAM),
                  window_update(1, 5), settings((INITIAL_WINDOW_SIZE, 1 << 20)))
        peer.serves(3)
        # The same in one go with what causes the reset, so that it has not been sent yet.
        peer.send(headers(5, [("X", "y")]), data(5, b"x"),
                  headers(5, [("x", "y")], END_HEADERS | END_STREAM))
        assert peer.resets(5, PROTOCOL_ERROR) == "stream"
        peer.serves(7)


IGNORED = {
    "4.1: a frame of an unknown kind": frame(0x77, 0xFF, 0, b"x" * 100),
    "4.1: a frame of an unknown kind on a stream": OPEN + frame(0x77, 0xFF, 1, b"x"),
    "4.1: flags that are not defined": frame(PING, 0xFE, 0, b"\0" * 8),
    "4.1: the reserved bit": frame(PING, 0, 1 << 31, b"\0" * 8),
    "5.1: PRIORITY on an idle stream": priority(99),
    "5.1: PRIORITY on an open stream": OPEN + priority(1, weight=255),
    "5.1: PRIORITY on a closed stream": OPEN + rst(1) + priority(1),
    "5.1: WINDOW_UPDATE and RST_STREAM on a closed stream": (
        OPEN + rst(1) + window_update(1, 1) + rst(1)),
    "6.5: an empty SETTINGS": settings(),
    "6.5.2: an unknown setting": settings((0x77, 1)),
    "6.5.2: the settings' own bounds": settings(
        (HEADER_TABLE_SIZE, 0xFFFFFFFF), (ENABLE_PUSH, 0), (MAX_CONCURRENT_STREAMS, 0),
        (INITIAL_WINDOW_SIZE, 0x7FFFFFFF), (MAX_FRAME_SIZE, (1 << 24) - 1),
        (MAX_HEADER_LIST_SIZE, 0xFFFFFFFF), (MAX_FRAME_SIZE, 1 << 14)),
    "6.5.2: no header table": settings((HEADER_TABLE_SIZE, 0)),
    "6.7: the acknowledgement of a PING that was never sent": frame(PING, ACK, 0, b"\0" * 8),
    "7: RST_STREAM of an unknown code": OPEN + rst(1, 0x7777),
}


@pytest.mark.parametrize("case", IGNORED)
def test_what_must_be_ignored_is(peer, case):
    peer.send(IGNORED[case])
    peer.is_alive()
    peer.serves(101)


def test_3_4_the_preface_may_come_byte_by_byte(server):
    with Peer(server, preface=False) as peer:
        for byte in PREFACE + settings():
            peer.send(bytes([byte]))
        peer.serves(1)


@pytest.mark.parametrize("sent", [
    b"GET / HTTP/1.1\r\n\r\n", PREFACE[:-1] + b"x", PREFACE + frame(PING, 0, 0, b"\0" * 8),
    PREFACE + frame(SETTINGS, ACK)], ids=["HTTP/1.1", "a wrong byte", "PING", "an acknowledgement"])
def test_3_4_another_preface_ends_the_connection(server, sent):
    with Peer(server, preface=False) as peer:
        peer.send(sent)
        # Of HTTP/1.1 only what could be a preface is waited for.
        peer.socket.shutdown(socket.SHUT_WR)
        peer.until(lambda p: p.closed)
        assert peer.closed and not peer.of(HEADERS)


def test_3_4_requests_may_come_before_the_servers_settings(server):
    with Peer(server, preface=False) as peer:
        peer.send(PREFACE + settings() + call(1))
        peer.is_served(1)
        assert peer.frames[0][0] == SETTINGS and not peer.frames[0][1] & ACK


def test_4_2_the_largest_frame_is_taken(peer):
    message = pb.GetContactsRequest(keys=[pb.ContactKey(email="x" * 16373)])
    sent = envelope(message)
    assert len(sent) == MOST
    peer.send(headers(1), data(1, sent, END_STREAM))
    assert "grpc-status" in peer.answers(1)
    peer.serves(3)


@pytest.mark.parametrize("cut", [0, 1, 20, 40])
def test_4_3_a_block_may_be_cut_anywhere(peer, cut):
    whole = block(request_fields())
    peer.send(headers(1, flags=0, payload=whole[:cut]),
              frame(CONTINUATION, 0, 1, whole[cut:cut + 30]),
              frame(CONTINUATION, 0, 1, b""),
              frame(CONTINUATION, END_HEADERS, 1, whole[cut + 30:]),
              data(1, envelope(b""), END_STREAM))
    peer.is_served(1)


def test_5_1_1_numbers_may_be_left_out(peer):
    for stream in (1, 7, 101, 0x7FFFFFF1):
        peer.serves(stream)


def test_5_1_1_after_the_last_number_the_client_opens_another_connection(peer):
    peer.serves(0x7FFFFFFF)
    peer.is_alive()


def test_5_1_2_more_streams_than_announced_are_refused(server):
    """nghttp2 says REFUSED_STREAM before its SETTINGS are acknowledged, and after that takes it for
    an error of the connection."""
    for acknowledged in (False, True):
        with Peer(server, NO_WINDOW, acknowledge=acknowledged) as peer:
            peer.is_ready()
            announced = dict(struct.iter_unpack(">HI", peer.of(SETTINGS)[0][3]))
            limit = announced[MAX_CONCURRENT_STREAMS]
            assert limit == 250
            for number in range(limit):
                peer.send(headers(2 * number + 1, request_fields(STREAM)))
            peer.is_alive()
            assert not peer.of(RST_STREAM)
            peer.send(headers(2 * limit + 1))
            where = peer.resets(2 * limit + 1, REFUSED_STREAM, PROTOCOL_ERROR)
            assert where == ("connection" if acknowledged else "stream")
            if where == "stream":
                # One that ends makes room for another.
                peer.send(settings((INITIAL_WINDOW_SIZE, 1 << 20)), rst(1))
                peer.serves(2 * limit + 3)


@pytest.mark.parametrize("sent", [
    priority(1, on=1), OPEN + priority(1, on=1),
    headers(1, flags=END_HEADERS | WITH_PRIORITY,
            payload=struct.pack(">IB", 1, 16) + block(request_fields()))],
    ids=["idle", "open", "HEADERS"])
def test_5_3_a_stream_that_depends_on_itself(peer, sent):
    """An error in RFC 7540; RFC 9113 section 5.3.2 has priorities ignored, and lets errors be."""
    peer.send(sent, frame(PING, 0, 0, b"12345678"))
    peer.until(lambda p: p.goaways or any(f[1] & ACK for f in p.of(PING)))
    if peer.goaways or peer.closed:
        peer.ends(PROTOCOL_ERROR)
    elif peer.of(RST_STREAM):
        assert peer.reset_code(1) == PROTOCOL_ERROR


@pytest.mark.parametrize("length", [0, 1, 255])
def test_6_1_and_6_2_padding_means_nothing(peer, length):
    def padded(content):
        return bytes([length]) + content + b"\0" * length

    peer.send(headers(1, flags=END_HEADERS | PADDED | WITH_PRIORITY, payload=padded(
                  struct.pack(">IB", 0, 16) + block(request_fields()))),
              data(1, padded(envelope(b"")[:3]), PADDED), data(1, padded(b""), PADDED),
              data(1, padded(envelope(b"")[3:]), PADDED | END_STREAM))
    peer.is_served(1)


def test_6_1_padding_counts_in_the_windows_and_is_given_back(peer):
    """Twice the connection's window, a byte of the message in each frame."""
    peer.is_ready()
    peer.send(headers(1))
    for byte in envelope(pb.GetContactsRequest(keys=[pb.ContactKey(email="x" * 8192)])):
        peer.send(data(1, bytes([255, byte]) + b"\0" * 255, PADDED))
    peer.send(data(1, b"", END_STREAM))
    assert "grpc-status" in peer.answers(1)
    peer.serves(3)


def test_6_4_the_clients_reset_ends_its_call_alone(server, stub):
    with Peer(server, NO_WINDOW) as peer:
        peer.send(call(1), call(3), rst(1))
        peer.is_alive()
        peer.send(settings((INITIAL_WINDOW_SIZE, 1 << 20)))
        peer.is_served(3)
        assert not peer.body(1)


def test_6_5_3_settings_are_acknowledged_in_order(peer):
    peer.until(lambda p: any(f[1] & ACK for f in p.of(SETTINGS)))
    before = sum(1 for f in peer.of(SETTINGS) if f[1] & ACK)
    for _ in range(5):
        peer.send(settings((INITIAL_WINDOW_SIZE, 100), (INITIAL_WINDOW_SIZE, 1 << 20)))
    peer.until(lambda p: sum(1 for f in p.of(SETTINGS) if f[1] & ACK) == before + 5)
    assert all(not f[3] for f in peer.of(SETTINGS) if f[1] & ACK)


def test_6_5_3_of_two_values_the_last_stands(server):
    with Peer(server, (INITIAL_WINDOW_SIZE, 100), (INITIAL_WINDOW_SIZE, 1)) as peer:
        peer.send(call(1))
        peer.until(lambda p: p.of(DATA, 1))
        assert [len(f[3]) for f in peer.of(DATA, 1)] == [1]


def test_6_7_a_ping_comes_back_as_it_is(peer):
    for token in (b"\0" * 8, b"\xff" * 8, b"abcdefgh"):
        peer.send(call(2 * len(peer.frames) + 1))
        peer.is_alive(token)


def test_6_8_a_client_that_goes_away_is_answered_first(peer):
    peer.send(headers(1), frame(GOAWAY, 0, 0, struct.pack(">II", 0, 0) + b"debug"),
              data(1, envelope(b""), END_STREAM))
    peer.is_served(1)


def test_7_an_unknown_code_of_a_goaway_means_nothing(peer):
    peer.send(headers(1), frame(GOAWAY, 0, 0, struct.pack(">II", 0, 0x7777)),
              data(1, envelope(b""), END_STREAM))
    peer.is_served(1)


def test_6_9_1_a_window_of_one_byte_gets_one_byte(server):
    with Peer(server, (INITIAL_WINDOW_SIZE, 1)) as peer:
        peer.send(call(1))
        for count in range(1, 6):
            peer.until(lambda p: len(p.body(1)) == count)
            peer.is_alive(struct.pack(">Q", count))
            assert len(peer.body(1)) == count
            peer.send(window_update(1, 1))
        # GetContacts without keys answers a prefix alone.
        peer.is_served(1)


def test_6_9_1_the_connections_window_bounds_all_streams(server, stub, domain):
    with Peer(server, (INITIAL_WINDOW_SIZE, 1 << 20)) as peer:
        message = pb.GetContactsRequest(keys=[pb.ContactKey(email="x" * 100)] * 1000)
        message = message.SerializeToString()
        peer.is_ready()
        for stream in range(1, 80, 2):
            peer.send(headers(stream), *(
                data(stream, envelope(message)[at:at + MOST]) for at in range(0, len(message), MOST)),
                data(stream, b"", END_STREAM))
        peer.until(lambda p: sum(len(f[3]) for f in p.of(DATA)) >= 65535)
        peer.is_alive()
        assert sum(len(f[3]) for f in peer.of(DATA)) == 65535
        peer.send(window_update(0, 1 << 24))
        peer.is_served(79)


def test_6_9_2_a_window_that_opens_lets_an_answer_go(server):
    with Peer(server, NO_WINDOW) as peer:
        peer.send(call(1))
        peer.is_alive()
        assert not peer.body(1)
        peer.send(settings((INITIAL_WINDOW_SIZE, 3)))
        peer.until(lambda p: len(p.body(1)) == 3)
        # Now it is 2 below nothing: two more bytes of window are not yet one.
        peer.send(settings((INITIAL_WINDOW_SIZE, 1)), window_update(1, 2))
        peer.is_alive()
        assert len(peer.body(1)) == 3
        peer.send(window_update(1, 2))
        peer.is_served(1)


def test_6_9_1_who_sends_over_the_window_is_stopped(server, domain):
    """The results of a call are not read, so that it takes no more contacts; the client goes on."""
    contact = pb.Contact(email=f"a@{domain}", name="x" * 1000)
    message = envelope(pb.BulkUpsertRequest(contacts=[contact] * 15))
    with Peer(server, NO_WINDOW) as peer:
        peer.send(OPEN)
        for _ in range(2000):
            peer.send(data(1, message))
            peer.pull(0)
            if peer.goaways or peer.reset_code(1) is not None or peer.closed:
                break
        peer.resets(1, FLOW_CONTROL_ERROR)
