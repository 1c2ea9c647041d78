"""Liveness and readiness over HTTP/1.1."""

import http.client
import json
import re
import socket

import pytest

import harness
from harness import LiveCall, request, wait_until
from stubs import pb
from test_database import Cluster


def get(port, path, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path)
    response = connection.getresponse()
    return response.status, response.read().decode()


def port_of(server):
    return int(re.search(r"admin=127\.0\.0\.1:(\d+)", "".join(server.log)).group(1))


def test_the_admin_address_tells_life_and_readiness():
    cluster = Cluster()
    server = harness.Server(database_url=cluster.url, arguments=["--admin", "127.0.0.1:0"])
    try:
        port = port_of(server)
        assert get(port, "/livez") == (200, "ok\n")
        harness.wait_until(lambda: get(port, "/readyz") == (200, "ok\n"), 10, "readiness")
        cluster.stop()
        harness.wait_until(lambda: get(port, "/readyz")[0] == 503, 10, "the loss to show")
        assert get(port, "/livez")[0] == 200
        assert get(port, "/nothing")[0] == 404
        assert get(port, "/livez", "POST")[0] == 405
    finally:
        cluster.start()
        server.close()
        cluster.close()


@pytest.fixture(scope="module")
def told():
    server = harness.Server(arguments=["--admin", "127.0.0.1:0"], lanes=3)
    yield server
    server.close()


def status(server):
    code, text = get(port_of(server), "/status")
    assert code == 200
    return json.loads(text)


def test_a_connection_has_one_answer(told):
    """Nobody can have answers made that wait to be read."""
    with socket.create_connection(("127.0.0.1", port_of(told)), timeout=5) as asked:
        asked.sendall(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n" * 100)
        answer = b""
        try:
            while piece := asked.recv(1 << 16):
                answer += piece
        except ConnectionResetError:
            # What was not read of the questions.
            pass
    assert answer.count(b"HTTP/1.1 200") <= 1 and b"connection: close" in answer.lower()


def test_status_tells_what_is_open_and_that_it_was_given_back(told):
    wait_until(lambda: status(told)["can_commit"], 10, "a database")
    before = status(told)
    assert before["lanes"] == 3
    assert (before["streams"], before["unacknowledged_contacts"]) == (0, 0)
    with told.connect() as lock:
        call = LiveCall(told.stub)
        call.send(request([pb.Contact(email="held@status.example")]))
        call.read_results(1)
        lock.execute("BEGIN")
        lock.execute("SELECT 1 FROM contacts FOR UPDATE")
        call.send(request([pb.Contact(email="held@status.example", name="n")] * 7))
        wait_until(lambda: status(told)["unacknowledged_contacts"] == 7, 10, "seven contacts")
        held = status(told)
        assert held["streams"] == 1 and held["connections"] == 1
        assert held["unacknowledged_bytes"] > 0
        # The lane's, and the reader's or the monitor's.
        assert held["database_connections"] >= 2
        call.call.cancel()
        wait_until(lambda: status(told)["unacknowledged_contacts"] == 0, 10, "none held")
        lock.execute("ROLLBACK")
    wait_until(lambda: status(told)["unacknowledged_bytes"] == 0, 10, "no bytes held")
    assert status(told)["streams"] == 0
