"""The database goes away and comes back."""

import os
import pathlib
import pwd
import shutil
import subprocess
import threading
import time

import grpc
import pytest

import harness
from harness import CREATED, LiveCall, UNCHANGED, get, request, upsert, wait_until
from stubs import pb


class Cluster:
    """A PostgreSQL of the test's own, which it can stop."""

    def __init__(self):
        self.directory = harness.new_directory()
        programs = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))
        if not programs:
            pytest.skip("no PostgreSQL programs")
        self.programs = programs[-1]
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.directory, user.pw_uid, user.pw_gid)
        self.run("initdb", "-D", f"{self.directory}/data", "-U", "postgres", "-A", "trust",
                 "-E", "UTF8", "--locale=C", "--no-sync")
        self.url = f"host={self.directory} port=5432 user=postgres dbname=postgres"
        self.start()

    def run(self, program, *arguments):
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
        done = subprocess.run(
            [*(user if os.geteuid() == 0 else []), self.programs / program, *arguments],
            stdout=subprocess.DEVNULL, timeout=60, cwd=self.directory)
        assert done.returncode == 0, done

    def start(self):
        self.run("pg_ctl", "-D", f"{self.directory}/data", "-w", "-l", f"{self.directory}/log",
                 "-o", f"-c listen_addresses= -c unix_socket_directories={self.directory}",
                 "start")

    def stop(self, mode="immediate"):
        self.run("pg_ctl", "-D", f"{self.directory}/data", "-m", mode, "-w", "stop")

    def query(self, sql):
        return subprocess.run(
            [self.programs / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", sql, self.url],
            check=True, stdout=subprocess.PIPE, text=True, timeout=60).stdout.strip()

    def standby(self):
        """A copy of this cluster that follows it."""
        copy = Cluster.__new__(Cluster)
        copy.programs = self.programs
        copy.directory = harness.new_directory()
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(copy.directory, user.pw_uid, user.pw_gid)
        copy.run("pg_basebackup", "-d", self.url, "-D", f"{copy.directory}/data", "-R",
                 "--checkpoint=fast", "--no-sync")
        copy.url = f"host={copy.directory} port=5432 user=postgres dbname=postgres"
        copy.start()
        return copy

    def wait_for_all_of(self, primary):
        position = primary.query("SELECT pg_current_wal_lsn()")
        wait_until(lambda: self.query(
            f"SELECT pg_last_wal_replay_lsn() >= '{position}'") == "t", 20, "the standby's replay")

    def promote(self):
        self.run("pg_ctl", "-D", f"{self.directory}/data", "-w", "promote")

    def close(self):
        if pathlib.Path(self.directory, "data", "postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster()
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def away(cluster):
    server = harness.Server(database_url=cluster.url)
    yield server
    server.close()


def test_a_database_that_restarts_in_mid_stream_loses_no_answer(cluster, away):
    call = LiveCall(away.stub, timeout=60)
    call.send(request([pb.Contact(email=f"{n}@restart.example") for n in range(100)]))
    call.read_results(100)
    cluster.stop()
    call.send(request([pb.Contact(email=f"{n}@restart.example") for n in range(100, 200)]))
    cluster.start()
    back = time.monotonic()
    call.read_results(200)
    assert time.monotonic() - back < 10
    call.half_close()
    call.finish().check_ok(200)
    assert set(call.outcome.statuses) == {CREATED}
    assert sorted(row[0] for row in away.rows()) == sorted(call.outcome.ids)


def test_what_a_stream_through_repeated_restarts_is_answered_is_true(cluster, away):
    """Every result is of a row that is there. A crash in the middle of a COMMIT may end the call
    with UNAVAILABLE, since nobody knows then; the contacts that have no result are sent again."""
    workspace = away.create_workspace()
    stop = threading.Event()

    def restart():
        for _ in range(3):
            if stop.wait(0.5):
                return
            cluster.stop()
            cluster.start()

    thread = threading.Thread(target=restart)
    count = 20_000

    def messages():
        for start in range(0, count, 200):
            if start < count - 200 and thread.is_alive():
                time.sleep(0.02)
            yield request([pb.Contact(email=f"{n}@repeat.example") for n in range(start, start + 200)])

    thread.start()
    try:
        outcome = harness.bulk(away.stub, messages(), workspace)
    finally:
        stop.set()
        thread.join()
    ids = list(outcome.ids)
    answered = len(ids)
    assert set(outcome.statuses) == {CREATED}
    if outcome.code != grpc.StatusCode.OK:
        assert outcome.code == grpc.StatusCode.UNAVAILABLE
        again = harness.bulk(away.stub, [request([
            pb.Contact(email=f"{n}@repeat.example")
            for n in range(start, min(start + 200, count))])
            for start in range(answered, count, 200)], workspace)
        again.check_ok(count - answered)
        assert set(again.statuses) <= {CREATED, UNCHANGED}
        ids.extend(again.ids)
    rows = dict(away.rows(workspace))
    assert [rows.get(i) for i in ids] == [f"{n}@repeat.example" for n in range(count)]
    assert len(rows) == count


@pytest.mark.slow
def test_while_the_database_is_away_calls_end_with_unavailable_and_then_work_again(cluster, away):
    upsert(away.stub, [pb.Contact(email="before@away.example")])
    call = LiveCall(away.stub, timeout=100)
    call.send(request([pb.Contact(email="stream1@away.example")]))
    call.read_results(1)
    cluster.stop()
    start = time.monotonic()
    try:
        call.send(request([pb.Contact(email="stream2@away.example")]))
        futures = [
            away.stub.UpsertContacts.future(pb.UpsertContactsRequest(
                contacts=[pb.Contact(email="during@away.example")]), timeout=100),
            away.stub.GetContacts.future(pb.GetContactsRequest(
                keys=[pb.ContactKey(email="before@away.example")]), timeout=100)]
        for future in futures:
            error = future.exception()
            assert error is not None and error.code() == grpc.StatusCode.UNAVAILABLE, error
            for word in ("/tmp", "socket", "postgres", "SELECT"):
                assert word not in error.details()
        outcome = call.finish()
        assert outcome.code == grpc.StatusCode.UNAVAILABLE
        assert outcome.statuses == [CREATED]
        assert time.monotonic() - start < 45
    finally:
        cluster.start()
    back = time.monotonic()
    again = wait_until(lambda: _result(away), 15, "an upsert after the return")
    assert time.monotonic() - back < 10
    assert again.status == UNCHANGED
    entries = get(away.stub, *({"email": f"{name}@away.example"} for name in (
        "stream1", "during", "stream2")))
    assert [e.found for e in entries] == [True, False, False]


def _result(server):
    try:
        return upsert(server.stub, [pb.Contact(email="before@away.example")]).results[0]
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNAVAILABLE
        return None


@pytest.mark.parametrize("known", [True, False], ids=["a known workspace", "a new workspace"])
@pytest.mark.parametrize("method", ["UpsertContacts", "BulkUpsert", "GetContacts"])
def test_a_call_that_begins_during_a_short_absence_is_retried_inside(
        cluster, away, method, known):
    """`known`: the server has met the workspace before."""
    workspace = away.create_workspace()
    contact = pb.Contact(email="a@short.example")
    if known:
        upsert(away.stub, [contact], workspace)
    calls = {
        "UpsertContacts": lambda: upsert(away.stub, [contact], workspace).results,
        "BulkUpsert": lambda: harness.bulk(
            away.stub, [request([contact])], workspace).check_ok(1),
        "GetContacts": lambda: get(away.stub, {"email": contact.email}, workspace=workspace),
    }
    cluster.stop()
    back = threading.Timer(1.5, cluster.start)
    back.start()
    try:
        assert calls[method]()
    finally:
        back.join()
        wait_until(lambda: _result(away), 15, "the return")
