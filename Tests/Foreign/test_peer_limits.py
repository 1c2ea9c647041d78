"""What one peer may have of the server at once, as the flags of `contactsd serve` set it."""

import time

import pytest

import harness
from attacks import stream
from frames import (
    INITIAL_WINDOW_SIZE, PING, PROTOCOL_ERROR, REFUSED_STREAM, RST_STREAM, STREAM, Peer, call, frame,
    headers, peers, request_fields, rst)
from harness import get, wait_until
from test_admin import status
from test_attacks import counted, refused


@pytest.fixture(scope="module")
def narrow():
    server = harness.Server(arguments=[
        "--admin", "127.0.0.1:0", "--max-connections", "12", "--max-connections-per-address", "8",
        "--max-streams", "3", "--max-streams-per-second", "20"])
    yield server
    server.close()


def is_open(peer):
    peer.until(lambda p: p.frames or p.closed)
    return not peer.closed


def test_connections_are_bounded_by_address_and_in_all(narrow):
    get(narrow.stub, {"email": "a@b.example"})
    # grpcio has one connection of 127.0.0.1.
    with peers(narrow, 7) as own:
        assert all(is_open(peer) for peer in own)
        with counted(narrow, "connections_per_address"), Peer(narrow) as past:
            assert not is_open(past)
        with peers(narrow, 4, source="127.0.0.2") as others:
            assert all(is_open(peer) for peer in others)
            with counted(narrow, "connections"), Peer(narrow, source="127.0.0.3") as past:
                assert not is_open(past)
        own[0].serves(1)
    # Those that went make room.
    wait_until(lambda: refused(narrow) and can_connect(narrow), 10, "room")
    assert any("reason=connections_per_address" in line for line in narrow.log)


def test_who_comes_back_after_floods_is_read_later(own_servers):
    server = own_servers()

    def seconds(address):
        begin = time.monotonic()
        with Peer(server, source=address) as peer:
            peer.is_alive()
        return time.monotonic() - begin

    wait_until(lambda: seconds("127.0.0.2") < 0.2, what="a quick beginning")
    for _ in range(10):
        with Peer(server, source="127.0.0.2") as peer:
            # PING belongs to no stream.
            peer.send(frame(PING, 0, 1, b"\0" * 8))
            peer.ends(PROTOCOL_ERROR)
    assert seconds("127.0.0.2") > 0.24
    wait_until(lambda: seconds("127.0.0.3") < 0.2, what="no loss for another address")
    wait_until(lambda: seconds("127.0.0.2") < 0.2, 20, "the end of it")


def test_connections_are_bounded_by_the_second(own_servers):
    """Of one address half of it, then they are closed. In all others have to wait."""
    server = own_servers(arguments=["--admin", "127.0.0.1:0", "--max-connections-per-second", "8"])
    for _ in range(20):
        time.sleep(1.1)
        begin = time.monotonic()
        with peers(server, 4, source="127.0.0.2") as own:
            assert all(is_open(peer) for peer in own)
            with Peer(server, source="127.0.0.2") as past:
                was_open = is_open(past)
        if time.monotonic() - begin < 0.9:
            break
    else:
        pytest.fail("never were five connections opened within a second")
    assert not was_open
    wait_until(lambda: any("reason=connection_rate" in line for line in server.log), 5, "the line")
    assert refused(server)["connection_rate"] >= 1
    begin = time.monotonic()
    for address in ("127.0.0.3", "127.0.0.4", "127.0.0.5"):
        with peers(server, 4, source=address) as others:
            assert all(is_open(peer) for peer in others)
    # Up to four at once, then none for as many eighths of a second.
    assert time.monotonic() - begin > 0.95


def test_connections_leave_descriptors_for_others(data_dir):
    """Where the system allows fewer open files than connections would take."""
    server = harness.Server(data_dir=data_dir, wrapper=["prlimit", "--nofile=64:300"])
    try:
        assert any("open_files=300 max_connections=100" in line
                   or "max_connections=100 open_files=300" in line for line in server.log)
        with peers(server, 48, source="127.0.0.2") as own:
            assert all(is_open(peer) for peer in own)
            with peers(server, 3, source="127.0.0.2") as past:
                assert not all(is_open(peer) for peer in past)
            get(server.stub, {"email": "a@b.example"})
    finally:
        server.close()


def can_connect(server):
    with Peer(server) as peer:
        return is_open(peer)


def test_streams_are_bounded_at_once(narrow):
    with Peer(narrow, (INITIAL_WINDOW_SIZE, 0), acknowledge=False) as peer:
        for n in range(4):
            peer.send(headers(stream(n), request_fields(STREAM)))
        assert peer.resets(stream(3), REFUSED_STREAM) == "stream"
        assert len(peer.of(RST_STREAM)) == 1


def test_streams_of_all_connections_are_bounded(own_servers):
    """Beyond it a connection has few, so that nobody who keeps many stops the others."""
    server = own_servers(arguments=["--admin", "127.0.0.1:0", "--max-streams-of-all", "100"])

    def begins(peer, number):
        peer.send(headers(stream(number), request_fields(STREAM)))
        # The answer to the first PING may come before a reset.
        peer.is_alive(b"%08d" % (2 * number))
        peer.is_alive(b"%08d" % (2 * number + 1))
        return peer.reset_code(stream(number)) is None

    with Peer(server) as first:
        assert all(begins(first, n) for n in range(100))
        assert not begins(first, 100) and first.reset_code(stream(100)) == REFUSED_STREAM
        with Peer(server) as second:
            assert [begins(second, n) for n in range(17)] == [True] * 16 + [False]
            assert status(server)["streams"] == 116 and refused(server)["streams"] == 2
        first.send(*(rst(stream(n)) for n in range(10)))
        wait_until(lambda: status(server)["streams"] == 90, what="the calls' end")
        assert [begins(first, n) for n in range(101, 112)] == [True] * 10 + [False]


def test_streams_are_bounded_by_the_second(narrow):
    with Peer(narrow) as peer:
        begin = time.monotonic()
        for n in range(20):
            peer.serves(stream(n))
        peer.send(call(stream(20)))
        peer.until(lambda p: p.reset_code(stream(20)) is not None or p.answer(stream(20)))
        if time.monotonic() - begin < 0.9:
            assert peer.reset_code(stream(20)) == REFUSED_STREAM
            assert refused(narrow)["stream_rate"] > 0
        time.sleep(1)
        peer.serves(stream(21))


@pytest.mark.parametrize("flag", ["--max-connections", "--max-connections-per-address",
                                  "--max-connections-per-second", "--max-streams",
                                  "--max-streams-of-all", "--max-streams-per-second"])
@pytest.mark.parametrize("value", ["0", "-1", "x", "1000000001"])
def test_a_limit_that_is_none_is_refused_at_the_start(flag, value):
    done = harness.run([harness.CONTACTSD, "serve", f"{flag}={value}"])
    assert done.returncode not in (0, -9) and flag in done.stderr
