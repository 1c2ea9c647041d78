"""Deadlines, cancellation, and clients that do not read."""

import threading
import time

import grpc
import pytest

import harness
from harness import CREATED, LiveCall, bulk, get, request, upsert, wait_until
from stubs import pb, rpc
from wire import Connection, envelope

DEADLINE_EXCEEDED = 4


class Locked:
    """Holds the row of a contact, so that an upsert that changes it waits."""

    def __init__(self, server, email):
        self.connection = server.connect()
        self.connection.autocommit = False
        assert self.connection.execute(
            "SELECT 1 FROM contacts WHERE email = %s FOR UPDATE", (email,)).fetchone()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.rollback()
        self.connection.close()


def test_a_call_over_its_deadline_ends_and_keeps_what_was_acknowledged(server, stub, domain):
    upsert(stub, [pb.Contact(email=f"locked@{domain}", name="old")])
    with Locked(server, f"locked@{domain}"):
        call = LiveCall(stub, timeout=2)
        call.send(request([pb.Contact(email=f"a@{domain}")]))
        call.read_results(1)
        call.send(request([pb.Contact(email=f"locked@{domain}", name="new")]))
        start = time.monotonic()
        outcome = call.finish()
        assert time.monotonic() - start < 4
        assert outcome.code == grpc.StatusCode.DEADLINE_EXCEEDED
        assert outcome.statuses == [CREATED]
    assert get(stub, {"email": f"a@{domain}"})[0].found
    assert upsert(stub, [pb.Contact(email=f"b@{domain}")], timeout=20).results[0].status == CREATED


def test_the_server_itself_ends_a_call_whose_grpc_timeout_is_over(server, stub, domain):
    """The client sets no timer: the status must come from the server."""
    upsert(stub, [pb.Contact(email=f"locked@{domain}", name="old")])
    with Connection(server) as wire, Locked(server, f"locked@{domain}"):
        for method, message in [
            ("BulkUpsert", request([pb.Contact(email=f"locked@{domain}", name="new")])),
            ("UpsertContacts", pb.UpsertContactsRequest(
                contacts=[pb.Contact(email=f"locked@{domain}", name="newer")])),
        ]:
            start = time.monotonic()
            answer = wire.call(method, envelope(message), headers=[("grpc-timeout", "700m")])
            assert 0.5 < time.monotonic() - start < 5
            assert answer.status == DEADLINE_EXCEEDED, answer


def test_an_idle_stream_ends_at_its_deadline(server):
    with Connection(server) as wire:
        stream = wire.open("/contacts.v1.ContactService/BulkUpsert",
                           headers=[("grpc-timeout", "500m")])
        answer = wire.wait(stream, seconds=5)
        assert answer.status == DEADLINE_EXCEEDED, answer


def test_a_deadline_of_a_nanosecond_is_over_at_once(server):
    with Connection(server) as wire:
        stream = wire.open("/contacts.v1.ContactService/BulkUpsert",
                           headers=[("grpc-timeout", "1n")])
        assert wire.wait(stream, seconds=5).status == DEADLINE_EXCEEDED


def test_a_cancelled_stream_keeps_what_was_acknowledged(server, stub, workspace):
    call = LiveCall(stub, workspace)
    for start in range(0, 3000, 100):
        call.send(request([
            pb.Contact(email=f"{n}@cancel.example") for n in range(start, start + 100)]))
    call.read_results(500)
    acknowledged = {r.id for r in call.outcome.results}
    call.call.cancel()
    call.half_close()
    assert call.call.code() == grpc.StatusCode.CANCELLED
    bulk(stub, [request([pb.Contact(email="next@cancel.example")])], workspace).check_ok(1)
    assert acknowledged <= {row[0] for row in server.rows(workspace)}


def test_cancelling_many_calls_at_once_leaves_the_server_working(server, stub, domain):
    for round_ in range(5):
        calls = [LiveCall(stub, timeout=30) for _ in range(40)]
        for number, call in enumerate(calls):
            call.send(request([pb.Contact(email=f"c{number}@{domain}", name=str(round_))]))
        for call in calls:
            call.call.cancel()
            call.half_close()
    bulk(stub, [request([pb.Contact(email=f"next@{domain}")])]).check_ok(1)


