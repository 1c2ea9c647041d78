"""What the operator sets holds: at each limit, and one past it. test_peer_limits.py has those of
connections and streams."""

import gzip
import json
import os
import socket
import subprocess
import time

import grpc
import pytest

import harness
from certificates import Authority
from frames import (
    END_STREAM, ENHANCE_YOUR_CALM, Peer, call, data, frame, headers, request_fields, rst)
from harness import LiveCall, request, upsert, wait_until
from stubs import pb
from test_admin import status
from test_attacks import counted
from test_pressure import Locked
from wire import SERVICE, Connection, envelope, field

MESSAGE_BYTES, CONTACTS, UNANSWERED, OF_ALL = 128 * 1024, 100, 500, 1000
HEADER_BYTES, HEADER_FIELDS, RESETS, USELESS = 2048, 20, 20, 200
HELD = UNREAD = 1 << 20
RESOURCE_EXHAUSTED = 8


@pytest.fixture(scope="module")
def limited():
    server = harness.Server(arguments=["--admin", "127.0.0.1:0"] + [str(part) for part in (
        "--max-header-bytes", HEADER_BYTES, "--max-header-fields", HEADER_FIELDS,
        "--max-resets", RESETS, "--max-useless-frames", USELESS,
        "--max-message-bytes", MESSAGE_BYTES, "--max-contacts-per-message", CONTACTS,
        "--max-unanswered-contacts", UNANSWERED, "--max-unanswered-contacts-of-all", OF_ALL,
        "--max-held-bytes", HELD, "--max-unread-bytes", UNREAD)])
    upsert(server.stub, [pb.Contact(email="a@limits.example")])
    yield server
    server.close()


def contacts(count, domain):
    return [pb.Contact(email=f"{n}@{domain}.limits.example") for n in range(count)]


def test_a_call_is_told_of_them(limited):
    stream = LiveCall(limited.stub)
    stream.send(request())
    told = stream.read().started.limits
    assert told.max_message_bytes == MESSAGE_BYTES
    assert told.max_contacts_per_message == CONTACTS
    assert told.max_unacknowledged_contacts == UNANSWERED
    stream.half_close()
    assert stream.finish().code == grpc.StatusCode.OK


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("spare,expected", [(0, 0), (1, RESOURCE_EXHAUSTED)])
def test_bytes_of_a_message(limited, spare, expected, compressed):
    contact = pb.UpsertContactsRequest(contacts=contacts(1, "bytes")).SerializeToString()
    padding = MESSAGE_BYTES - len(contact) - 4 + spare
    message = contact + field(15, b"x" * padding)
    assert len(message) == MESSAGE_BYTES + spare
    more = [("grpc-encoding", "gzip")] if compressed else []
    with Connection(limited) as wire:
        body = envelope(gzip.compress(message), 1) if compressed else envelope(message)
        assert wire.call("UpsertContacts", body, headers=more).status == expected


def test_contacts_of_a_message(limited):
    assert len(upsert(limited.stub, contacts(CONTACTS, "count")).results) == CONTACTS
    # The second is counted before it is unpacked.
    for sent in (contacts(CONTACTS + 1, "count"), [pb.Contact(email="a@b.io")] * 10_001):
        with pytest.raises(grpc.RpcError) as error:
            upsert(limited.stub, sent)
        assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert f"{len(sent)}; the limit is {CONTACTS}, use BulkUpsert" in error.value.details()


def test_contacts_of_a_message_of_a_stream(limited):
    for count in (CONTACTS + 1, 10_001):
        outcome = harness.bulk(limited.stub, [request([pb.Contact(email="a@b.io")] * count)])
        assert outcome.code == grpc.StatusCode.INVALID_ARGUMENT
        assert f"the message has {count}; the limit is {CONTACTS}" in outcome.details


def test_bytes_of_messages_that_are_held(limited):
    """Calls wait for the database; what they may send beyond the limit is what the windows let through."""
    message = envelope(pb.GetContactsRequest(
        keys=[pb.ContactKey(external_id=f"{n:0200}") for n in range(600)]))
    with limited.connect() as lock, Connection(limited) as wire:
        lock.execute("BEGIN")
        lock.execute("LOCK TABLE contacts")
        streams = [wire.open(SERVICE + "GetContacts") for _ in range(60)]
        sent = [wire.send(stream, message, end=True, seconds=0.1) for stream in streams]
        assert sum(sent) < 60 * len(message)
        wait_until(lambda: HELD - len(message) < status(limited)["unacknowledged_bytes"],
                   what="the limit")
        assert status(limited)["unacknowledged_bytes"] <= HELD + (2 << 20)
        lock.execute("ROLLBACK")
        assert wire.wait(streams[0]).status == 0


