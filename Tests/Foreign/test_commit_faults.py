"""Transactions that break in their COMMIT, and those that one caller of several spoils."""

import contextlib
import random
import time

import grpc
import pytest

import harness
from commit_proxy import CommitProxy, Fate
from harness import CREATED, FAILED, UPDATED, LiveCall, bulk, metadata, request, upsert, wait_until
from rpcs import events_so_far, get_import
from stubs import pb
from test_database import Cluster
from triggers import PASS_THE_GATE, gate, trigger, wait_for_one_at_the_gate

REPLAYED = pb.UPSERT_STATUS_REPLAYED
INTERRUPTED, FINISHED = 2, 3
OPTIONS = {"import_id": "mine", "run_workflow": True}


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster()
    yield cluster
    cluster.close()


@contextlib.contextmanager
def proxied(cluster, lanes):
    proxy = CommitProxy(cluster.directory)
    server = harness.Server(database_url=proxy.url, lanes=lanes)
    server.proxy = proxy
    try:
        yield server
    finally:
        proxy.go_on.set()
        server.close()
        proxy.close()


@pytest.fixture(scope="module")
def single(cluster):
    """A server with one lane, so that all who call at once meet in it."""
    with proxied(cluster, 1) as server:
        yield server


def contact(name, email):
    return pb.Contact(email=f"{email}@commit.example", name=name)


def contacts(first, last):
    return [contact("x", n) for n in range(first, last + 1)]


def any_answer(server):
    harness.get(server.stub, {"email": "nobody@nowhere.example"})


def opened(server, workspace):
    call = LiveCall(server.stub, workspace)
    call.send(request(**OPTIONS))
    call.read()
    return call


def has_arrived(server, call):
    """Returns when the server has what the call sent. The library asks for a message once it has sent
    the one before; what comes over the same connection afterwards is read afterwards."""
    call.send(request())
    wait_until(lambda: call.all_taken() or call.call.done(), what="the sending")
    any_answer(server)


def lane_is_through(server):
    """Returns when the only lane has dealt with all that it had: it takes blocks in order."""
    upsert(server.stub, [contact("through", "through")])


def named(server, workspace):
    return dict(server.rows(workspace, "split_part(email, '@', 1), name"))


def changes(server, workspace):
    """The events in their order: what happened to which email under which name."""
    return [(event.type, event.record.contact.email.split("@")[0], event.record.contact.name)
            for event in events_so_far(server.stub, workspace)]


@contextlib.contextmanager
def lane_held(server):
    """Keeps the only lane waiting, so that what comes meanwhile goes into one transaction."""
    with trigger(server, "held", PASS_THE_GATE):
        with gate(server):
            held = start_upsert(server, None, [contact("held", f"held{random.random()}")])
            wait_for_one_at_the_gate(server)
            yield
        assert held.result(timeout=60).results[0].status == CREATED


def start_upsert(server, workspace, sent):
    return server.stub.UpsertContacts.future(
        pb.UpsertContactsRequest(contacts=sent), metadata=metadata(workspace), timeout=60)


BROKEN = [fate for fate in Fate if fate is not Fate.PASSED]


