"""Connections grow old or idle: clients are asked to make new ones, and no call is lost for it."""

import struct
import subprocess
import time

import grpc
import pytest

import harness
from frames import ACK, END_STREAM, GOAWAY, PING, STREAM, Peer, call, data, frame, headers, request_fields
from harness import CONTACTSD, CREATED, LiveCall, request
from stubs import pb
from wire import Connection, envelope

NO_ERROR, LAST = 0, 2**31 - 1


def drained(wire, seconds):
    """Reads until the server has closed."""
    end = time.monotonic() + seconds
    while not wire.closed:
        assert time.monotonic() < end, "the connection stays"
        wire.pull(end - time.monotonic())
    return wire.goaways


def test_an_idle_connection_is_let_go(own_servers):
    server = own_servers(arguments=["--max-connection-idle", "1s"])
    start = time.monotonic()
    with Connection(server) as idle, Connection(server) as busy:
        assert idle.call("GetContacts", envelope(b"")).status == 0
        stream = busy.open("/contacts.v1.ContactService/BulkUpsert")
        # In two steps (RFC 9113 section 6.8): no stream in particular, then the last one seen.
        assert drained(idle, 10) == [(NO_ERROR, LAST), (NO_ERROR, 1)]
        assert 0.9 <= time.monotonic() - start < 8
        busy.send(stream, b"", end=True)
        assert busy.wait(stream).status == 0
        assert busy.goaways == []
        assert drained(busy, 10)[-1] == (NO_ERROR, stream)


def test_an_old_connection_goes_when_its_calls_have_ended(own_servers):
    server = own_servers(arguments=["--max-connection-age", "1s"])
    harness.get(server.stub, {"email": "a@b.example"})
    live = LiveCall(server.stub)
    live.send(request([pb.Contact(email="0@old.example")]))
    live.read_results(1)
    # The stock client makes a new connection for each call after the first second; all succeed.
    end = time.monotonic() + 4
    while time.monotonic() < end:
        harness.get(server.stub, {"email": "a@b.example"})
        time.sleep(0.01)
    for n in range(1, 4):
        live.send(request([pb.Contact(email=f"{n}@old.example")]))
        live.read_results(n + 1)
    live.half_close()
    assert set(live.finish().check_ok(4).statuses) == {CREATED}


def test_calls_that_cross_the_notice_are_served(own_servers):
    """The second GOAWAY names the last of them; a call that comes after it is the next connection's."""
    server = own_servers(arguments=["--max-connection-age", "1s"])
    with Peer(server) as peer:
        peer.send(headers(1, request_fields(STREAM)))
        notice = peer.until(lambda p: p.of(GOAWAY) and [f for f in p.of(PING) if not f[1] & ACK])
        peer.send(call(3), frame(PING, ACK, 0, notice[-1][3]))
        peer.is_served(3)
        peer.until(lambda p: len(p.of(GOAWAY)) == 2)
        peer.send(call(5), data(1, b"", END_STREAM))
        peer.until(lambda p: p.closed)
        assert [struct.unpack(">II", f[3][:8]) for f in peer.of(GOAWAY)] == [
            (LAST, NO_ERROR), (3, NO_ERROR)]
        assert peer.answer(1)["grpc-status"] == "0"
        assert not [f for f in peer.frames if f[2] == 5]


def test_a_shutdown_ends_the_calls_of_an_old_connection(own_servers):
    server = own_servers(arguments=["--max-connection-age", "1s"])
    live = LiveCall(server.stub)
    live.send(request([pb.Contact(email="0@old.example")]))
    live.read_results(1)
    with Connection(server) as watch:
        drained(watch, 10)
    server.terminate()
    assert live.finish().code == grpc.StatusCode.UNAVAILABLE
    assert server.wait() == 0


@pytest.mark.parametrize("variables", [
    {"CONTACTS_MAX_CONNECTION_IDLE": "1s"}, {"CONTACTS_MAX_CONNECTION_AGE": "1s"}])
def test_the_environment_says_it_too(own_servers, variables):
    server = own_servers(variables=variables.items())
    with Connection(server) as wire:
        assert drained(wire, 10)[0] == (NO_ERROR, LAST)


@pytest.mark.parametrize("arguments,variable", [
    (["--max-connection-idle", "soon"], None), (["--max-connection-age", "0s"], None),
    ([], ("CONTACTS_MAX_CONNECTION_IDLE", "5"))])
def test_what_is_no_time_is_refused(arguments, variable, tmp_path):
    done = subprocess.run(
        [CONTACTSD, "serve", "--listen", "127.0.0.1:0", "--data-dir", str(tmp_path), *arguments],
        env=dict([variable] if variable else []), capture_output=True, text=True, timeout=20)
    assert done.returncode == 64, done.stderr
