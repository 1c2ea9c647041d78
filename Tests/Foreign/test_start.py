"""A server that starts before its database, and one that has several to choose from."""

import concurrent.futures
import socket
import subprocess
import time

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import harness
from harness import CREATED, bulk, request, upsert, wait_until
from stubs import pb
from test_database import Cluster

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
# The figure promised is three seconds; tests run beside each other on two cores.
SOON = 10


def health(server):
    stub = health_pb2_grpc.HealthStub(server.channel)
    return stub.Check(health_pb2.HealthCheckRequest(), timeout=10).status


def started_without(url):
    return harness.Server(database_url=url, up="listening")


@pytest.fixture
def cluster():
    cluster = Cluster()
    yield cluster
    cluster.close()


def test_a_server_without_a_database_waits_for_it(cluster):
    cluster.stop("fast")
    server = started_without(cluster.url)
    try:
        assert health(server) == NOT_SERVING
        outcome = bulk(server.stub, [request([pb.Contact(email="early@start.example")])])
        assert outcome.code == grpc.StatusCode.UNAVAILABLE
        with harness.failing(grpc.StatusCode.UNAVAILABLE):
            upsert(server.stub, [pb.Contact(email="early@start.example")])
        time.sleep(2)
        assert health(server) == NOT_SERVING
        cluster.start()
        wait_until(lambda: health(server) == SERVING, SOON, "SERVING")
        answer = upsert(server.stub, [pb.Contact(email="late@start.example")])
        assert [r.status for r in answer.results] == [CREATED]
        assert [row[1] for row in server.rows()] == ["late@start.example"]
        assert server.stop() == 0
    finally:
        server.close()


def test_a_wrong_password_is_told_without_the_secret(cluster):
    with open(f"{cluster.directory}/data/pg_hba.conf", "w") as rules:
        rules.write("local all postgres trust\nlocal all all scram-sha-256\n")
    admin = lambda sql: subprocess.run(
        [cluster.programs / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", sql, cluster.url],
        check=True)
    admin("SELECT pg_reload_conf()")
    admin("CREATE ROLE app LOGIN PASSWORD 'first-canary'")
    admin("GRANT CREATE ON SCHEMA public TO app")
    url = f"host={cluster.directory} port=5432 user=app password=second-canary dbname=postgres"
    server = started_without(url)
    try:
        said = lambda: any("password authentication failed" in line for line in server.log)
        wait_until(said, SOON, "the reason in the log")
        assert health(server) == NOT_SERVING
        admin("ALTER ROLE app PASSWORD 'second-canary'")
        wait_until(lambda: health(server) == SERVING, SOON, "SERVING")
        upsert(server.stub, [pb.Contact(email="known@start.example")])
        assert not any("canary" in line for line in server.log)
        shown = subprocess.run(
            ["ps", "-o", "args=", "-ww", str(server.pid)], capture_output=True, text=True)
        assert "--database-url xxx" in shown.stdout and "canary" not in shown.stdout
        assert server.stop() == 0
    finally:
        server.close()


def test_a_server_that_is_stopped_while_it_waits_ends_well(cluster):
    cluster.stop("fast")
    server = started_without(cluster.url)
    assert server.stop() == 0


def test_servers_that_start_at_once_migrate_once(cluster):
    """They find an empty database, and queue for it."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        servers = list(pool.map(lambda _: harness.Server(database_url=cluster.url), range(4)))
    try:
        for number, server in enumerate(servers):
            upsert(server.stub, [pb.Contact(email=f"{number}@many.example")])
        assert len(servers[0].rows()) == 4
        versions = servers[0].query("SELECT version FROM contacts_schema ORDER BY version")
        assert [version for version, in versions] == list(range(1, len(versions) + 1))
    finally:
        for server in servers:
            server.close()


def test_a_database_url_that_cannot_be_read_ends_the_server():
    done = harness.run([harness.CONTACTSD, "serve", "--listen", "127.0.0.1:0", "--database-url",
                        "host='unclosed canary"])
    assert done.returncode != 0
    assert "connection string is not valid" in done.stderr
    assert "canary" not in done.stderr


def test_of_several_hosts_one_that_is_silent_is_passed_over(cluster):
    """It takes connections and answers nothing, as a host behind a broken firewall."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        url = (f"host=127.0.0.1,{cluster.directory} port={port},5432 user=postgres"
               " dbname=postgres sslmode=disable gssencmode=disable")
        server = harness.Server(database_url=url, up="(?:listening|ready)")
        try:
            wait_until(lambda: health(server) == SERVING, 30, "SERVING")
            upsert(server.stub, [pb.Contact(email="second@start.example")])
        finally:
            server.close()


def test_a_failover_to_a_standby_is_followed(cluster):
    """The standby is promoted after the primary has gone; the import goes on with what is there."""
    standby = cluster.standby()
    try:
        url = (f"host={cluster.directory},{standby.directory} port=5432,5432 user=postgres"
               " dbname=postgres")
        server = harness.Server(database_url=url)
        try:
            call = harness.LiveCall(server.stub, timeout=60)
            call.send(request([pb.Contact(email=f"{n}@over.example") for n in range(100)]))
            call.read_results(100)
            standby.wait_for_all_of(cluster)
            cluster.stop()
            standby.promote()
            call.send(request([pb.Contact(email=f"{n}@over.example") for n in range(50, 150)]))
            call.half_close()
            outcome = call.finish().check_ok(200)
            assert outcome.statuses[100:] == [harness.UNCHANGED] * 50 + [CREATED] * 50
            assert health(server) == SERVING
            rows = standby.query("SELECT count(*) FROM contacts")
            assert rows == "150"
        finally:
            server.close()
    finally:
        standby.close()
