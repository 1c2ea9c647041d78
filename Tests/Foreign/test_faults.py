"""Single faults of the database and of callers, with the times in which they have to be over."""

import contextlib
import threading
import time

import grpc
import psycopg
import pytest

import harness
from fault_tools import (NOT_SERVING, SERVING, Importing, SmallTablespace, health,
                         wait_for_health)
from harness import CREATED, LiveCall, bulk, get, request, upsert, wait_until
from rig_proxy import Proxy
from rpcs import events_so_far, get_import
from stubs import pb
from test_database import cluster  # noqa: F401, a fixture

REPLAYED = pb.UPSERT_STATUS_REPLAYED
FINISHED = pb.IMPORT_STATE_FINISHED
MINE = {"import_id": "mine", "run_workflow": True}
LANES = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'contactsd%'"


@pytest.fixture(scope="module")
def beside(cluster):
    """A server whose database the tests disturb."""
    server = harness.Server(database_url=cluster.url)
    wait_for_health(server, SERVING, 10)
    yield server
    server.close()


class Caller(threading.Thread):
    """Sends a share of an import, a few hundred ahead of the results; the last one ends it."""

    CALLERS = 6
    COUNT = 40_000

    def __init__(self, stub, workspace, first, number):
        super().__init__(daemon=True)
        self.stub, self.workspace, self.first = stub, workspace, first
        self.is_last = number == self.CALLERS
        self.through = self.COUNT * number // self.CALLERS
        self.received, self.ended = first - 1, None
        self.start()

    def messages(self):
        for first in range(self.first, self.through + 1, 50):
            while first > self.received + 500 and not self.ended:
                time.sleep(0.001)
            sent = [pb.Contact(email=f"{n}@two.example", name=f"{n} of {self.first}")
                    for n in range(first, min(first + 50, self.through + 1))]
            yield request(sent, first, **(MINE if first == self.first else {}))
        # On a busy machine the next one may be late: it finds the import unfinished.
        while not self.is_last and not self.ended:
            time.sleep(0.001)

    def run(self):
        self.outcome = bulk(self.stub, self.messages(), self.workspace, seen=self._seen)
        self.ended = time.monotonic()

    def _seen(self, outcome):
        if outcome.results:
            self.received = outcome.results[-1].sequence


def test_two_callers_drive_one_import(beside):
    """One goes on, the other is told within a second; each contact is applied once."""
    workspace = beside.create_workspace()
    callers = [Caller(beside.stub, workspace, 1, 1)]
    for number in range(2, Caller.CALLERS + 1):
        old = callers[-1]
        wait_until(lambda: old.received >= old.first + 300, what="the results")
        probe = LiveCall(beside.stub, workspace)
        probe.send(request(**MINE))
        through = probe.read().started.committed_through
        started = time.monotonic()
        wait_until(lambda: old.ended, 5, "the end of the first caller")
        assert old.ended - started < 1
        assert old.outcome.code == grpc.StatusCode.ABORTED, old.outcome.details
        assert "IMPORT_TAKEN_OVER" in old.outcome.details
        assert old.outcome.results[-1].sequence <= through
        # The next goes on where the probe was told, and fences it.
        callers.append(Caller(beside.stub, workspace, through + 1, number))
        assert probe.finish().code == grpc.StatusCode.ABORTED
    callers[-1].join(60)
    last = callers[-1].outcome
    assert last.code == grpc.StatusCode.OK, last.details
    rows = dict(beside.rows(workspace, "email, name"))
    assert len(rows) == Caller.COUNT
    for caller in callers:
        for result in caller.outcome.results:
            assert result.status in (CREATED, REPLAYED)
            if result.status == CREATED:
                name = f"{result.sequence} of {caller.first}"
                assert rows[f"{result.sequence}@two.example"] == name
    assert len(events_so_far(beside.stub, workspace)) == Caller.COUNT
    found = get_import(beside.stub, workspace, "mine")
    assert (found.state, found.summary.created) == (FINISHED, Caller.COUNT)


def test_a_database_that_turns_read_only_and_back(cluster, beside):
    """contract: point `health`. Nothing is acknowledged that is not stored."""
    workspace = beside.create_workspace()
    importing = Importing(beside.address, workspace, "read-only", 40_000)
    wait_until(lambda: importing.received > 2000, what="the results")
    try:
        set_system(cluster, "SET default_transaction_read_only = on")
        wait_for_health(beside, NOT_SERVING, 2)
        held = importing.received
        time.sleep(1.5)
        # What was on its way when the setting changed may still have come.
        assert importing.received - held < 5000
        assert health(beside) == NOT_SERVING
        importing.check_stored(dict(beside.rows(workspace)))
    finally:
        set_system(cluster, "RESET default_transaction_read_only")
    wait_for_health(beside, SERVING, 5)
    importing.finish(40).check_stored(dict(beside.rows(workspace)))
    assert len(beside.rows(workspace)) == 40_000


def set_system(cluster, setting):
    with psycopg.connect(cluster.url, autocommit=True) as connection:
        connection.execute("SET transaction_read_only = off")
        connection.execute(f"ALTER SYSTEM {setting}")
        connection.execute("SELECT pg_reload_conf()")


