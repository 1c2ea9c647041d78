"""gzip both ways, by stock grpcio and by hand, and what bombs cost."""

import functools
import gzip
import threading
import time
import zlib

import grpc
import pytest

import harness
from frames import STREAM, Peer, data, headers, request_fields
from harness import CREATED, FAILED, request
from stubs import pb, rpc
from wire import Connection, envelope, field

OK, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL = 0, 8, 12, 13
LIMIT = 4 * 1024 * 1024
GZIP = [("grpc-encoding", "gzip")]
ACCEPT = [("grpc-accept-encoding", "identity,deflate,gzip")]
METHODS = ["BulkUpsert", "UpsertContacts", "GetContacts"]


@pytest.fixture
def wire(server):
    with Connection(server) as connection:
        yield connection
        if not connection.closed:
            assert connection.call("GetContacts", envelope(b"")).status == OK


def zipped(message):
    if not isinstance(message, bytes):
        message = message.SerializeToString()
    return envelope(gzip.compress(message), compressed=1)


def contacts(domain, count, first=0):
    return [pb.Contact(email=f"{n}@{domain}", name=f"Name {n}", fields=[
        harness.field("note", "a word, and again a word " * 5)]) for n in range(first, first + count)]


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.NoCompression])
def test_a_stock_client_imports_compressed(server, domain, compression):
    with grpc.insecure_channel(server.address, compression=compression) as channel:
        messages = [request(contacts(domain, 500, first)) for first in range(0, 5000, 500)]
        outcome = harness.bulk(rpc.ContactServiceStub(channel), messages)
        outcome.check_ok(5000)
        assert set(outcome.statuses) == {CREATED}


def test_the_answer_of_a_compressed_call_is_compressed_where_it_is_worth_it(wire, domain):
    message = pb.UpsertContactsRequest(contacts=contacts(domain, 200))
    answer = wire.call("UpsertContacts", zipped(message), headers=GZIP + ACCEPT)
    assert answer.status == OK
    assert answer.headers["grpc-encoding"] == "gzip"
    assert answer.headers["grpc-accept-encoding"] == "identity,gzip"
    assert answer.body[0] == 1
    plain = gzip.decompress(bytes(answer.body[5:]))
    assert len(pb.UpsertContactsResponse.FromString(plain).results) == 200
    answer = wire.call("UpsertContacts", zipped(pb.UpsertContactsRequest()), headers=GZIP + ACCEPT)
    assert (answer.status, answer.body[0]) == (OK, 0)


@pytest.mark.parametrize("headers", [ACCEPT, GZIP, GZIP + [("grpc-accept-encoding", "identity")]])
def test_nobody_is_answered_compressed_who_does_not_compress_or_cannot_read_it(
        wire, domain, headers):
    message = envelope(pb.UpsertContactsRequest(contacts=contacts(domain, 200)))
    answer = wire.call("UpsertContacts", message, headers=headers)
    assert answer.status == OK
    assert "grpc-encoding" not in answer.headers
    assert answer.headers["grpc-accept-encoding"] == "identity,gzip"
    assert len(answer.messages(pb.UpsertContactsResponse)[0].results) == 200


def test_a_call_may_mix_compressed_messages_and_others_in_frames_of_any_size(wire, domain):
    messages = b"".join(
        (zipped if n % 2 else envelope)(request(contacts(domain, 10, n * 10))) for n in range(20))
    stream = wire.open("/contacts.v1.ContactService/BulkUpsert", headers=GZIP)
    for at in range(0, len(messages), 7):
        wire.h2.send_data(stream, messages[at:at + 7])
        if at % 700 == 0:
            wire.push()
            wire.pull(0)
    wire.send(stream, b"", end=True)
    answer = wire.wait(stream)
    assert answer.status == OK, answer
    assert answer.messages(pb.BulkUpsertResponse)[-1].summary.created == 200


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("encoding", ["snappy", "deflate", "zstd", "GZIP", "gzip,gzip"])
def test_another_encoding_is_unimplemented_and_told_which_are_taken(wire, method, encoding):
    answer = wire.call(method, zipped(b""), headers=[("grpc-encoding", encoding)])
    assert answer.status == UNIMPLEMENTED
    assert answer.headers["grpc-accept-encoding"] == "identity,gzip"


