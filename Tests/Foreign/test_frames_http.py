"""Requests by frames: RFC 9113 section 8, and header compression, RFC 7541.

A malformed request is an error of its stream (section 8.1.1); as one of the connection it passes too.
"""

import pytest

from frames import (
    COMPRESSION_ERROR, CONTINUATION, END_HEADERS, END_STREAM, LOOK_UP, PROTOCOL_ERROR, STREAM,
    Peer, block, call, data, frame, headers, integer, request_fields)
from wire import envelope


@pytest.fixture
def peer(server):
    with Peer(server) as peer:
        yield peer


def without(name):
    return [field for field in request_fields() if field[0] != name]


def instead(name, value):
    return [(n, value if n == name else v) for n, v in request_fields()]


LENGTH = len(envelope(b""))
WHOLE = END_HEADERS | END_STREAM

MALFORMED = {
    "8.2.1: an upper-case name": request_fields(more=[("X-Upper", "x")]),
    "8.2.1: an empty name": request_fields(more=[("", "x")]),
    "8.2.1: a space in a name": request_fields(more=[("x y", "x")]),
    "8.2.1: a colon in a name": request_fields(more=[("x:y", "x")]),
    "8.2.1: NUL in a name": request_fields(more=[("x\0", "x")]),
    "8.2.1: a byte over 0x7f in a name": request_fields(more=[("x\xff", "x")]),
    "8.2.1: NUL in a value": request_fields(more=[("x", "a\0b")]),
    "8.2.1: CR in a value": request_fields(more=[("x", "a\rb")]),
    "8.2.1: LF in a value": request_fields(more=[("x", "a\nb")]),
    "8.2.1: a value that begins with a space": request_fields(more=[("x", " a")]),
    "8.2.1: a value that ends with a tab": request_fields(more=[("x", "a\t")]),
    "8.2.2: connection": request_fields(more=[("connection", "keep-alive")]),
    "8.2.2: keep-alive": request_fields(more=[("keep-alive", "x")]),
    "8.2.2: proxy-connection": request_fields(more=[("proxy-connection", "x")]),
    "8.2.2: transfer-encoding": request_fields(more=[("transfer-encoding", "chunked")]),
    "8.2.2: upgrade": request_fields(more=[("upgrade", "h2c")]),
    "8.2.2: te other than trailers": instead("te", "gzip"),
    "8.3: an unknown pseudo-field": [(":unknown", "x")] + request_fields(),
    "8.3: a pseudo-field of responses": request_fields() [:1] + [(":status", "200")]
    + request_fields()[1:],
    "8.3: a pseudo-field behind a field": without(":path") + [(":path", LOOK_UP)],
    "8.3.1: no :method": without(":method"),
    "8.3.1: no :scheme": without(":scheme"),
    "8.3.1: no :path": without(":path"),
    "8.3.1: an empty :path": instead(":path", ""),
    "8.3.1: a :path without a slash": instead(":path", "contacts"),
    "8.3.1: two :method": [(":method", "POST")] + request_fields(),
    "8.3.1: two :scheme": [(":scheme", "http")] + request_fields(),
    "8.3.1: two :path": [(":path", LOOK_UP)] + request_fields(),
    "8.3.1: two :authority": [(":authority", "a")] + request_fields(),
    "8.5: CONNECT with a path": instead(":method", "CONNECT"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_request_is_a_stream_error(peer, case):
    peer.send(headers(1, MALFORMED[case]), data(1, envelope(b""), END_STREAM))
    if peer.resets(1, PROTOCOL_ERROR) == "stream":
        assert not peer.body(1)
        peer.serves(3)


LENGTHS = {
    "more than comes": ([LENGTH + 1], [envelope(b"")]),
    "less than comes": ([LENGTH - 1], [envelope(b"")]),
    "less than comes, in two frames": ([LENGTH - 1], [b"\0\0\0", b"\0\0"]),
    "none comes": ([1], [b""]),
    "two of them": ([LENGTH, LENGTH + 1], [envelope(b"")]),
    "no number": (["x"], [envelope(b"")]),
    "below nothing": (["-1"], [envelope(b"")]),
    "over 64 bits": (["99999999999999999999"], [envelope(b"")]),
}


@pytest.mark.parametrize("case", LENGTHS)
def test_8_1_1_a_content_length_that_is_wrong(peer, case):
    lengths, parts = LENGTHS[case]
    more = [("content-length", str(length)) for length in lengths]
    peer.send(headers(1, request_fields(more=more)), *(data(1, part) for part in parts[:-1]),
              data(1, parts[-1], END_STREAM))
    if peer.resets(1, PROTOCOL_ERROR) == "stream":
        peer.serves(3)


def test_8_1_1_a_content_length_that_is_right(peer):
    peer.send(call(1, more=[("content-length", str(LENGTH))]))
    peer.is_served(1)


def test_8_1_trailers_end_a_request(peer):
    peer.send(headers(1), data(1, envelope(b"")), headers(1, [("x", "y")], WHOLE))
    peer.is_served(1)
    peer.serves(3)


@pytest.mark.parametrize("fields", [
    [(":method", "POST")], [("x", "y"), (":path", "/")], [("X", "y")], [("connection", "close")]])
def test_8_1_trailers_that_are_malformed(peer, fields):
    peer.send(headers(1), data(1, envelope(b"")), headers(1, fields, WHOLE))
    if peer.resets(1, PROTOCOL_ERROR) == "stream":
        peer.serves(3)


def test_8_1_trailers_that_do_not_end_the_request(peer):
    peer.send(headers(1), data(1, envelope(b"")), headers(1, [("x", "y")], END_HEADERS))
    peer.resets(1, PROTOCOL_ERROR)


def test_8_1_an_answer_before_the_requests_end_asks_to_stop_without_an_error(peer):
    peer.send(headers(1, request_fields("/no/such")))
    assert peer.answers(1)["grpc-status"] == "12"
    peer.until(lambda p: p.reset_code(1) is not None)
    assert peer.reset_code(1) == 0
    peer.serves(3)


@pytest.mark.parametrize("method,status", [("GET", "405"), ("HEAD", "405"), ("DELETE", "405")])
def test_8_3_another_method_is_answered_by_http(peer, method, status):
    peer.send(headers(1, instead(":method", method), WHOLE))
    assert peer.answers(1)[":status"] == status
    peer.serves(3)


def test_8_3_1_host_may_stand_for_authority(peer):
    peer.send(headers(1, without(":authority") + [("host", "contacts")]),
              data(1, envelope(b""), END_STREAM))
    peer.is_served(1)


def test_8_2_3_cookies_may_be_split(peer):
    peer.send(call(1, more=[("cookie", "a=b"), ("cookie", "c=d")]))
    peer.is_served(1)


def test_8_8_headers_alone_are_an_import_of_nothing(peer):
    peer.send(headers(1, request_fields(STREAM), WHOLE))
    peer.is_served(1)


# RFC 7541. The static table has :method POST at 3, :scheme http at 6, content-type at 31, :path at 4,
# :authority at 1, te nowhere.

def text(value):
    return integer(len(value), 7) + value


def prefix(more=b""):
    return (b"\x83\x86" + b"\x04" + text(LOOK_UP.encode()) + b"\x01" + text(b"contacts")
            + integer(31, 4) + text(b"application/grpc") + more)


HUFFMAN_TRAILERS = bytes.fromhex("4d833505b11f")
FIELDS = {
    "6.1: indexed": prefix(b"\x90"),
    "6.2.1: with indexing, a new name": prefix(b"\x40" + text(b"x") + text(b"y")),
    "6.2.1: with indexing, then by its index": prefix(
        b"\x40" + text(b"x") + text(b"y") + b"\xbe\xbe"),
    "6.2.2: without indexing": prefix(b"\x00" + text(b"x") + text(b"y")),
    "6.2.3: never indexed": prefix(b"\x10" + text(b"x") + text(b"y")),
    "5.2: in Huffman's code": prefix(
        b"\x00" + text(b"te") + integer(len(HUFFMAN_TRAILERS), 7, 0x80) + HUFFMAN_TRAILERS),
    "6.3: a smaller table at the beginning": b"\x20" + prefix(),
    "6.3: two sizes at the beginning": b"\x20" + integer(4096, 5, 0x20) + prefix(),
    "4.4: an entry larger than the table": prefix(b"\x40" + text(b"x") + text(b"y" * 5000)),
}


@pytest.mark.parametrize("case", FIELDS)
def test_each_form_of_a_field_is_understood(peer, case):
    peer.send(headers(1, payload=FIELDS[case]), data(1, envelope(b""), END_STREAM))
    peer.is_served(1)
    peer.serves(3)


COMPRESSION_ERRORS = {
    "2.3.3: an index beyond the table": prefix(integer(4000, 7, 0x80)),
    "2.3.3: a name's index beyond the table": prefix(integer(4000, 4) + text(b"x")),
    "4.2: a size behind a field": prefix(b"\x20"),
    "5.1: a number over 32 bits": prefix(b"\xff" + b"\xff" * 8 + b"\x01"),
    "5.2: padding of 8 bits": prefix(b"\x00" + text(b"x") + b"\x82\x07\xff"),
    "5.2: padding by zeros": prefix(b"\x00" + text(b"x") + b"\x81\x00"),
    "5.2: the end of string": prefix(b"\x00" + text(b"x") + b"\x84\xff\xff\xff\xff"),
    "5.2: a length beyond the block": prefix(b"\x00" + integer(1000, 7) + b"x"),
    "6.1: index 0": prefix(b"\x80"),
    "6.3: a size over the one announced": integer(4097, 5, 0x20) + prefix(),
}


@pytest.mark.parametrize("case", COMPRESSION_ERRORS)
def test_a_block_that_breaks_the_coding_ends_the_connection(peer, case):
    # The size that the server announced holds once it is acknowledged.
    peer.is_ready()
    peer.send(headers(1, payload=COMPRESSION_ERRORS[case]))
    peer.ends(COMPRESSION_ERROR)


def test_4_3_a_block_of_a_refused_request_still_changes_the_table(peer):
    """The next block refers to what the malformed one has put there."""
    peer.send(headers(1, payload=prefix(b"\x40" + text(b"x") + text(b"y") + b"\x00" + text(b"X")
                                        + text(b"y"))))
    peer.resets(1, PROTOCOL_ERROR)
    peer.send(headers(3, payload=prefix(b"\xbe")), data(3, envelope(b""), END_STREAM))
    peer.is_served(3)


def test_a_block_in_as_many_pieces_as_are_allowed(peer):
    """Eight CONTINUATION frames; one more ends the connection (test_attacks.py)."""
    whole = block(request_fields())
    peer.send(headers(1, flags=0, payload=whole[:8]),
              *(frame(CONTINUATION, 0, 1, whole[8 * n:8 * n + 8]) for n in range(1, 8)),
              frame(CONTINUATION, END_HEADERS, 1, whole[64:]), data(1, envelope(b""), END_STREAM))
    peer.is_served(1)
