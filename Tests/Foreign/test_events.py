"""Events: one for each change of an import that asked for workflows; nothing lost, nothing twice."""

import concurrent.futures
import os
import pathlib
import random
import subprocess
import sys
import threading

import grpc
import pytest

from harness import CREATED, FAILED, UNCHANGED, UPDATED, bulk, failing, field, get, request, upsert
from rpcs import create_list, events_so_far, watch
from stubs import pb

WATCHER = str(pathlib.Path(__file__).with_name("watcher.py"))


def test_option_run_workflow_writes_an_event_for_each_contact_created_or_updated(stub, workspace):
    """contract: option `run_workflow`, true; point `events`."""
    number = create_list(stub, workspace).id
    sent = [
        pb.Contact(email="A@b.example", phone="+16175551212", name="one", fields=[
            field("s", "x"), field("i", 5), field("n", 5.0), field("b", True), field("", 1)]),
        pb.Contact(email="A@b.example", phone="+16175551212", name="one", fields=[
            field("s", "x"), field("i", 5), field("n", 5.0), field("b", True),
            field("t", timestamp_value={"seconds": 5, "nanos": 1000})]),
        pb.Contact(email="a@b.example", name="one"),
        pb.Contact(email="a@b.example", name="two", fields=[field("s")]),
        pb.Contact(email="bad"),
        pb.Contact(email="a@b.example", list_ids=[number]),
    ]
    outcome = bulk(stub, [request(sent, run_workflow=True)], workspace).check_ok(6)
    assert outcome.statuses == [FAILED, CREATED, UNCHANGED, UPDATED, FAILED, UPDATED]
    events = events_so_far(stub, workspace)
    assert [e.type for e in events] == [
        pb.EVENT_TYPE_CREATED, pb.EVENT_TYPE_UPDATED, pb.EVENT_TYPE_UPDATED]
    assert {e.contact_id for e in events} == {outcome.ids[1]}
    assert {e.import_id for e in events} == {outcome.started.import_id}
    offsets = [e.offset for e in events]
    assert offsets == sorted(set(offsets)) and offsets[0] > 0
    assert all(e.occurred_at.seconds and e.record.created_at.seconds for e in events)
    contacts = [e.record.contact for e in events]
    assert [c.name for c in contacts] == ["one", "two", "two"]
    assert [list(c.list_ids) for c in contacts] == [[], [], [number]]
    assert {f.name for f in contacts[0].fields} == set("sinbt")
    assert {f.name for f in contacts[1].fields} == set("inbt")
    assert contacts[0].email == "a@b.example"
    last = get(stub, {"email": "a@b.example"}, workspace=workspace)[0].record
    assert events[-1].record == last


def test_option_run_workflow_false_writes_none(stub, workspace):
    """contract: option `run_workflow`, false."""
    upsert(stub, [pb.Contact(email="a@b.example", name=name) for name in "abc"], workspace)
    assert events_so_far(stub, workspace) == []


def test_option_run_workflow_in_a_unary_call(stub, workspace):
    """contract: option `run_workflow` by UpsertContacts."""
    answer = upsert(stub, [pb.Contact(email="a@b.example", name=name) for name in "aab"], workspace,
                    run_workflow=True)
    events = events_so_far(stub, workspace)
    assert [(e.type, e.import_id, e.record.contact.name) for e in events] == [
        (pb.EVENT_TYPE_CREATED, answer.import_id, "a"), (pb.EVENT_TYPE_UPDATED, answer.import_id, "b")]


def test_point_events_a_watcher_names_the_last_offset_and_then_waits_for_more(stub, workspace):
    """contract: point `events`."""
    contacts = [pb.Contact(email=f"{n}@w.example") for n in range(5)]
    upsert(stub, contacts, workspace, run_workflow=True)
    offsets = [e.offset for e in events_so_far(stub, workspace)]
    for number in range(5):
        call, events = watch(stub, workspace, offsets[number - 1] if number else 0)
        assert next(events).offset == offsets[number]
        call.cancel()
    # Nothing is there yet; then something is.
    last = [e.offset for e in events_so_far(stub, workspace, offsets[2])]
    assert last == offsets[3:]
    call, events = watch(stub, workspace, offsets[-1])
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(next, (e for e in events if e.record.contact.email == "new@w.example"))
        upsert(stub, [pb.Contact(email="new@w.example")], workspace, run_workflow=True)
        event = answer.result(timeout=60)
    assert event.type == pb.EVENT_TYPE_CREATED
    call.cancel()