GOOD = gzip.compress(b"\x0a\x02\x28\x00" * 500)
DAMAGED = {
    "no gzip": b"hello, this is no gzip",
    "nothing": b"",
    "zlib's own frame": zlib.compress(b""),
    "cut": GOOD[:-1],
    "cut in its head": GOOD[:5],
    "garbage behind": GOOD + b"garbage",
    "a zero behind": GOOD + b"\0",
    "a second member that is cut": GOOD + GOOD[:-3],
    "a wrong checksum": GOOD[:-8] + b"\1\2\3\4" + GOOD[-4:],
    "a wrong length": GOOD[:-4] + b"\1\2\3\4",
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_gzip_is_an_internal_error(wire, method, kind):
    answer = wire.call(method, envelope(DAMAGED[kind], compressed=1), headers=GZIP)
    assert answer.status == INTERNAL, answer


def test_several_members_are_one_message(wire, domain):
    message = request(contacts(domain, 3)).SerializeToString()
    parts = b"".join(gzip.compress(message[at:at + 50]) for at in range(0, len(message), 50))
    answer = wire.call("BulkUpsert", envelope(parts, compressed=1), headers=GZIP)
    assert answer.messages(pb.BulkUpsertResponse)[-1].summary.created == 3


@pytest.mark.parametrize("headers", [[], [("grpc-encoding", "identity")]])
def test_a_compressed_message_needs_the_encoding(wire, headers):
    assert wire.call("BulkUpsert", zipped(b""), headers=headers).status == INTERNAL


@pytest.mark.parametrize("over", [0, 1])
def test_the_limit_of_a_message_is_that_of_its_inflated_size(wire, domain, over):
    """Padded by a field that the server does not know."""
    message = request(contacts(domain, 1)).SerializeToString()
    message += field(1000, b"x" * (LIMIT + over - len(message) - 6))
    assert len(message) == LIMIT + over
    answer = wire.call("BulkUpsert", zipped(message), headers=GZIP)
    assert answer.status == (RESOURCE_EXHAUSTED if over else OK), answer


@pytest.fixture(scope="module")
def own_server():
    server = harness.Server()
    yield server
    server.close()


@functools.cache
def bomb(byte_count):
    """Gzip of so many zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = bytes(1 << 20)
    return b"".join(packer.compress(block) for _ in range(byte_count >> 20)) + packer.flush()


BOMBS = {
    "a gibibyte of zeros": lambda: bomb(1 << 30),
    "members without end": lambda: gzip.compress(b"") * 200_000,
    "members of a mebibyte": lambda: bomb(1 << 20) * 1000,
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_refused_quickly_and_holds_little(own_server, method, kind):
    data = envelope(BOMBS[kind](), compressed=1)
    before = own_server.memory("VmRSS")
    with Connection(own_server) as wire:
        stream = wire.open(f"/contacts.v1.ContactService/{method}", headers=GZIP)
        wire.send(stream, data[:-1])
        start = time.monotonic()
        wire.send(stream, data[-1:], end=True)
        answer = wire.wait(stream)
        took = time.monotonic() - start
    if kind == "members without end":
        assert answer.status == INTERNAL, answer
    else:
        assert answer.status == RESOURCE_EXHAUSTED, answer
    assert took < 1, took
    assert own_server.memory("VmHWM") - before < 64


def test_many_small_bombs_wait_instead_of_filling_the_memory(own_server):
    """Each stands for 10,000 contacts of a kilobyte; eight calls send what would be gigabytes."""
    one = field(3, field(1, "a@bomb.example") + field(5, "n" * 300))
    data = zipped(one * (LIMIT // len(one) - 1))
    before = own_server.memory("VmRSS")

    def attack():
        with Connection(own_server) as wire:
            stream = wire.open("/contacts.v1.ContactService/BulkUpsert", headers=GZIP)
            for _ in range(100):
                if wire.send(stream, data, seconds=2) < len(data):
                    break

    attackers = [threading.Thread(target=attack) for _ in range(8)]
    for attacker in attackers:
        attacker.start()
    slowest = 0
    while any(attacker.is_alive() for attacker in attackers):
        start = time.monotonic()
        harness.get(own_server.stub, {"email": "nobody@nowhere.example"})
        slowest = max(slowest, time.monotonic() - start)
        time.sleep(0.05)
    grown = own_server.memory("VmHWM") - before
    assert grown < 150, grown
    assert slowest < 10, slowest


def test_frames_are_read_while_compressed_messages_wait(own_server):
    """What waits for the database must not keep a PING from its answer, nor a WINDOW_UPDATE."""
    message = zipped(request(contacts("waits.example", 5000)))
    with own_server.connect() as lock, Peer(own_server) as peer:
        lock.execute("BEGIN")
        lock.execute("LOCK TABLE contacts")
        peer.send(headers(1, request_fields(STREAM, GZIP)))
        count = 900_000 // len(message)
        assert count * len(gzip.decompress(message[5:])) > 16 << 20
        for _ in range(count):
            for start in range(0, len(message), 16384):
                peer.send(data(1, message[start:start + 16384]))
        for number in range(3):
            time.sleep(1)
            peer.is_alive(b"%08d" % number)
        lock.execute("ROLLBACK")


def test_a_failed_contact_of_a_compressed_call_fails_alone(server, domain):
    with grpc.insecure_channel(server.address, compression=grpc.Compression.Gzip) as channel:
        outcome = harness.bulk(rpc.ContactServiceStub(channel), [
            request([pb.Contact(email=f"a@{domain}"), pb.Contact(email="x" * 5000)])])
        outcome.check_ok(2)
        assert outcome.statuses == [CREATED, FAILED]