def test_a_locked_row_holds_up_neither_look_ups_nor_every_upsert(server, stub, domain):
    """Contacts that share the waiting contact's transaction or lane may wait with it."""
    upsert(stub, [pb.Contact(email=f"locked@{domain}", name="old")])
    with Locked(server, f"locked@{domain}"):
        waiting = LiveCall(stub, timeout=60)
        waiting.send(request([pb.Contact(email=f"locked@{domain}", name="new")]))
        waiting.read()
        wait_until(lambda: server.query(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")[0][0],
            what="the wait for the lock")
        calls = [stub.UpsertContacts.future(
            pb.UpsertContactsRequest(contacts=[pb.Contact(email=f"{n}@{domain}")]), timeout=60)
            for n in range(20)]
        get(stub, {"email": f"locked@{domain}"})
        wait_until(lambda: any(call.done() for call in calls), 10, "an upsert meanwhile")
    assert all(call.result().results[0].status == CREATED for call in calls)
    waiting.read_results(1)
    waiting.half_close()
    waiting.finish().check_ok(1)


@pytest.fixture(scope="module")
def measured():
    """A server whose memory nobody else uses."""
    server = harness.Server()
    yield server
    server.close()


ATTEMPTED = 300_000
# A library's own windows hold some megabytes of results, 45 bytes each.
LATE = 600_000
LIMIT = 150


@pytest.mark.memory
def test_a_client_that_never_reads_is_held_up_and_the_server_stays_small(measured):
    server = measured
    workspace = server.create_workspace()
    messages = [envelope(request([
        pb.Contact(email=f"c{n}@slow.example", name=f"Name {n}")
        for n in range(start, start + 100)])) for start in range(0, ATTEMPTED, 100)]
    with Connection(server, window=65535, reads=False) as slow:
        stream = slow.open("/contacts.v1.ContactService/BulkUpsert",
                           headers=[("contacts-workspace", workspace)])
        data, sent, stalls = b"".join(messages), 0, 0
        while sent < len(data) and stalls < 3:
            step = slow.send(stream, data[sent:sent + 1_000_000], seconds=1)
            stalls = 0 if step else stalls + 1
            sent += step
        assert not slow.answers[stream].over, slow.answers[stream]
        assert sent < len(data), "the client was never held up"
        # Other calls go on meanwhile.
        start = time.monotonic()
        bulk(server.stub, [request([
            pb.Contact(email=f"{n}@meanwhile.example") for n in range(1000)])]).check_ok(1000)
        assert time.monotonic() - start < 20
        assert server.memory() < LIMIT
    wait_until(lambda: upsert(server.stub, [pb.Contact(email="after@slow.example")]).results,
               what="the next call")


@pytest.mark.memory
def test_a_client_that_reads_late_gets_every_result(measured):
    """The client sends all it may, stalls, then reads: nothing is lost, nothing comes twice."""
    server = measured
    workspace = server.create_workspace()
    released = threading.Event()
    sent = [0]

    def messages():
        for start in range(0, LATE, 100):
            sent[0] = start + 100
            yield request([pb.Contact(email=f"c{n}@late.example") for n in range(start, start + 100)])
            if released.is_set():
                return

    # A client that measures the line would let the server send megabytes before it reads.
    channel = grpc.insecure_channel(server.address, options=[("grpc.http2.bdp_probe", 0)])
    call = rpc.ContactServiceStub(channel).BulkUpsert(
        messages(), metadata=[("contacts-workspace", workspace)], timeout=100)
    last = [0, time.monotonic()]

    def stalled():
        if sent[0] != last[0]:
            last[:] = [sent[0], time.monotonic()]
        return time.monotonic() - last[1] > 2

    wait_until(stalled, 60, "the stall")
    assert sent[0] < LATE, "the client was never held up"
    assert server.memory() < LIMIT
    released.set()
    outcome = harness.Outcome()
    for response in call:
        outcome.take(response)
    outcome.code = call.code()
    outcome.check_ok(sent[0])
    assert len(server.rows(workspace)) == sent[0]
    assert server.memory() < LIMIT


@pytest.mark.memory
def test_many_clients_that_never_read_keep_the_server_small(measured):
    server = measured
    message = envelope(request([
        pb.Contact(email=f"c{n}@many.example", name="x" * 500) for n in range(1000)]))
    connections = []
    try:
        for _ in range(20):
            connection = Connection(server, window=1000, reads=False)
            connections.append(connection)
            stream = connection.open("/contacts.v1.ContactService/BulkUpsert")
            for _ in range(20):
                if connection.send(stream, message, seconds=0.05) < len(message):
                    break
        upsert(server.stub, [pb.Contact(email="meanwhile@many.example")], timeout=30)
        assert server.memory() < LIMIT
    finally:
        for connection in connections:
            connection.socket.close()
    upsert(server.stub, [pb.Contact(email="after@many.example")], timeout=30)
