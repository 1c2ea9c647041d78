"""Calls that are refused for what they bring: counted by kind, and a line each in the log, up to a bound."""

import contextlib
import itertools
import time

import grpc
import pytest

import harness
from attacks import stream
from frames import PROTOCOL_ERROR, RST_STREAM, STREAM, Peer, headers, request_fields
from harness import failing, wait_until
from keys import bearer, make_key, revoke
from stubs import pb
from test_attacks import counted
from wire import SERVICE, Connection, envelope, field

# As in ConnectionLog.
LINES = 20
GET = SERVICE + "GetContacts"
NUMBERS = itertools.count()
UNKNOWN = f"ck_{'5e' * 8}_{'6b1f' * 16}"


@pytest.fixture(scope="module")
def guarded():
    server = harness.Server(arguments=["--auth", "always", "--admin", "127.0.0.1:0"])
    yield server
    server.close()


@contextlib.contextmanager
def refused_call(server, kind, code):
    with counted(server, kind), failing(code):
        yield


def list_lists(server, metadata):
    return server.stub.ListLists(pb.ListListsRequest(), metadata=metadata, timeout=20)


def test_keys_that_are_refused_are_counted(guarded):
    unauthenticated = grpc.StatusCode.UNAUTHENTICATED
    with refused_call(guarded, "key_missing", unauthenticated):
        list_lists(guarded, [])
    with refused_call(guarded, "key_invalid", unauthenticated):
        list_lists(guarded, bearer(UNKNOWN))
    key = make_key(guarded, "ended")
    call = guarded.stub.WatchEvents(pb.WatchEventsRequest(), metadata=bearer(key), timeout=60)
    call.initial_metadata()
    with refused_call(guarded, "key_ended", unauthenticated):
        revoke(guarded, key)
        next(call)
    with refused_call(guarded, "key_invalid", unauthenticated):
        list_lists(guarded, bearer(key))


def test_what_a_key_does_not_allow_is_counted(guarded):
    key = make_key(guarded, "narrow", "default", "--rights", "read", "--streams", "1")
    with refused_call(guarded, "right_missing", grpc.StatusCode.PERMISSION_DENIED):
        guarded.stub.CreateList(
            pb.CreateListRequest(name="x"), metadata=bearer(key), timeout=20)
    call = guarded.stub.WatchEvents(pb.WatchEventsRequest(), metadata=bearer(key), timeout=60)
    call.initial_metadata()
    with refused_call(guarded, "key_streams", grpc.StatusCode.RESOURCE_EXHAUSTED):
        list_lists(guarded, bearer(key))
    call.cancel()
    key = make_key(guarded, "slow", "default", "--contacts-per-second", "1")
    contacts = [pb.Contact(email=f"{n}@slow.example") for n in range(100)]
    guarded.stub.UpsertContacts(
        pb.UpsertContactsRequest(contacts=contacts), metadata=bearer(key), timeout=20)
    with refused_call(guarded, "key_rate", grpc.StatusCode.RESOURCE_EXHAUSTED):
        guarded.stub.UpsertContacts(
            pb.UpsertContactsRequest(), metadata=bearer(key), timeout=20)


@pytest.mark.parametrize("kind,message", [
    ("malformed_message", b"\xff"), ("complex_message", field(2, b"") * 1_000_000)])
@pytest.mark.parametrize("method", ["UpsertContacts", "BulkUpsert"])
def test_messages_that_cannot_be_unpacked_are_counted(guarded, kind, message, method):
    if method == "BulkUpsert":
        message = message.replace(field(2, b""), field(3, b""))
    key = make_key(guarded, f"{kind}-{method}")
    with Connection(guarded) as wire, counted(guarded, kind):
        assert wire.call(method, envelope(message), headers=bearer(key)).status == 3


@pytest.mark.parametrize("kind,path,options", [
    ("no_rpc", "/", dict(verb="GET")),
    ("no_rpc", GET, dict(content_type="application/json")),
    ("malformed_request", GET, dict(headers=[("grpc-timeout", "soon")])),
    ("malformed_request", GET, dict(headers=[("grpc-encoding", "br")])),
    ("malformed_request", GET, dict(headers=[("x-bin", "!")])),
    ("headers", GET, dict(headers=[(f"x{n}", "") for n in range(200)])),
    ("unknown_method", "/contacts.v1.ContactService/NoSuch", {}),
    ("message_count", GET, dict(data=b"")),
    ("message_count", GET, dict(data=2 * envelope(b""))),
    ("envelope", GET, dict(data=envelope(b"", compressed=2))),
    ("malformed_message", "/grpc.health.v1.Health/Check", dict(data=envelope(b"\xff"))),
    ("malformed_message", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
     dict(data=envelope(b"\xff")))])
def test_requests_that_are_none_are_counted(guarded, kind, path, options):
    key = make_key(guarded, f"request-{next(NUMBERS)}")
    options = options | dict(headers=options.get("headers", []) + bearer(key))
    with Connection(guarded) as wire, counted(guarded, kind):
        answer = wire.call("", path=path, **(dict(data=envelope(b"")) | options))
        assert answer.status != 0


def test_a_key_that_names_another_workspace_is_counted(guarded):
    key = make_key(guarded, "elsewhere")
    with refused_call(guarded, "workspace_unknown", grpc.StatusCode.NOT_FOUND):
        list_lists(guarded, bearer(key) + [("contacts-workspace", "other")])


def test_streams_that_break_a_rule_are_counted(guarded):
    with Peer(guarded) as peer, counted(guarded, "malformed_stream"):
        peer.send(headers(1, request_fields(more=[("X", "y")])))
        peer.resets(1, PROTOCOL_ERROR)


def test_streams_that_are_too_many_are_counted(own_servers):
    server = own_servers(arguments=["--admin", "127.0.0.1:0", "--max-streams", "4"])
    with Peer(server, acknowledge=False) as peer, counted(server, "concurrent_streams", 3):
        peer.send(*(headers(stream(n), request_fields(STREAM)) for n in range(7)))
        peer.until(lambda p: len(p.of(RST_STREAM)) == 3)


def test_a_line_tells_of_refused_calls_and_not_of_what_they_hold(guarded):
    # Those of earlier calls have a period of their own.
    time.sleep(10)
    written = len(guarded.log)

    def lines():
        return [line for line in guarded.log[written:] if "call refused" in line]

    for _ in range(2 * LINES):
        with failing(grpc.StatusCode.UNAUTHENTICATED):
            list_lists(guarded, bearer(UNKNOWN))
    wait_until(lambda: len(lines()) >= LINES, what="the lines")
    assert all("key_invalid" in line and "127.0.0.1" in line for line in lines())

    def is_told_how_many():
        with failing(grpc.StatusCode.UNAUTHENTICATED):
            list_lists(guarded, [])
        time.sleep(0.5)
        return any("lines_left_out" in line for line in lines())

    # In the next period.
    wait_until(is_told_how_many, 30, "the line after them")
    assert len([line for line in lines() if "key_invalid" in line]) == LINES
    assert not any(part in line for line in guarded.log for part in ("6b1f", "5e5e"))
