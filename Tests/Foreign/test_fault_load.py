"""Many connections and streams at once, and what becomes of them when either side goes away."""

import concurrent.futures
import contextlib
import pathlib
import socket
import struct
import time

import grpc
import pytest

import harness
from fault_tools import Importing
from harness import LiveCall, request, upsert, wait_until
from rig_proxy import Proxy
from rpcs import get_import
from stubs import pb, rpc
from test_database import Cluster
from wire import Connection, envelope

MESSAGE = envelope(request([
    pb.Contact(email=f"k{n}@killed.example", name="x" * 300) for n in range(1000)]))


@pytest.fixture(scope="module")
def alone():
    """A server that these tests measure, once each of its parts has been used."""
    server = harness.Server()
    work_as_usual(server)
    yield server
    server.close()


def work_as_usual(server):
    workspace = server.create_workspace()

    def stream(number):
        sent = [pb.Contact(email=f"{number}-{n}@usual.example", name="x" * 300)
                for n in range(1000)]
        # A name, so that every connection to the database is open afterwards.
        messages = [request(sent, import_id=f"{number}"), *[request(sent)] * 4]
        harness.bulk(server.stub, messages, workspace).check_ok(5000)
        get_import(server.stub, workspace, f"{number}")

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        list(pool.map(stream, range(20)))


def descriptors(server):
    return len(list(pathlib.Path(f"/proc/{server.pid}/fd").iterdir()))


def add_workspaces(server, count):
    """Faster than by the command."""
    names = [f"load{n}" for n in range(count)]
    with server.connect() as connection:
        connection.execute(
            "INSERT INTO workspaces (name, unique_by) SELECT unnest(%s::text[]), 1", (names,))
    return names


STREAMS, CONTACTS = 100, 1000


def test_sigterm_under_a_hundred_streams():
    """The server is gone within ten seconds, and every client goes on with another one."""
    cluster = Cluster()
    front = Proxy([])
    try:
        first = harness.Server(database_url=cluster.url)
        front.targets = [(first.host, first.port)]
        names = add_workspaces(first, STREAMS)
        clients = [Importing(front.address, name, "mine", CONTACTS) for name in names]
        wait_until(lambda: sum(client.received for client in clients) > 20_000, 60, "the load")
        second = harness.Server(database_url=cluster.url)
        assert sum(client.received for client in clients) < STREAMS * CONTACTS * 0.8
        front.targets = [(second.host, second.port)]
        first.terminate()
        begin = time.monotonic()
        assert first.wait(60) == 0
        assert time.monotonic() - begin < 10
        for name, client in zip(names, clients):
            client.check_stored(dict(second.rows(name)))
        for name, client in zip(names, clients):
            client.finish(60).check_stored(dict(second.rows(name)))
            assert {code for code, _ in client.journal.ends} <= {"OK", "UNAVAILABLE"}
            found = get_import(second.stub, name, "mine")
            assert found.state == pb.IMPORT_STATE_FINISHED
            assert found.summary.created == found.summary.total == CONTACTS
            assert len(second.rows(name)) == CONTACTS
        first.channel.close()
        second.close()
    finally:
        front.close()
        cluster.close()


@pytest.mark.slow
def test_a_client_that_vanishes_is_missed(alone):
    """Neither FIN nor RST comes: the network between is gone."""
    workspace = alone.create_workspace()
    front = Proxy([(alone.host, alone.port)])
    try:
        before = descriptors(alone)
        with grpc.insecure_channel(front.address) as channel:
            call = LiveCall(rpc.ContactServiceStub(channel), workspace, timeout=110)
            call.send(request([pb.Contact(email="a@vanished.example")], import_id="mine"))
            call.read_results(1)
            front.stall()
            vanished = time.monotonic()
            running = pb.IMPORT_STATE_RUNNING
            assert get_import(alone.stub, workspace, "mine").state == running
            wait_until(
                lambda: get_import(alone.stub, workspace, "mine").state != running, 60,
                "the end of the call")
            assert time.monotonic() - vanished < 35
            wait_until(lambda: descriptors(alone) <= before, 10, "the end of the connection")
            call.call.cancel()
            call.half_close()
    finally:
        front.close()


def test_a_thousand_connections_that_send_nothing(alone):
    upsert(alone.stub, [pb.Contact(email="before@silent.example")])
    before, memory = descriptors(alone), alone.memory("VmRSS")
    with contextlib.ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(socket.create_connection((alone.host, alone.port), timeout=10))
        wait_until(lambda: descriptors(alone) >= before + 1000, what="the connections")
        for number in range(20):
            begin = time.monotonic()
            upsert(alone.stub, [pb.Contact(email=f"{number}@silent.example")])
            assert time.monotonic() - begin < 1
        # One that comes now is served too.
        with grpc.insecure_channel(alone.address) as channel:
            upsert(rpc.ContactServiceStub(channel), [pb.Contact(email="new@silent.example")])
        assert alone.memory("VmRSS") - memory < 60
    wait_until(lambda: descriptors(alone) <= before, 20, "the end of the connections")


def kill_streams(server, workspace, connections=20, streams=10):
    """Connections with streams that send one message and part of the next, then break with RST."""
    opened = []
    for _ in range(connections):
        connection = Connection(server)
        opened.append(connection)
        for _ in range(streams):
            stream = connection.open("/contacts.v1.ContactService/BulkUpsert",
                                     headers=[("contacts-workspace", workspace)])
            connection.send(stream, MESSAGE, seconds=5)
            connection.send(stream, MESSAGE[:len(MESSAGE) // 2], seconds=0.01)
    for connection in opened:
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.socket.close()


def test_two_hundred_streams_killed_in_mid_batch_give_their_memory_back(alone):
    workspace = alone.create_workspace()
    work_as_usual(alone)
    time.sleep(2)
    memory, open_before = alone.memory("VmRSS"), descriptors(alone)
    kill_streams(alone, workspace)
    most = alone.memory("VmRSS")
    wait_until(lambda: descriptors(alone) <= open_before, 20, "the end of the connections")
    wait_until(lambda: alone.memory("VmRSS") < memory + 20, 30,
               f"{memory:.0f} MiB before, {most:.0f} MiB amid, {alone.memory('VmRSS'):.0f} MiB"
               " after: less than 20 MiB more")
    upsert(alone.stub, [pb.Contact(email="after@killed.example")], workspace)