@pytest.mark.parametrize("meanwhile", ["", "more waits", "cancelled", "more waits, cancelled"])
@pytest.mark.parametrize("fate", BROKEN)
def test_a_commit_gets_no_answer(single, fate, meanwhile):
    """The server finds out what became of it, and answers; a retry writes nothing twice."""
    workspace = single.create_workspace()
    first = [contact("A", "a"), contact("B", "a"), *contacts(3, 100)]
    second = contacts(101, 200)
    call = opened(single, workspace)
    single.proxy.strike(fate)
    call.send(request(first, 1))
    assert single.proxy.reached.wait(20)
    if "more" in meanwhile:
        call.send(request(second))
    has_arrived(single, call)
    if "cancelled" in meanwhile:
        call.call.cancel()
    call.half_close()
    any_answer(single)
    broken = time.monotonic()
    single.proxy.go_on.set()
    outcome = call.finish()
    count = 200 if "more" in meanwhile else 100
    if "cancelled" in meanwhile:
        lane_is_through(single)
        wait_until(lambda: get_import(single.stub, workspace, "mine").state == INTERRUPTED)
        # What the lane had not begun when the call ended may be left out.
        count = len(single.rows(workspace)) + 1
        assert count in (100, 200)
    else:
        outcome.check_ok(count)
        assert time.monotonic() - broken < 10
        assert outcome.statuses == [CREATED, UPDATED] + [CREATED] * (count - 2)
        ids = {email: id_ for id_, email in single.rows(workspace)}
        assert outcome.ids == [ids[c.email] for c in (first + second)[:count]]
    assert named(single, workspace) == {"a": "B", **{str(n): "x" for n in range(3, count + 1)}}
    found = get_import(single.stub, workspace, "mine").summary
    assert (found.total, found.created, found.updated) == (count, count - 1, 1)
    assert found.committed_through == count

    again = bulk(single.stub, [request(first, 1, **OPTIONS), request(second)], workspace)
    assert again.code == grpc.StatusCode.OK
    assert again.started.committed_through == count
    assert again.statuses == [REPLAYED] * count + [CREATED] * (200 - count)
    ids = {email: id_ for id_, email in single.rows(workspace)}
    assert again.ids == [ids[c.email] for c in first + second]
    assert named(single, workspace) == {"a": "B", **{str(n): "x" for n in range(3, 201)}}
    found = get_import(single.stub, workspace, "mine")
    assert (found.state, found.summary.committed_through) == (FINISHED, 200)
    assert (found.summary.created, found.summary.updated) == (199, 1)
    written = changes(single, workspace)
    assert [change for change in written if change[1] == "a"] == [
        (pb.EVENT_TYPE_CREATED, "a", "A"), (pb.EVENT_TYPE_UPDATED, "a", "B")]
    assert len(written) == len(set(written)) == 200


def test_a_backend_that_waits_for_a_lock_is_not_taken_for_dead(single):
    """Its line is silent too, for longer than the server waits before it looks."""
    workspace = single.create_workspace()
    upsert(single.stub, contacts(1, 1), workspace)
    lanes = "SELECT pid FROM pg_stat_activity WHERE application_name = 'contactsd lane 0'"
    before = single.query(lanes)
    with single.connect() as connection, connection.transaction():
        connection.execute("SELECT FROM contacts WHERE email = '1@commit.example' FOR UPDATE")
        waiting = start_upsert(single, workspace, [contact("other", "1")])
        time.sleep(8)
        assert not waiting.done()
    assert [r.status for r in waiting.result(timeout=20).results] == [UPDATED]
    assert single.query(lanes) == before


def test_the_backend_dies_in_the_commit(single):
    """What waits behind a block that is not stored yet is not stored before it."""
    workspace = single.create_workspace()
    first, second = [contact("old", "a"), contact("fatal", "b")], [contact("new", "a")]
    with single.connect() as connection:
        connection.execute("CREATE SEQUENCE deaths")
    with trigger(single, "fatal", f"{PASS_THE_GATE};"
                 " IF nextval('deaths') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid());"
                 " PERFORM pg_sleep(60); END IF", constraint=True):
        call = opened(single, workspace)
        with gate(single):
            call.send(request(first, 1))
            wait_for_one_at_the_gate(single)
            call.send(request(second))
            has_arrived(single, call)
        call.half_close()
        outcome = call.finish()
        assert outcome.check_ok(3).statuses == [CREATED, CREATED, UPDATED]
    assert named(single, workspace) == {"a": "new", "b": "fatal"}
    assert [change[1:] for change in changes(single, workspace)] == [
        ("a", "old"), ("b", "fatal"), ("a", "new")]
    assert get_import(single.stub, workspace, "mine").summary == outcome.summary


def test_the_settings_of_another_workspace_change(single):
    """Only the calls of that workspace end."""
    changed, other = single.create_workspace(), single.create_workspace()
    calls = [opened(single, workspace) for workspace in (changed, other)]
    for call in calls:
        call.send(request(contacts(1, 1), 1))
        call.read_results(1)
    done = harness.run([harness.CONTACTSD, "workspace", "set", changed, "--unique", "email,phone",
                        "--database-url", single.database_url])
    assert done.returncode == 0, done.stderr
    with lane_held(single):
        for call in calls:
            call.send(request(contacts(2, 2)))
            has_arrived(single, call)
    calls[1].half_close()
    calls[1].finish().check_ok(2)
    ended = calls[0].finish()
    assert ended.code == grpc.StatusCode.ABORTED, ended.details
    assert len(ended.results) == 1
    assert named(single, changed) == {"1": "x"}
    assert named(single, other) == {"1": "x", "2": "x"}
    assert get_import(single.stub, other, "mine").state == FINISHED
    wait_until(lambda: get_import(single.stub, changed, "mine").state == INTERRUPTED)


