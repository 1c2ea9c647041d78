"""Floods and slowness in small: what ends them, at the limit and past it. attack_figures.py has the
same attacks at length, with the memory and the neighbours' times."""

import contextlib
import itertools
import json
import http.client
import re
import struct
import time

import pytest

import harness
from attacks import ATTACKS, CHURN, LARGEST, MINIMAL, OPEN, field, stream
from frames import (
    CANCEL, CONTINUATION, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, INITIAL_WINDOW_SIZE, NO_ERROR,
    PING, PREFACE, PROTOCOL_ERROR, RST_STREAM, SETTINGS, STREAM, STREAM_CLOSED, Peer, block, call,
    data, frame, headers, peers, request_fields, rst, settings, window_update)
from harness import wait_until
from stubs import pb
from wire import envelope


@pytest.fixture(scope="module")
def server():
    server = harness.Server(arguments=["--admin", "127.0.0.1:0"])
    yield server
    server.close()


def refused(server):
    """The counters by kind."""
    port = int(re.search(r"admin=127\.0\.0\.1:(\d+)", "".join(server.log)).group(1))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/status")
    return json.loads(connection.getresponse().read())["refused"]


@contextlib.contextmanager
def counted(server, kind, count=1):
    """The counter of that kind rises by so much."""
    before = refused(server)[kind]
    yield
    wait_until(lambda: refused(server)[kind] >= before + count, 5, f"the counter {kind}")
    assert refused(server)[kind] == before + count


ENDING = [name for name, attack in ATTACKS.items() if attack.limit and attack.reason]


