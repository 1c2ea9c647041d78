"""Dry runs: the statuses are the real run's, and nothing is left behind."""

import os
import random

import grpc
import pytest

from harness import (CREATED, UNCHANGED, UPDATED, LiveCall, Server, bulk, failing, field, request,
                     upsert)
from rpcs import create_list, digest, events_so_far, get_import
from stubs import pb

COUNT = int(os.environ.get("FOREIGN_COUNT", "100000"))


@pytest.fixture(scope="module")
def quiet():
    """A server on which nobody else writes."""
    server = Server(lanes=3)
    yield server
    server.close()


def told(results):
    return [(r.sequence, r.status, r.error.reason, r.error.field, r.error.retryable)
            for r in results]


def messages(contacts, options, per_message=1000):
    for start in range(0, len(contacts), per_message):
        yield request(contacts[start:start + per_message], first_sequence=start + 1,
                      **(options if start == 0 else {}))


def compare(server, workspace, contacts, **options):
    """The dry run, then the real one; returns the real one's outcome."""
    before = digest(server)
    options["run_workflow"] = True
    dry = bulk(server.stub, messages(contacts, options | {"validate_only": True}), workspace,
               timeout=110)
    assert dry.code == grpc.StatusCode.OK, (dry.code, dry.details)
    assert digest(server) == before
    with failing(grpc.StatusCode.NOT_FOUND):
        get_import(server.stub, workspace, dry.started.import_id)
    real = bulk(server.stub, messages(contacts, options), workspace, timeout=110)
    assert real.code == grpc.StatusCode.OK, (real.code, real.details)
    different = [pair for pair in zip(told(dry.results), told(real.results), strict=True)
                 if pair[0] != pair[1]]
    assert different == []
    for name in ("total", "created", "updated", "unchanged", "failed", "failed_by_reason"):
        assert getattr(dry.summary, name) == getattr(real.summary, name), name
    return real


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_option_validate_only_predicts_a_large_import_and_leaves_no_trace(quiet):
    """contract: option `validate_only`; mixed new, existing, repeated and failing contacts."""
    workspace, choice = quiet.create_workspace(), random.Random(1)
    number = create_list(quiet.stub, workspace).id
    there = [pb.Contact(email=f"{n}@dry.example", name="old") for n in range(COUNT // 4)]
    bulk(quiet.stub, messages(there, {}), workspace).check_ok(len(there))
    contacts = []
    for _ in range(COUNT):
        contact = pb.Contact(email=f"{choice.randrange(COUNT)}@dry.example")
        kind = choice.random()
        if kind < 0.3:
            contact.name = "old"
        elif kind < 0.5:
            contact.name = choice.choice(["new", ""])
        elif kind < 0.6:
            contact.fields.append(field("n", choice.randrange(3)))
        elif kind < 0.65:
            contact.list_ids.append(choice.choice([0, number, 99]))
        elif kind < 0.7:
            contact.email = choice.choice(["bad", "", "a@b@c"])
        elif kind < 0.75:
            contact.phone = "12"
        contacts.append(contact)
    real = compare(quiet, workspace, contacts)
    assert set(real.statuses) == {CREATED, UPDATED, UNCHANGED, pb.UPSERT_STATUS_FAILED}
    assert set(real.reasons.values()) == {
        "EMAIL_INVALID", "KEY_MISSING", "PHONE_INVALID", "LIST_UNKNOWN"}


@pytest.mark.parametrize("match_by", [1, 2, 3, 4])
@pytest.mark.parametrize("existence", [1, 2, 3])
@pytest.mark.parametrize("write_mode", [1, 2])
def test_option_validate_only_predicts_renames_onto_identifiers_that_are_taken_or_given_up(
        quiet, match_by, existence, write_mode):
    """contract: option `validate_only`; each match_by, existence and write_mode."""
    if match_by == pb.MATCH_BY_ID and existence == pb.EXISTENCE_CREATE_ONLY:
        pytest.skip("contradictory")
    workspace = quiet.create_workspace("email,phone,external_id")
    choice = random.Random(match_by * 100 + existence * 10 + write_mode)
    keys = 60

    def some():
        return choice.randrange(keys)

    there = [pb.Contact(email=f"{n}@r.example", phone=f"+1617555{n:04}", external_id=f"X{n}")
             for n in range(0, keys, 2)]
    ids = [r.id for r in upsert(quiet.stub, there, workspace).results]
    contacts = []
    for _ in range(1000):
        contact = pb.Contact()
        if match_by == 4:
            contact.id = choice.choice(ids)
        if match_by == 1 or choice.random() < 0.4:
            contact.email = choice.choice([f"{some()}@r.example"] * 5 + ["bad", ""])
        if match_by == 2 or choice.random() < 0.4:
            contact.phone = choice.choice([f"+1617555{some():04}"] * 5 + ["1", ""])
        if match_by == 3 or choice.random() < 0.4:
            contact.external_id = choice.choice([f"X{some()}"] * 5 + ["x" * 256, ""])
        if choice.random() < 0.3:
            contact.name = choice.choice("ab")
        contacts.append(contact)
    real = compare(quiet, workspace, contacts, match_by=match_by, existence=existence,
                   write_mode=write_mode)
    assert "IDENTIFIER_TAKEN" in real.reasons.values()


def test_option_validate_only_in_a_unary_call(quiet):
    """contract: option `validate_only`; repeats inside the import are seen."""
    workspace = quiet.create_workspace()
    before = digest(quiet)
    contacts = [pb.Contact(email="a@b.example", name=name) for name in ("x", "x", "y")]
    contacts.append(pb.Contact(email="bad"))
    dry = upsert(quiet.stub, contacts, workspace, validate_only=True, run_workflow=True)
    assert [r.status for r in dry.results] == [CREATED, UNCHANGED, UPDATED, pb.UPSERT_STATUS_FAILED]
    assert (dry.summary.created, dry.summary.failed) == (1, 1)
    assert digest(quiet) == before
    assert events_so_far(quiet.stub, workspace) == []


def test_option_validate_only_knows_no_import_by_its_id(quiet):
    """contract: option `validate_only`; the same import_id is a new import afterwards, and sending a
    dry run again is a dry run again."""
    workspace = quiet.create_workspace()
    sent = [request([pb.Contact(email="a@b.example")], import_id="mine", validate_only=True)]
    for _ in range(2):
        dry = bulk(quiet.stub, sent, workspace).check_all(1)
        assert (dry.statuses, dry.started.resumed) == ([CREATED], False)
        assert dry.started.import_id == "mine"
        assert dry.started.options.validate_only
    with failing(grpc.StatusCode.NOT_FOUND):
        get_import(quiet.stub, workspace, "mine")
    real = bulk(quiet.stub, [request([pb.Contact(email="a@b.example")], import_id="mine")],
                workspace).check_ok(1)
    assert (real.statuses, real.started.resumed) == ([CREATED], False)


def test_option_validate_only_refuses_the_calls_that_the_real_run_would_be_refused(quiet):
    """contract: option `validate_only`, beside bad options, unknown lists and `match_by`."""
    workspace = quiet.create_workspace()
    for options, code in [
            ({"list_ids": [9]}, grpc.StatusCode.NOT_FOUND),
            ({"match_by": pb.MATCH_BY_PHONE}, grpc.StatusCode.FAILED_PRECONDITION),
            ({"default_dial_code": "x"}, grpc.StatusCode.INVALID_ARGUMENT)]:
        with failing(code):
            upsert(quiet.stub, [], workspace, validate_only=True, **options)


@pytest.mark.parametrize("unique", ["email", "email,phone,external_id"])
def test_option_validate_only_holds_no_lock_that_a_writer_waits_for(quiet, unique):
    """contract: option `validate_only`; a writer of the same contacts goes on beside a dry run that
    is still open, and the dry run goes on beside it."""
    workspace = quiet.create_workspace(unique)
    contacts = [pb.Contact(email=f"{n}@lock.example", phone=f"+1617555{n:04}", name="old")
                for n in range(200)]
    upsert(quiet.stub, contacts[:100], workspace)
    for contact in contacts:
        contact.name = "new"
    dry = LiveCall(quiet.stub, workspace)
    dry.send(request(contacts, validate_only=True))
    expected = [UPDATED] * 100 + [CREATED] * 100
    assert dry.read_results(200).statuses == expected
    # The dry run is open: what it did is in its temporary tables and nowhere else.
    real = upsert(quiet.stub, contacts, workspace, timeout=30)
    assert [r.status for r in real.results] == expected
    dry.send(request(contacts[:50]))
    assert len(dry.read_results(250).results) == 250
    dry.half_close()
    assert dry.finish().code == grpc.StatusCode.OK


@pytest.mark.parametrize("unique", ["email", "email,phone,external_id"])
def test_option_validate_only_waits_for_no_writer(quiet, unique):
    """contract: option `validate_only`; every row of the workspace is locked and changed by a
    transaction that stays open."""
    workspace = quiet.create_workspace(unique)
    contacts = [pb.Contact(email=f"{n}@wait.example", phone=f"+1617555{n:04}", name="old")
                for n in range(100)]
    upsert(quiet.stub, contacts, workspace)
    connection = quiet.connect()
    connection.autocommit = False
    try:
        changed = connection.execute(
            "UPDATE contacts SET name = 'other' WHERE workspace_id ="
            " (SELECT id FROM workspaces WHERE name = %s)", (workspace,)).rowcount
        assert changed == 100
        for contact in contacts:
            contact.name = "new"
        contacts.append(pb.Contact(email="more@wait.example"))
        dry = bulk(quiet.stub, [request(contacts, validate_only=True)], workspace, timeout=30)
        assert dry.check_all(101).statuses == [UPDATED] * 100 + [CREATED]
        assert dry.code == grpc.StatusCode.OK
    finally:
        connection.rollback()
        connection.close()
