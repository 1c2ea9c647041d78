"""grpc.health.v1 by the stock Python client."""

import time

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import harness
from stubs import pb
from test_database import Cluster

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


def stub_of(server):
    return health_pb2_grpc.HealthStub(grpc.insecure_channel(server.address))


@pytest.mark.parametrize("service", ["", "contacts.v1.ContactService"])
def test_a_server_that_can_commit_is_serving(server, service):
    request = health_pb2.HealthCheckRequest(service=service)
    harness.wait_until(
        lambda: stub_of(server).Check(request, timeout=10).status == SERVING, 10, "SERVING")


def test_an_unknown_service_is_not_found_by_check_and_unknown_to_watch(server):
    request = health_pb2.HealthCheckRequest(service="nobody")
    with pytest.raises(grpc.RpcError) as error:
        stub_of(server).Check(request, timeout=10)
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
    watch = stub_of(server).Watch(request, timeout=30)
    assert next(watch).status == SERVICE_UNKNOWN
    watch.cancel()


def test_a_watcher_is_told_when_the_database_goes_and_comes_back():
    cluster = Cluster()
    server = harness.Server(database_url=cluster.url)
    try:
        watch = stub_of(server).Watch(health_pb2.HealthCheckRequest(), timeout=60)
        statuses = iter(watch)
        first = next(statuses).status
        if first == NOT_SERVING:
            first = next(statuses).status
        assert first == SERVING
        cluster.stop()
        assert next(statuses).status == NOT_SERVING
        cluster.start()
        assert next(statuses).status == SERVING
        watch.cancel()
    finally:
        server.close()
        cluster.close()


def test_a_database_that_is_read_only_is_not_served():
    cluster = Cluster()
    server = harness.Server(database_url=cluster.url)
    try:
        check = lambda: stub_of(server).Check(health_pb2.HealthCheckRequest(), timeout=10).status
        harness.wait_until(lambda: check() == SERVING, 10, "SERVING")
        cluster.run("psql", "-X", "-q", "-d", cluster.url, "-c",
                    "ALTER SYSTEM SET default_transaction_read_only = on", "-c",
                    "SELECT pg_reload_conf()")
        harness.wait_until(lambda: check() == NOT_SERVING, 10, "NOT_SERVING")
    finally:
        server.close()
        cluster.close()


def test_health_is_told_on_a_connection_whose_uploads_are_held_back():
    """The window that its calls share is used up, so that not even the request can come."""
    server = harness.Server()
    try:
        check = lambda: health_pb2_grpc.HealthStub(server.channel).Check(
            health_pb2.HealthCheckRequest(), timeout=10).status
        harness.wait_until(lambda: check() == SERVING, 10, "SERVING")
        contacts = [pb.Contact(email=f"{n}@held.example", name="x" * 200) for n in range(500)]
        harness.upsert(server.stub, contacts)
        with server.connect() as lock:
            lock.execute("BEGIN")
            lock.execute("SELECT 1 FROM contacts FOR UPDATE")
            calls = [harness.LiveCall(server.stub) for _ in range(3)]
            for call in calls:
                for _ in range(100):
                    call.send(harness.request(
                        [pb.Contact(email=c.email, name="y" * 200) for c in contacts]))
            # Until nothing more is taken of what was put down.
            left = [-1]
            while (now := [call._requests.qsize() for call in calls]) != left:
                left = now
                time.sleep(1)
            assert max(left) > 0
            start = time.monotonic()
            assert check() == SERVING
            watch = health_pb2_grpc.HealthStub(server.channel).Watch(
                health_pb2.HealthCheckRequest(), timeout=10)
            assert next(watch).status == SERVING
            assert time.monotonic() - start < 5
            watch.cancel()
            lock.execute("ROLLBACK")
        for call in calls:
            call.half_close()
            call.finish().check_ok(50_000)
    finally:
        server.close()


def test_list_tells_of_each_service(server):
    statuses = lambda: stub_of(server).List(health_pb2.HealthListRequest(), timeout=10).statuses
    harness.wait_until(lambda: statuses()[""].status == SERVING, 10, "SERVING")
    assert {name: entry.status for name, entry in statuses().items()} == {
        "": SERVING, "contacts.v1.ContactService": SERVING}