def test_bytes_of_answers_that_nobody_takes(limited):
    text = pb.CustomField(name="text", string_value="x" * 95_000)
    large = contacts(5, "large")
    for contact in large:
        upsert(limited.stub, [pb.Contact(email=contact.email, fields=[text])])
    question = envelope(pb.GetContactsRequest(
        keys=[pb.ContactKey(email=contact.email) for contact in large]))
    with Connection(limited, window=0, reads=False) as wire:
        streams = [wire.open(SERVICE + "GetContacts") for _ in range(60)]
        for stream in streams:
            wire.send(stream, question, end=True)
        wait_until(lambda: status(limited)["unsent_bytes"] >= UNREAD, what="the limit")
        time.sleep(0.5)
        assert status(limited)["unsent_bytes"] <= UNREAD + (3 << 20)
        # Those that had to wait are answered to one who reads.
        wire.reads = True
        wire.h2.increment_flow_control_window(1 << 26)
        for stream in streams:
            wire.h2.increment_flow_control_window(1 << 20, stream)
        wire.push()
        for stream in streams:
            answer = wire.wait(stream)
            assert answer.status == 0
            assert len(answer.messages(pb.GetContactsResponse)[0].entries) == 5
    wait_until(lambda: status(limited)["unsent_bytes"] == 0, what="nothing unsent")


def test_fields_of_a_header(limited):
    for count, expected in [(HEADER_FIELDS, "0"), (HEADER_FIELDS + 1, "8")]:
        more = [(f"x{n}", "") for n in range(count - len(request_fields()))]
        with Peer(limited) as peer:
            peer.send(call(1, more=more))
            assert peer.answers(1)["grpc-status"] == expected


def test_bytes_of_a_header(limited):
    listed = sum(len(name) + len(value) + 32 for name, value in request_fields())
    for spare, expected in [(0, "0"), (1, "8")]:
        with Peer(limited) as peer:
            peer.send(call(1, more=[("x", "y" * (HEADER_BYTES - listed - 33 + spare))]))
            assert peer.answers(1)["grpc-status"] == expected


def test_bytes_of_a_header_whose_first_field_is_too_large(limited):
    """Of which nothing is left."""
    with Peer(limited) as peer, counted(limited, "headers"):
        fields = request_fields("/" + "x" * HEADER_BYTES)
        fields.sort(key=lambda field: field[0] != ":path")
        peer.send(headers(1, fields) + data(1, envelope(b""), END_STREAM))
        assert peer.answers(1)["grpc-status"] == "8"
    wait_until(lambda: status(limited)["streams"] == 0, what="no stream left")


def test_resets(limited):
    with Peer(limited) as peer:
        peer.send(*(headers(2 * n + 1) + rst(2 * n + 1) for n in range(RESETS)))
        peer.is_alive()
        peer.send(headers(2 * RESETS + 1), rst(2 * RESETS + 1))
        assert peer.ends(ENHANCE_YOUR_CALM) == "too_many_resets"


def test_useless_frames(limited):
    """The preface's SETTINGS, their acknowledgement and a PING are three of them."""
    with Peer(limited, acknowledge=False) as peer:
        peer.send(*(frame(0x77) for _ in range(USELESS - 2)))
        peer.is_alive()
        peer.send(frame(0x77))
        assert peer.ends(ENHANCE_YOUR_CALM) == "useless_frames"


def test_contacts_without_a_result(limited):
    """One call stops at its limit, and all together at theirs; what waited is answered later."""
    upsert(limited.stub, [pb.Contact(email="locked@limits.example", name="old")])
    with Locked(limited, "locked@limits.example"):
        streams = []
        for number, expected in enumerate([UNANSWERED, OF_ALL, OF_ALL]):
            stream = LiveCall(limited.stub)
            stream.send(request([pb.Contact(email="locked@limits.example", name=f"{number}")]))
            for part in range(10):
                stream.send(request(contacts(CONTACTS, f"s{number}-{part}")))
            stream.half_close()
            streams.append(stream)
            wait_until(lambda: held(limited) >= expected, what="the contacts")
            time.sleep(0.3)
            # A message is taken as a whole.
            assert held(limited) < expected + len(streams) * CONTACTS
    for stream in streams:
        outcome = stream.finish()
        assert outcome.code == grpc.StatusCode.OK, outcome.details
        assert len(outcome.results) == 10 * CONTACTS + 1
    wait_until(lambda: held(limited) == 0, what="none held")


def held(server):
    return status(server)["unacknowledged_contacts"]


def test_contacts_import_keeps_to_them(limited, tmp_path):
    file = tmp_path / "people.csv"
    file.write_text("email\n" + "".join(f"{n}@file.limits.example\n" for n in range(5000)))
    tool = os.environ.get("CONTACTS") or os.path.join(os.path.dirname(harness.CONTACTSD), "contacts")
    done = subprocess.run([tool, "import", file, "--server", limited.address, "--json"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["created"] == 5000


def test_the_time_of_a_handshake(own_servers, tmp_path):
    pair = Authority(tmp_path).issue_server()
    server = own_servers(arguments=[
        "--tls-certificate", str(pair.certificate), "--tls-key", str(pair.key),
        "--max-handshake-seconds", "1"])
    begin = time.monotonic()
    with socket.create_connection((server.host, server.port), timeout=4) as silent:
        assert silent.recv(1) == b""
    assert time.monotonic() - begin >= 1


@pytest.mark.parametrize("flag,value", [
    ("--max-message-bytes", (4 << 20) + 1), ("--max-contacts-per-message", 10_001),
    ("--max-header-bytes", 0), ("--max-handshake-seconds", 0)])
def test_a_value_out_of_its_range_is_refused(flag, value):
    done = subprocess.run([harness.CONTACTSD, "serve", flag, str(value)], capture_output=True,
                          text=True, timeout=20)
    assert done.returncode == 64
    assert f"{flag}: give a number from" in done.stderr