def test_events_of_another_workspace_are_not_seen(stub, workspace_of):
    """contract: service `WatchEvents`; offsets belong to a workspace."""
    one, two = workspace_of(), workspace_of()
    upsert(stub, [pb.Contact(email="one@b.example")], one, run_workflow=True)
    upsert(stub, [pb.Contact(email="two@b.example")], two, run_workflow=True)
    assert [e.record.contact.email for e in events_so_far(stub, one)] == ["one@b.example"]
    with failing(grpc.StatusCode.NOT_FOUND):
        next(watch(stub, "no-such")[1])


def kinds(line):
    offset, kind, id_ = line.split()
    return int(offset), int(kind), id_


def read_and_cancel(stub, workspace, after, most):
    call, events = watch(stub, workspace, after, timeout=110)
    found = []
    for event in events:
        found.append((event.offset, event.type, event.contact_id))
        if len(found) == most:
            break
    call.cancel()
    return found


def read_and_kill(server, workspace, after, most, folder):
    """Whatever whole lines came before the death of the process; it may print more than `most`."""
    process = subprocess.Popen(
        [sys.executable, WATCHER, server.address, workspace, str(after)],
        stdout=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(folder)})
    lines = [process.stdout.readline() for _ in range(most)]
    process.kill()
    lines += process.stdout.read().splitlines(keepends=True)
    process.wait()
    process.stdout.close()
    return [kinds(line) for line in lines if line.endswith("\n")]


def test_eight_writers_and_a_watcher_that_dies_ten_times(server, stub, workspace_of, tmp_path):
    """contract: service `WatchEvents`; from an offset, in order, each once, none lost."""
    workspace = workspace_of("email,phone")

    died = threading.Event()

    def messages(number):
        """At least forty, then more until the watcher has died for the last time."""
        choice = random.Random(number)
        for count in range(400):
            if count >= 40 and died.is_set():
                return
            contacts = [pb.Contact(
                email=f"{choice.randrange(60)}@eight.example", name=choice.choice("abcdefgh"),
                **({"phone": f"+1617555{choice.randrange(60):04}"} if choice.random() < 0.3 else {}))
                for _ in range(15)]
            yield request(contacts, **({} if count else {"run_workflow": True}))

    def write(number):
        return bulk(stub, messages(number), workspace)

    seen = []
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        writers = [pool.submit(write, number) for number in range(8)]
        for death in range(10):
            after = seen[-1][0] if seen else 0
            if death % 2:
                seen += read_and_kill(server, workspace, after, 3 + 7 * death, tmp_path)
            else:
                seen += read_and_cancel(stub, workspace, after, 3 + 7 * death)
            assert len(seen) > death
        died.set()
        outcomes = [writer.result() for writer in writers]
    for outcome in outcomes:
        outcome.check_ok(len(outcome.results))
    changes = sum(outcome.statuses.count(CREATED) + outcome.statuses.count(UPDATED)
                  for outcome in outcomes)
    assert changes > 1000
    if changes > len(seen):
        seen += read_and_cancel(stub, workspace, seen[-1][0], changes - len(seen))
    offsets = [offset for offset, _, _ in seen]
    assert offsets == sorted(set(offsets))
    stored = server.query(
        "SELECT event_offset, type, contact_id::text FROM events WHERE workspace_id ="
        " (SELECT id FROM workspaces WHERE name = %s) ORDER BY event_offset", workspace)
    assert [(offset, id_) for offset, _, id_ in seen] == [(row[0], row[2]) for row in stored]
    assert len(seen) == changes
    created = [id_ for _, kind, id_ in seen if kind == pb.EVENT_TYPE_CREATED]
    assert len(set(created)) == len(created) == len(server.rows(workspace))
    assert events_so_far(stub, workspace, offsets[-1]) == []


@pytest.mark.slow
def test_a_watcher_that_never_reads_holds_nobody_up(server, stub, workspace):
    """contract: rule 7, for `WatchEvents`."""
    calls = [watch(stub, workspace)[0] for _ in range(5)]
    contacts = [pb.Contact(email=f"{n}@slow.example", name="x" * 1000) for n in range(5000)]
    outcome = bulk(stub, [request(contacts[n:n + 500], **({"run_workflow": True} if n == 0 else {}))
                          for n in range(0, 5000, 500)], workspace)
    outcome.check_ok(5000)
    assert set(outcome.statuses) == {CREATED} and UNCHANGED not in outcome.statuses
    assert len(events_so_far(stub, workspace)) == 5000
    for call in calls:
        call.cancel()