@pytest.mark.parametrize("sqlstate", ["XX000", "AB123", "P0001", "22023"])
def test_whatever_a_trigger_raises_fails_its_contact_alone(single, sqlstate):
    workspaces = [single.create_workspace() for _ in range(2)]
    raised = f"RAISE EXCEPTION 'a secret' USING ERRCODE = '{sqlstate}'"
    sent = [contact("x", "a"), contact("raises", "b"), contact("x", "c")]
    with trigger(single, "raises", raised):
        with lane_held(single):
            # The one in the middle has the contact that is refused.
            calls = [start_upsert(single, workspaces[0], contacts(1, 3)),
                     start_upsert(single, workspaces[1], sent),
                     start_upsert(single, workspaces[0], contacts(4, 6))]
            any_answer(single)
        before, refused, after = (call.result(timeout=60).results for call in calls)
    assert [r.status for r in [*before, *after]] == [CREATED] * 6
    assert [r.status for r in refused] == [CREATED, FAILED, CREATED]
    assert (refused[1].error.reason, refused[1].error.retryable) == ("DATABASE_REJECTED", False)
    assert "secret" not in refused[1].error.message
    assert named(single, workspaces[0]) == {str(n): "x" for n in range(1, 7)}
    assert named(single, workspaces[1]) == {"a": "x", "c": "x"}


COUNT, KEYS = 3000, 150


def import_until_done(server, workspace, sent, fates):
    """Calls until the import has ended, each time from where the server says. It sends in steps: a
    COMMIT of each is held while more comes to wait behind it, and then has the next of the fates."""
    acknowledged, ends = 0, []

    def step(call, done):
        server.proxy.strike(next(fates, Fate.PASSED))
        call.send(request(sent[done:done + 100], done + 1))
        wait_until(lambda: server.proxy.reached.is_set() or call.call.done(), what="a COMMIT")
        for first in (done + 100, done + 200):
            call.send(request(sent[first:first + 100]))
        has_arrived(server, call)
        server.proxy.go_on.set()
        while not call.outcome.marks or call.outcome.marks[-1] < min(done + 300, len(sent)):
            call.read()

    def go_on():
        nonlocal acknowledged
        call = LiveCall(server.stub, workspace)
        with contextlib.suppress(grpc.RpcError, StopIteration):
            call.send(request(**OPTIONS))
            committed = call.read().started.committed_through
            assert committed >= acknowledged, "an answer came before its COMMIT"
            for done in range(committed, len(sent), 300):
                step(call, done)
            call.half_close()
        server.proxy.go_on.set()
        outcome = call.finish()
        acknowledged = max([acknowledged, *outcome.marks[-1:]])
        ends.append(outcome.code)
        return outcome.code == grpc.StatusCode.OK

    wait_until(go_on, 60, "the end of the import")
    assert set(ends) <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}


@pytest.mark.parametrize("seed", [1, 3])
@pytest.mark.parametrize("lanes, unique", [(1, "email"), (3, "email"), (3, "email,phone")])
def test_an_import_through_broken_commits_is_as_one_undisturbed(cluster, lanes, unique, seed):
    chance = random.Random(seed)
    sent = [contact(str(n), f"k{chance.randrange(KEYS)}") for n in range(1, COUNT + 1)]
    faults = BROKEN * 2
    fates = faults + [Fate.PASSED] * 4
    chance.shuffle(fates)
    found = []
    with proxied(cluster, lanes) as server:
        for plan in ([], fates):
            workspace = server.create_workspace(unique)
            server.proxy.struck.clear()
            import_until_done(server, workspace, sent, iter(plan))
            by_contact = {}
            for change in changes(server, workspace):
                by_contact.setdefault(change[1], []).append(change)
            found.append((get_import(server.stub, workspace, "mine").summary,
                          named(server, workspace), by_contact))
        assert set(server.proxy.struck) & set(faults), "no COMMIT was struck"
    undisturbed, disturbed = found
    assert disturbed == undisturbed
    assert disturbed[0].total == disturbed[0].committed_through == COUNT
    for written in disturbed[2].values():
        numbers = [int(name) for _, _, name in written]
        assert numbers == sorted(set(numbers))
    assert sum(len(written) for written in disturbed[2].values()) == COUNT
