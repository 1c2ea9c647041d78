"""What those may take of the server who have shown no key: calls about its health and its schema."""

import struct

import grpc
import pytest

import harness
from attacks import stream
from frames import (
    END_STREAM, INITIAL_WINDOW_SIZE, Peer, data, headers, request_fields, window_update)
from grpc_reflection.v1alpha import reflection_pb2
from harness import failing, wait_until
from keys import CALLS
from wire import SERVICE, envelope, field

# Of a message, and of the connection's that are under way.
MESSAGE, MESSAGES = 4096, 4
CHECK = "/grpc.health.v1.Health/Check"
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
QUESTION = reflection_pb2.ServerReflectionRequest(
    file_by_filename="contacts/v1/contacts.proto").SerializeToString()


@pytest.fixture(scope="module")
def server():
    server = harness.Server()
    harness.get(server.stub, {"email": "a@b.example"})
    yield server
    server.close()


def padded(message, size):
    """With a field that nobody knows."""
    length = size - len(message) - 4 - 2 * (size > 1 << 20)
    message += field(99, b"x" * length)
    assert len(message) == size
    return message


def ask(peer, number, path, message, flags=END_STREAM):
    peer.send(headers(number, request_fields(path)), data(number, message, flags))


@pytest.mark.parametrize("path,message", [
    (CHECK, b""), ("/grpc.health.v1.Health/List", b""), (REFLECTION, QUESTION)],
    ids=["check", "list", "reflection"])
def test_a_message_at_the_limit_and_one_past_it(server, path, message):
    with Peer(server) as peer:
        ask(peer, 1, path, envelope(padded(message, MESSAGE)))
        peer.is_served(1)
        ask(peer, 3, path, envelope(padded(message, MESSAGE + 1)))
        assert peer.answers(3)["grpc-status"] == "8"


def test_a_path_that_nobody_knows_is_not_repeated_at_length(server):
    with Peer(server) as peer:
        ask(peer, 1, "/" + "%" * 8000, envelope(b""))
        answer = peer.answers(1)
        assert answer["grpc-status"] == "12" and answer["grpc-message"].startswith("unknown method /")
        assert len(answer["grpc-message"]) < 300


def test_a_watcher_is_bounded_too(server):
    with Peer(server) as peer:
        ask(peer, 1, "/grpc.health.v1.Health/Watch", struct.pack(">BI", 0, 4 << 20), 0)
        assert peer.answers(1)["grpc-status"] == "8"


def test_watchers_that_stay_are_at_most_thirty_two(server):
    """More for a moment, since checks are answered at once."""
    with Peer(server) as peer:
        for n in range(40):
            ask(peer, stream(n), "/grpc.health.v1.Health/Watch", envelope(b""))
        assert peer.answers(stream(39), 20)["grpc-status"] == "8"
        peer.is_alive()
        told = [peer.answer(stream(n)) for n in range(40)]
        assert told[:32] == [None] * 32 and all(answer["grpc-status"] == "8" for answer in told[32:])


def test_nothing_is_asked_of_the_database_for_who_is_unknown(own_servers):
    """It would have to wait for the locks."""
    server = own_servers(arguments=["--auth", "always"])
    unknown = [("authorization", f"Bearer ck_{'5e' * 8}_{'6b1f' * 16}")]
    with server.connect() as other, other.transaction():
        other.execute("LOCK TABLE workspaces, access_keys IN ACCESS EXCLUSIVE MODE")
        for metadata in ([], unknown):
            for call in CALLS.values():
                with failing(grpc.StatusCode.UNAUTHENTICATED):
                    call(server.stub, metadata)
        with Peer(server) as peer:
            ask(peer, 1, CHECK, envelope(b""))
            peer.is_served(1)
            ask(peer, 3, REFLECTION, envelope(QUESTION))
            peer.is_served(3)


def test_messages_under_way_at_the_limit_and_one_past_it(server):
    message = envelope(padded(b"", MESSAGE))
    with Peer(server) as peer:
        for n in range(MESSAGES):
            ask(peer, stream(n), CHECK, message[:-1], 0)
        peer.is_alive()
        # The newest is given up for the bytes that are too many.
        ask(peer, stream(MESSAGES), CHECK, message[:MESSAGES + 1], 0)
        assert peer.answers(stream(MESSAGES))["grpc-status"] == "8"
        for n in range(MESSAGES):
            assert peer.answer(stream(n)) is None
            peer.send(data(stream(n), message[-1:], END_STREAM))
            peer.is_served(stream(n))


def test_answers_that_are_not_read_keep_others_from_being_made(server):
    with Peer(server, (INITIAL_WINDOW_SIZE, 0)) as peer:
        for n in range(200):
            ask(peer, stream(n), REFLECTION, envelope(QUESTION))
        for n in range(1, 200):
            assert peer.answers(stream(n))["grpc-status"] == "8"
        # Once it is read, there is room.
        for n in (0, 200):
            if n > 0:
                ask(peer, stream(n), REFLECTION, envelope(QUESTION))
            peer.send(window_update(stream(n), 1 << 20))
            if n == 0:
                peer.send(window_update(0, 1 << 20))
            peer.is_served(stream(n))
            assert len(peer.body(stream(n))) > 40_000


def test_a_host_that_is_no_text_is_refused(server):
    """It would be given back as text, which has three bytes for each that is none."""
    with Peer(server) as peer:
        ask(peer, 1, REFLECTION, envelope(field(1, b"\xff" * 1000) + QUESTION))
        assert peer.answers(1)["grpc-status"] == "3"


def test_questions_in_a_row_are_all_answered(server):
    with Peer(server) as peer:
        ask(peer, 1, REFLECTION, envelope(QUESTION) * 10)
        peer.send(window_update(0, 1 << 20), window_update(1, 1 << 20))
        peer.is_served(1)
        body, count = peer.body(1), 0
        while body:
            answer = reflection_pb2.ServerReflectionResponse.FromString(
                body[5:5 + int.from_bytes(body[1:5], "big")])
            assert answer.file_descriptor_response.file_descriptor_proto
            body, count = body[5 + int.from_bytes(body[1:5], "big"):], count + 1
        assert count == 10


@pytest.mark.memory
def test_a_request_is_not_kept_for_as_long_as_its_call_lasts(server):
    """Calls that wait for events hold nothing of what they were asked with."""
    large = envelope(padded(b"", 4 << 20))
    before = server.memory("VmRSS")
    with Peer(server) as peer:
        peer.is_ready()
        for n in range(16):
            peer.send(headers(stream(n), request_fields(SERVICE + "WatchEvents")))
            for start in range(0, len(large), 16384):
                piece = large[start:start + 16384]
                peer.send(data(stream(n), piece, END_STREAM if len(piece) < 16384 else 0))
                peer.pull(0)
        peer.serves(stream(16))
        assert all(peer.answer(stream(n)) is None for n in range(16)), peer.told()
        wait_until(lambda: server.memory("VmRSS") < before + 32, 30, "the memory")