def test_a_row_that_is_locked_for_seconds_is_waited_for(beside):
    """contract: point `health`; a locked row does not change it."""
    workspace = beside.create_workspace()
    upsert(beside.stub, [pb.Contact(email="locked@lock.example")], workspace)
    with beside.connect() as owner:
        with owner.transaction():
            owner.execute("SELECT FROM contacts WHERE email = 'locked@lock.example' FOR UPDATE")
            call = LiveCall(beside.stub, workspace)
            call.send(request([pb.Contact(email="locked@lock.example", name="new"),
                               pb.Contact(email="other@lock.example")]))
            call.read()
            end = time.monotonic() + 7
            while time.monotonic() < end:
                assert health(beside) == SERVING
                key = {"email": "locked@lock.example"}
                assert get(beside.stub, key, workspace=workspace)[0].found
                time.sleep(0.1)
            assert not call.outcome.results and not call.call.done()
        freed = time.monotonic()
        call.read_results(2)
        assert time.monotonic() - freed < 5
    call.half_close()
    assert call.finish().check_ok(2).statuses == [pb.UPSERT_STATUS_UPDATED, CREATED]


def test_a_database_that_vanishes_without_a_word(cluster):
    """Its lines swallow everything, and new ones open and say nothing."""
    line = Proxy([f"{cluster.directory}/.s.PGSQL.5432"])
    server = harness.Server(database_url=(
        f"host=127.0.0.1 port={line.port} user=postgres dbname=postgres sslmode=disable"
        " gssencmode=disable"))
    try:
        wait_for_health(server, SERVING, 10)
        workspace = server.create_workspace()
        importing = Importing(server.address, workspace, "vanished", 40_000)
        wait_until(lambda: importing.received > 2000, what="the results")
        line.stall()
        wait_for_health(server, NOT_SERVING, 5)
        time.sleep(8)
        # What was open stays dead: the lanes have to have noticed by themselves.
        line.forget()
        line.restore()
        back = time.monotonic()
        held = importing.received
        wait_until(lambda: importing.received > held, 10, "more results")
        wait_for_health(server, SERVING, 5)
        assert time.monotonic() - back < 15
        importing.finish(60)
        with psycopg.connect(cluster.url) as connection:
            rows = dict(connection.execute(
                "SELECT id::text, email FROM contacts WHERE workspace_id ="
                " (SELECT id FROM workspaces WHERE name = %s)", (workspace,)).fetchall())
        importing.check_stored(rows)
        assert len(rows) == 40_000
    finally:
        line.restore()
        server.close()
        line.close()


@contextlib.contextmanager
def all_connections_taken(cluster):
    """Takes each connection that the database has, those of the server too."""
    held = []
    try:
        with contextlib.ExitStack() as stack:
            def take():
                with contextlib.suppress(psycopg.OperationalError):
                    while True:
                        held.append(stack.enter_context(
                            psycopg.connect(cluster.url, autocommit=True)))
            take()
            end = time.monotonic() + 20
            while pids := held[0].execute(LANES).fetchall():
                assert time.monotonic() < end, "the server keeps its connections"
                for pid, in pids:
                    held[0].execute("SELECT pg_terminate_backend(%s)", (pid,))
                take()
            yield
    finally:
        for connection in held:
            connection.close()


def test_a_reconnect_that_finds_no_free_connection_waits_for_one(cluster, beside):
    workspace = beside.create_workspace()
    importing = Importing(beside.address, workspace, "taken", 40_000)
    wait_until(lambda: importing.received > 2000, what="the results")
    with all_connections_taken(cluster):
        time.sleep(3)
        assert not importing.journal.is_complete
    importing.finish(40).check_stored(dict(beside.rows(workspace)))
    # The absence was short: no call had to end.
    assert importing.journal.ends == [("OK", "")]
    wait_for_health(beside, SERVING, 5)


def test_a_full_disk_is_told_and_nothing_wrong_is_acknowledged():
    """contract: point `health`. Once there is room again, the import goes on."""
    small = SmallTablespace(40)
    try:
        server = harness.Server(database_url=small.url)
        try:
            wait_for_health(server, SERVING, 10)
            importing = Importing(server.address, None, "full", 150_000)
            wait_until(lambda: small.refusals(), 60, "the disk to be full")
            wait_for_health(server, NOT_SERVING, 2)
            for _ in range(20):
                assert health(server) == NOT_SERVING
                time.sleep(0.1)
            assert not importing.journal.is_complete
            importing.check_stored(dict(server.rows()))
            small.enlarge(400)
            wait_for_health(server, SERVING, 5)
            importing.finish(60).check_stored(dict(server.rows()))
            assert len(server.rows()) == 150_000
            found = get_import(server.stub, None, "full")
            assert (found.state, found.summary.created) == (FINISHED, 150_000)
        finally:
            server.close()
    finally:
        small.close()


def test_eight_streams_over_the_same_300_keys_see_no_error(beside):
    workspace = beside.create_workspace("email,phone")
    outcomes = {}

    def stream(number):
        def messages():
            for round_ in range(10):
                keys = list(range(300))[::1 if (number + round_) % 2 else -1]
                for start in range(0, 300, 50):
                    yield request([
                        pb.Contact(email=f"{key}@same.example", phone=f"+1617555{key:04}",
                                   name=f"{number}.{round_}")
                        for key in keys[start:start + 50]])
        outcomes[number] = bulk(beside.stub, messages(), workspace)

    threads = [threading.Thread(target=stream, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ids = {}
    for number in range(8):
        outcome = outcomes[number].check_ok(3000)
        assert outcome.reasons == {}
        for round_ in range(10):
            told = outcome.ids[round_ * 300:(round_ + 1) * 300]
            for key, id_ in zip(range(300), told[::1 if (number + round_) % 2 else -1]):
                assert ids.setdefault(key, id_) == id_
    created = sum(outcome.statuses.count(CREATED) for outcome in outcomes.values())
    assert created == len(beside.rows(workspace)) == 300
