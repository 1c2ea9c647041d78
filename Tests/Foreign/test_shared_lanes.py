"""Calls that share a transaction, or wait for one another, and go their own ways."""

import subprocess

import grpc
import pytest

import harness
from harness import CREATED, FAILED, LiveCall, bulk, failing, request, wait_until
from rpcs import get_import
from stubs import pb
from test_commit_faults import (any_answer, cluster, contact, contacts, has_arrived,  # noqa: F401
                                lane_held, named, opened, single, start_upsert)
from triggers import trigger

SECOND_GATE = 4712


def wait_for_one_at_the_second_gate(server):
    wait_until(lambda: server.query(
        "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND classid::bigint = %s"
        " AND NOT granted", SECOND_GATE), what="the wait at the second gate")


def test_settings_change_once_a_part_of_the_transaction_is_committed(single):  # noqa: F811
    """A transaction that was cut goes on without the workspace whose part is done."""
    changed, other = single.create_workspace(), single.create_workspace()
    with (trigger(single, "waits", f"PERFORM pg_advisory_xact_lock({SECOND_GATE}, 0)"),
          trigger(single, "raises", "RAISE EXCEPTION 'no'"), single.connect() as owner):
        owner.execute("SELECT pg_advisory_lock(%s, 0)", (SECOND_GATE,))
        with lane_held(single):
            done = start_upsert(single, changed, contacts(1, 1))
            any_answer(single)
            # The transaction is cut before each contact that raises; rows are written in key order.
            going_on = start_upsert(single, other, [
                contact("raises", "a"), contact("waits", "b"), contact("raises", "c"),
                contact("x", "d")])
            any_answer(single)
        wait_for_one_at_the_second_gate(single)
        setting = subprocess.Popen(
            [harness.CONTACTSD, "workspace", "set", changed, "--unique", "email,phone",
             "--database-url", single.database_url])
        assert setting.wait(timeout=60) == 0
        owner.execute("SELECT pg_advisory_unlock(%s, 0)", (SECOND_GATE,))
        assert [r.status for r in done.result(timeout=60).results] == [CREATED]
        assert [r.status for r in going_on.result(timeout=60).results] == [
            FAILED, CREATED, FAILED, CREATED]
    assert named(single, other) == {"b": "waits", "d": "x"}


def test_a_fault_as_of_the_database_ends_the_call_of_its_contact_alone(single):  # noqa: F811
    """What says that the database cannot work may come from a trigger for one contact."""
    one, two = single.create_workspace(), single.create_workspace()
    raised = "RAISE EXCEPTION 'no' USING ERRCODE = 'insufficient_privilege'"
    with trigger(single, "raises", raised):
        with lane_held(single):
            calls = [start_upsert(single, two, contacts(1, 3)),
                     start_upsert(single, one, [contact("x", "a"), contact("raises", "b")]),
                     start_upsert(single, two, contacts(4, 6))]
            any_answer(single)
        for call in (calls[0], calls[2]):
            assert [r.status for r in call.result(timeout=60).results] == [CREATED] * 3
        with failing(grpc.StatusCode.UNAVAILABLE):
            calls[1].result(timeout=60)
    assert named(single, two) == {str(n): "x" for n in range(1, 7)}
    assert named(single, one) == {"a": "x"}


@pytest.mark.parametrize("is_unary", [False, True])
def test_a_cancelled_call_does_not_take_the_import_from_the_next(single, is_unary):  # noqa: F811
    """Both wait for the import's row; the one that was cancelled is not there any more."""
    workspace = single.create_workspace()
    bulk(single.stub, [request(contacts(1, 1), import_id="mine")], workspace).check_ok(1)
    with single.connect() as other, other.transaction():
        other.execute("SELECT 1 FROM imports WHERE workspace_id = (SELECT id FROM workspaces"
                      " WHERE name = %s) FOR UPDATE", (workspace,))
        if is_unary:
            options = pb.UpsertOptions(import_id="mine")
            first = single.stub.UpsertContacts.future(
                pb.UpsertContactsRequest(options=options, contacts=contacts(1, 2)),
                metadata=harness.metadata(workspace), timeout=60)
            any_answer(single)
            first.cancel()
        else:
            first = LiveCall(single.stub, workspace)
            first.send(request(contacts(1, 2), 1, import_id="mine"))
            has_arrived(single, first)
            first.call.cancel()
            first.half_close()
        any_answer(single)
        second = LiveCall(single.stub, workspace)
        second.send(request(contacts(1, 2), 1, import_id="mine"))
        has_arrived(single, second)
    second.read()
    second.send(request(contacts(3, 3)))
    second.half_close()
    outcome = second.finish()
    assert outcome.code == grpc.StatusCode.OK, outcome.details
    assert [r.status for r in outcome.results] == [pb.UPSERT_STATUS_REPLAYED, CREATED, CREATED]
    assert get_import(single.stub, workspace, "mine").state == pb.IMPORT_STATE_FINISHED


def test_an_import_that_stays_locked_is_told_to_be_tried_again(single):  # noqa: F811
    workspace = single.create_workspace()
    bulk(single.stub, [request(contacts(1, 1), import_id="mine")], workspace).check_ok(1)
    with single.connect() as other, other.transaction():
        other.execute("SELECT 1 FROM imports WHERE workspace_id = (SELECT id FROM workspaces"
                      " WHERE name = %s) FOR UPDATE", (workspace,))
        ended = bulk(single.stub, [request(import_id="mine")], workspace)
        assert ended.code == grpc.StatusCode.UNAVAILABLE
        assert "import_id" in ended.details


def test_failures_of_an_earlier_call_do_not_count_for_max_failures(single):  # noqa: F811
    """contract: option `max_failures`; a contact fails once."""
    workspace = single.create_workspace()
    sent = [contact("x", "a@a"), *contacts(1, 1), pb.Contact(email="1@commit.example", list_ids=[9])]
    first = bulk(single.stub, [request(sent, import_id="mine")], workspace)
    assert [r.status for r in first.results] == [FAILED, CREATED, FAILED]
    more = [*sent, *contacts(2, 2)]
    again = bulk(single.stub, [request(more, 1, import_id="mine", max_failures=1)], workspace)
    assert again.code == grpc.StatusCode.OK, again.details
    assert [r.status for r in again.results] == [
        FAILED, pb.UPSERT_STATUS_REPLAYED, FAILED, CREATED]
    assert list(again.results[:1]) == list(first.results[:1])
    assert again.results[2] == first.results[2]