@pytest.mark.parametrize("name", ENDING)
def test_a_flood_is_told_to_calm_down_in_time(server, name):
    """Resets within 500, useless frames within 10,000; a counter and a line in the log tell of it."""
    attack = ATTACKS[name]
    before = refused(server)
    with Peer(server, *attack.settings) as peer:
        peer.send(attack.opening)
        pieces = attack.pieces_of()
        for _ in range(attack.limit // attack.events):
            peer.send(next(pieces))
            if attack.reason == "provoked_resets":
                # Else they are too many streams at once before the server gets to reset them.
                count = len(peer.of(RST_STREAM)) + attack.events
                peer.until(lambda p: p.goaways or len(p.of(RST_STREAM)) == count)
            elif attack.reads:
                peer.pull(0)
            if peer.goaways or peer.closed:
                break
        # What has to be acknowledged may come faster than the server gets to write.
        reason = peer.ends(ENHANCE_YOUR_CALM)
        assert reason in (attack.reason, "unread_acknowledgements")
    after = refused(server)
    assert after[reason] == before[reason] + 1
    # Its streams may be counted too.
    assert {kind for kind in after if after[kind] != before[kind]} <= {
        reason, "malformed_stream", "concurrent_streams", "unknown_method", "no_rpc"}


@pytest.mark.parametrize("name", ["calls of no method", "requests that are no RPC"])
def test_calls_that_come_to_nothing_are_a_flood(server, name):
    """Beyond 250 a second each counts as four frames, its HEADERS and DATA pay for nothing."""
    attack = ATTACKS[name]
    with counted(server, "useless_frames"), Peer(server) as peer:
        for number in range(40):
            peer.send(attack.send(number))
            last = stream(50 * number + 49)
            peer.until(lambda p: p.goaways or p.closed or p.answer(last))
            if peer.goaways or peer.closed:
                break
        assert peer.ends(ENHANCE_YOUR_CALM) == "useless_frames"


@pytest.mark.parametrize("make,count", [
    (lambda n: settings(), 2000), (lambda n: frame(0x77), 2000), (lambda n: window_update(0, 1), 2000)],
    ids=["SETTINGS", "unknown", "WINDOW_UPDATE"])
def test_useless_frames_at_the_limit(server, make, count):
    """The preface's SETTINGS and a PING are two of them."""
    with Peer(server, acknowledge=False) as peer:
        # After other floods it is read a little later, and all at once would be too much.
        peer.until(lambda p: p.of(SETTINGS))
        for n in range(0, count - 20, 20):
            peer.send(*(make(n) for _ in range(20)))
            peer.pull(0.005)
        peer.send(*(make(n) for n in range(18)))
        peer.is_alive()
        peer.send(make(count))
        assert peer.ends(ENHANCE_YOUR_CALM) == "useless_frames"


def test_useful_frames_pay_for_useless_ones(server):
    """A client may send ten WINDOW_UPDATE and PING for each DATA frame, for as long as it likes."""
    message = envelope(pb.BulkUpsertRequest())
    with Peer(server) as peer:
        peer.send(OPEN)
        for n in range(1000):
            peer.send(data(1, message), window_update(0, 1) * 8, frame(PING, 0, 0, b"\0" * 8))
            if n % 20 == 0:
                peer.until(lambda p: len(p.of(PING)) == n + 1)
        peer.is_alive()


@pytest.mark.parametrize("code", [CANCEL, NO_ERROR])
def test_resets_at_the_limit_and_one_past_it(server, code):
    with Peer(server, (INITIAL_WINDOW_SIZE, 0)) as peer:
        for n in range(300):
            peer.send(headers(stream(n)), rst(stream(n), code))
        peer.is_alive()
        peer.send(headers(stream(300)), rst(stream(300), code))
        assert peer.ends(ENHANCE_YOUR_CALM) == "too_many_resets"


def test_a_client_that_cancels_one_call_of_two_is_no_flood(server):
    with Peer(server) as peer:
        for n in range(0, 2000, 100):
            for m in range(n, n + 100, 2):
                peer.send(call(stream(m)), headers(stream(m + 1), request_fields(STREAM)),
                          rst(stream(m + 1)))
            peer.is_served(stream(n + 98))
        peer.is_alive()


def test_a_client_may_cancel_all_its_calls_at_once(server):
    with Peer(server) as peer:
        for n in range(250):
            peer.send(headers(stream(n), request_fields(STREAM)))
        peer.send(*(rst(stream(n)) for n in range(250)))
        peer.serves(stream(250))


def test_resets_that_are_provoked_at_the_limit_and_one_past_it(server):
    def provoke(n):
        return headers(stream(n), request_fields(more=[("X", "y")]))

    with Peer(server) as peer:
        for n in range(300):
            peer.send(provoke(n))
            # All at once, some would be streams beyond the limit before the server resets others.
            if n % 50 == 49:
                peer.until(lambda p: p.goaways or len(p.of(RST_STREAM)) == n + 1)
        peer.is_alive()
        peer.send(provoke(300))
        assert peer.ends(ENHANCE_YOUR_CALM) == "provoked_resets"


def test_three_idle_pings_are_let_pass_and_a_fourth_is_not(server):
    with Peer(server) as peer:
        for n in range(3):
            peer.is_alive(struct.pack(">Q", n))
        peer.send(frame(PING, 0, 0, b"\0" * 8))
        assert peer.ends(ENHANCE_YOUR_CALM) == "too_many_pings"


def test_pings_between_calls_are_let_pass(server):
    with Peer(server) as peer:
        for n in range(20):
            peer.serves(stream(n))
            peer.is_alive(struct.pack(">Q", n))
            peer.is_alive(struct.pack(">Q", n + 1000))


def test_a_grpc_client_with_keepalive_is_served(server):
    """One that pings every 10 s, the least that many libraries allow, is not told to calm down."""
    import grpc

    from harness import LiveCall, request
    from stubs import rpc
    options = [("grpc.keepalive_time_ms", 10_000), ("grpc.http2.max_pings_without_data", 0),
               ("grpc.keepalive_permit_without_calls", 1), ("grpc.use_local_subchannel_pool", 1)]
    before = refused(server)["too_many_pings"]
    with grpc.insecure_channel(server.address, options) as channel:
        live = LiveCall(rpc.ContactServiceStub(channel), timeout=60)
        live.send(request([pb.Contact(email="a@keepalive.example")]))
        live.read_results(1)
        time.sleep(45)
        live.send(request([pb.Contact(email="b@keepalive.example")]))
        live.read_results(2)
        live.half_close()
        live.finish().check_ok(2)
    assert refused(server)["too_many_pings"] == before


def test_continuation_at_the_limit_and_one_past_it(server):
    for count, passes in ((8, True), (9, False)):
        with Peer(server) as peer:
            peer.send(headers(1, flags=0, payload=MINIMAL),
                      frame(CONTINUATION, 0, 1, b"") * (count - 1),
                      frame(CONTINUATION, END_HEADERS, 1, b""), data(1, envelope(b""), END_STREAM))
            if passes:
                peer.is_served(1)
            else:
                assert peer.ends(ENHANCE_YOUR_CALM) == "too_many_continuations"


def test_entries_of_settings_at_the_limit_and_one_past_it(server):
    with Peer(server) as peer:
        peer.send(settings(*((0x77, n) for n in range(32))))
        peer.is_alive()
        peer.send(settings(*((0x77, n) for n in range(33))))
        peer.ends(ENHANCE_YOUR_CALM)


@pytest.mark.parametrize("count,passes", [(94, True), (95, False)])
def test_header_fields_are_counted(server, count, passes):
    """A request has six of its own."""
    with Peer(server) as peer:
        peer.send(call(1, more=[(f"x{n}", "") for n in range(count)]))
        assert peer.answers(1)["grpc-status"] == ("0" if passes else "8")


@pytest.mark.parametrize("spare,passes", [(0, True), (1, False)])
def test_header_bytes_are_counted(server, spare, passes):
    fields = request_fields()
    listed = sum(len(name) + len(value) + 32 for name, value in fields)
    more = [("x", "y" * (16 * 1024 - listed - 33 + spare))]
    whole = block(fields + more)
    with Peer(server) as peer:
        peer.send(headers(1, flags=0, payload=whole[:16000]),
                  frame(CONTINUATION, END_HEADERS, 1, whole[16000:]),
                  data(1, envelope(b""), END_STREAM))
        assert peer.answers(1)["grpc-status"] == ("0" if passes else "8")


def test_header_fields_beyond_the_limit_are_counted(server):
    """1 MiB in ten seconds, of which a field costs 512 bytes besides its own, a block 16 KiB."""
    def oversized(number, more):
        payload = block(request_fields()) + field(b"x", b"") * (94 + more)
        return headers(stream(number), payload=payload, flags=END_HEADERS | END_STREAM)

    with Peer(server) as peer:
        peer.send(*(oversized(n, 376) for n in range(5)))
        assert peer.answers(stream(4))["grpc-status"] == "8"
        peer.serves(stream(5))
        # What is useful pays for a little more.
        peer.send(*(oversized(n, 1) for n in range(6, 10)))
        assert peer.ends(ENHANCE_YOUR_CALM) == "oversized_headers"


@pytest.mark.parametrize("fields,count", [(field(b"x", b"y" * 16200), 31), (CHURN, 58)],
                         ids=["a large one", "many"])
def test_header_blocks_beyond_the_limit_are_counted(server, fields, count):
    """By the same measure."""
    def oversized(number):
        return headers(stream(number), payload=MINIMAL + fields, flags=END_HEADERS | END_STREAM)

    with Peer(server) as peer:
        peer.send(*(oversized(n) for n in range(count)))
        assert peer.answers(stream(count - 1), 30)["grpc-status"] == "8"
        peer.serves(stream(count))
        peer.send(*(oversized(count + n) for n in range(1, 5)))
        assert peer.ends(ENHANCE_YOUR_CALM) == "oversized_headers"


def test_after_a_flood_nothing_is_read(server):
    """What goes on is left to the kernel, until the connection is closed."""
    with counted(server, "useless_frames"), Peer(server) as peer:
        peer.send(frame(0x77) * 3000)
        peer.until(lambda p: p.goaways)
        sent = 0
        while count := peer.send_now(frame(0x77) * 3000):
            sent += count
            assert sent < 16 * 2 ** 20
        peer.until(lambda p: p.closed)


@pytest.mark.parametrize("name", ["header fields too large", "HPACK table churn"])
def test_header_bombs_are_answered_and_cost_little(server, name):
    memory = server.memory("VmRSS")
    with Peer(server) as peer:
        pieces = ATTACKS[name].pieces_of()
        peer.send(next(pieces), next(pieces))
        assert peer.answers(stream(7), 30)["grpc-status"] == "8"
        peer.serves(stream(8))
    assert server.memory("VmRSS") < memory + 16


@pytest.mark.parametrize("name", [
    "more streams than allowed", "RST_STREAM of a closed stream", "SETTINGS acknowledged",
    "a stream that depends on itself"])
def test_what_ends_a_connection_in_another_way(server, name):
    attack = ATTACKS[name]
    with Peer(server) as peer:
        peer.send(attack.opening)
        pieces = attack.pieces_of()
        for _ in range(attack.limit // attack.events):
            peer.send(next(pieces))
            peer.pull(0)
            if peer.closed:
                break
        peer.ends(ENHANCE_YOUR_CALM, PROTOCOL_ERROR, STREAM_CLOSED)


def test_who_has_answers_made_and_does_not_read_is_closed(server):
    """The acknowledgements wait in the server for as long as the socket is full; data keeps the PINGs
    from being idle."""
    message = envelope(pb.BulkUpsertRequest())
    with counted(server, "unread_acknowledgements"), Peer(server, receive_buffer=4096) as peer:
        peer.send(OPEN)
        piece = (data(1, message) + frame(PING, 0, 0, b"\0" * 8) * 3) * 60
        end = time.monotonic() + 30
        while time.monotonic() < end and not peer.closed:
            try:
                peer.socket.settimeout(1)
                peer.socket.sendall(piece)
            except TimeoutError:
                continue
            except OSError:
                break
        assert time.monotonic() < end
        wait_until(lambda: not connected(server, peer), 10, "the end of the connection")


def test_who_has_calls_refused_and_does_not_read_is_closed(server):
    """The resets of streams that are too many wait in the server for as long as the socket is full."""
    pieces = (call(stream(n)) for n in itertools.count())
    memory = server.memory("VmRSS")
    # Whichever is seen first: that they wait, or that they are many.
    kinds, before = ("unread_acknowledgements", "useless_frames"), refused(server)
    with Peer(server, receive_buffer=4096) as peer:
        end = time.monotonic() + 30
        while time.monotonic() < end and not peer.closed:
            try:
                peer.socket.settimeout(1)
                peer.socket.sendall(next(pieces))
            except TimeoutError:
                continue
            except OSError:
                break
        assert time.monotonic() < end
    after = refused(server)
    assert sum(after[kind] - before[kind] for kind in kinds) == 1
    assert server.memory("VmRSS") < memory + 8


def connected(server, peer):
    try:
        peer.socket.setblocking(False)
        while peer.socket.recv(1 << 16):
            pass
        return False
    except BlockingIOError:
        return True
    except OSError:
        return False


def test_slow_connections_are_ended(server):
    """A preface in 10 s, a header block within two ticks of 10 s; an open stream may be silent."""
    lazy = {"preface": False, "acknowledge": False}
    with Peer(server, **lazy) as silent, Peer(server, **lazy) as slow, \
            Peer(server) as headers_late, Peer(server) as idle:
        idle.send(OPEN)
        headers_late.send(ATTACKS["slow headers"].opening)
        begin = time.monotonic()
        ended = {}
        for n in range(60):
            slow.send((PREFACE + settings())[n:n + 1])
            headers_late.send(b"\0")
            for name, peer in (("silent", silent), ("slow", slow), ("headers", headers_late)):
                peer.pull(0.2)
                if peer.closed or peer.goaways:
                    ended.setdefault(name, time.monotonic() - begin)
            idle.pull(0.1)
            if len(ended) == 3:
                break
        assert set(ended) == {"silent", "slow", "headers"}, ended
        assert 9 < ended["silent"] < 13 and 9 < ended["slow"] < 13, ended
        assert 9 < ended["headers"] < 23, ended
        assert headers_late.goaways[0] == (ENHANCE_YOUR_CALM, "late_headers")
        idle.send(data(1, envelope(b""), END_STREAM))
        idle.is_served(1)


def test_lengths_that_lie_reserve_nothing(server):
    memory = server.memory("VmRSS")
    with peers(server, 8) as connections:
        for peer in connections:
            peer.send(ATTACKS["lengths that lie"].opening)
            peer.is_alive()
        assert server.memory("VmRSS") < memory + 32


@pytest.mark.memory
def test_large_messages_without_an_end_are_bounded(server):
    """Calls are lost, the newest first; a connection holds at most 16 MiB."""
    memory, before = server.memory("VmRSS"), refused(server)["unfinished_messages"]
    with Peer(server) as peer:
        peer.is_ready()
        for n in range(100):
            peer.send(headers(stream(n), request_fields(STREAM)),
                      data(stream(n), struct.pack(">BI", 0, LARGEST)))
        for _ in range(32):
            for n in range(100):
                if peer.answer(stream(n)) is None:
                    peer.send(data(stream(n), b"x" * 16384))
            peer.pull(0)
        peer.until(lambda p: p.answer(stream(99)))
        assert peer.answers(stream(99))["grpc-status"] == "8"
        assert peer.answer(stream(0)) is None
        assert server.memory("VmRSS") < memory + 48
        assert refused(server)["unfinished_messages"] > before
        peer.serves(stream(100))


def test_the_log_of_ended_connections_is_bounded(server):
    before = len(server.log)
    for _ in range(60):
        with Peer(server) as peer:
            peer.send(frame(PING, 0, 1, b"\0" * 8))
            peer.ends(PROTOCOL_ERROR)
    lines = [line for line in server.log[before:] if "reason=protocol_error" in line]
    assert 0 < len(lines) <= 40
    assert all("127.0.0.1" in line for line in lines)


def test_nothing_that_a_peer_sends_is_in_the_log(server):
    canary = "canary-6b1f"
    with Peer(server) as peer:
        peer.send(headers(1, request_fields(more=[("x", canary), ("X", canary)])),
                  headers(3, request_fields("/" + canary)),
                  frame(PING, 0, 1, b"6b1f6b1f"))
        peer.ends(PROTOCOL_ERROR)
    written = len(server.log)

    def is_told():
        """So many lines are written in so many seconds and no more, which others may have used up."""
        with Peer(server, preface=False) as peer:
            peer.send(canary.encode() * 10)
            peer.until(lambda p: p.closed)
        time.sleep(0.5)
        return any("bad_preface" in line for line in server.log[written:])

    wait_until(is_told, 30, "the line")
    assert not any(canary in line or "6b1f6b1f" in line for line in server.log)
