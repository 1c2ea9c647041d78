"""Where a stream is cut means nothing: not into messages, not into transactions, not into lanes."""

import random

import pytest

from harness import FAILED, Server, bulk, field, request
from rpcs import events_so_far
from stubs import pb

COUNT = 1500


def contacts():
    """Repeats, identifiers that change hands, and failures of many kinds."""
    choice = random.Random(11)
    out = []
    for _ in range(COUNT):
        contact = pb.Contact(email=f"{choice.randrange(150)}@cut.example")
        kind = choice.random()
        if kind < 0.5:
            contact.phone = choice.choice(["", f"+1617555{choice.randrange(80):04}"])
        if kind < 0.3:
            contact.external_id = choice.choice(["", f"X{choice.randrange(80)}"])
        if kind > 0.4:
            contact.name = choice.choice(["", "a", "b"])
        if kind > 0.6:
            contact.fields.append(field("f", choice.choice([None, 1, 1.0, "1", True])))
        if kind > 0.95:
            contact.email = choice.choice(["bad", "", "a@b"])
        if 0.9 < kind < 0.93:
            contact.fields.append(field("", 1))
        if 0.88 < kind < 0.9:
            contact.list_ids.append(99)
        out.append(contact)
    return out


def mapped(results, count):
    """The results as bytes, each id replaced by its place in the order of creation, and the places."""
    places = {"": ""}
    out = b""
    for result in results:
        copy = pb.ContactResult()
        copy.CopyFrom(result)
        copy.id = places.setdefault(result.id, f"#{len(places)}")
        copy.error.conflicting_id = places[result.error.conflicting_id]
        if result.status != FAILED:
            copy.ClearField("error")
        out += copy.SerializeToString(deterministic=True)
    assert len(results) == count
    return out, places


@pytest.fixture(scope="module")
def lanes():
    servers = {count: Server(lanes=count) for count in (1, 3)}
    yield servers
    for server in servers.values():
        server.close()


def import_cut(server, sizes, workflow):
    """The import's bytes, table, summary and events, free of ids."""
    workspace = server.create_workspace("email,phone,external_id")
    sent = contacts()
    messages, start, number = [], 0, 0
    while start < COUNT:
        size = sizes[number % len(sizes)]
        options = {"run_workflow": True} if workflow and not messages else {}
        messages.append(request(sent[start:start + size], **options))
        start, number = start + size, number + 1
    outcome = bulk(server.stub, messages, workspace).check_ok(COUNT)
    answers, places = mapped(outcome.results, COUNT)
    columns = "id::text, email, phone, external_id, name, first_name, last_name, fields::text"
    table = sorted((places[row[0]], *row[1:]) for row in server.rows(workspace, columns))
    summary = outcome.summary.SerializeToString(deterministic=True)
    events = {}
    if workflow:
        for event in events_so_far(server.stub, workspace):
            contact = event.record.contact
            contact.id = places[contact.id]
            events.setdefault(contact.id, []).append(
                (event.type, contact.SerializeToString(deterministic=True)))
        assert set(events) == {row[0] for row in table}
    return answers, summary, table, events


@pytest.mark.parametrize("workflow", [False, True], ids=["silent", "run_workflow"])
def test_rule_4_grouping_is_invisible(lanes, workflow):
    """contract: rule 4; one contact per message, ten, all, and any, on one lane and on several."""
    choice = random.Random(5)
    any_size = [choice.randrange(0, 40) for _ in range(100)] + [1]
    first = import_cut(lanes[1], [1], workflow)
    assert len(first[2]) > 100
    for count, server in lanes.items():
        for sizes in ([1], [10], [COUNT], any_size):
            if (count, sizes) != (1, [1]):
                assert import_cut(server, sizes, workflow) == first, (count, sizes)
