"""UpsertContacts and GetContacts."""

import uuid

import grpc
import pytest

from harness import CREATED, FAILED, UNCHANGED, check_result, check_summary, failing, get, upsert
from stubs import pb


def test_ten_thousand_contacts_are_answered_in_order_and_found_again(server, stub, workspace):
    count = 10_000
    contacts = [pb.Contact(email=f"{n}@unary.example" if n % 1000 else "bad")
                for n in range(1, count + 1)]
    response = upsert(stub, contacts, workspace)
    assert response.import_id
    assert [r.sequence for r in response.results] == list(range(1, count + 1))
    for result in response.results:
        check_result(result)
    check_summary(response.summary, response.results)
    assert response.summary.committed_through == count
    assert [r.sequence for r in response.results if r.status == FAILED] == list(
        range(1000, count + 1, 1000))
    stored = {row[0]: row[1] for row in server.rows(workspace)}
    assert len(stored) == count - 10
    for contact, result in zip(contacts, response.results):
        assert result.status == FAILED or stored[result.id] == contact.email

    again = upsert(stub, contacts, workspace)
    assert [r.id for r in again.results] == [r.id for r in response.results]
    assert again.summary.unchanged == count - 10
    assert again.import_id != response.import_id

    keys = [{"email": f"{n}@unary.example"} for n in range(count, 0, -1)]
    entries = get(stub, *keys, workspace=workspace)
    assert [e.found for e in entries] == [n % 1000 != 0 for n in range(count, 0, -1)]
    assert [e.record.contact.id for e in entries] == [r.id for r in reversed(response.results)]


def test_more_than_ten_thousand_contacts_are_an_invalid_argument(server, stub, workspace):
    contacts = [pb.Contact(email=f"{n}@over.example") for n in range(10_001)]
    with failing(grpc.StatusCode.INVALID_ARGUMENT):
        upsert(stub, contacts, workspace)
    assert server.rows(workspace) == []


def test_a_call_without_contacts_is_ok(stub):
    response = stub.UpsertContacts(pb.UpsertContactsRequest(), timeout=10)
    assert list(response.results) == []
    assert response.summary == pb.BulkUpsertSummary()
    assert response.import_id


def test_a_key_that_comes_twice_is_applied_in_order(stub, domain):
    contacts = [pb.Contact(email=f"a@{domain}", name=name) for name in ("a", "b", "b", "a")]
    results = upsert(stub, contacts).results
    assert [r.status for r in results] == [
        CREATED, pb.UPSERT_STATUS_UPDATED, UNCHANGED, pb.UPSERT_STATUS_UPDATED]
    assert get(stub, {"email": f"a@{domain}"})[0].record.contact.name == "a"


def test_contacts_are_found_by_each_identifier_in_any_notation_and_in_order(stub, workspace_of):
    workspace = workspace_of("email,phone,external_id")
    contact = pb.Contact(email="Some.One@Find.example", phone="+44 20 7946 0958", external_id="X 1")
    made = upsert(stub, [contact], workspace).results[0].id
    keys = [
        ({"id": made}, True), ({"email": " SOME.one@find.EXAMPLE "}, True),
        ({"phone": "0044 (20) 7946-0958"}, True), ({"phone": "442079460958"}, True),
        ({"external_id": "X 1"}, True), ({"id": str(uuid.uuid4())}, False),
        ({"id": made.upper()}, True), ({"email": "other@find.example"}, False),
        ({"phone": "+442079460959"}, False), ({"external_id": "x 1"}, False), ({"id": made}, True),
    ]
    entries = get(stub, *(key for key, _ in keys), workspace=workspace)
    assert [e.found for e in entries] == [found for _, found in keys]
    for entry in entries:
        assert entry.HasField("record") == entry.found
        if entry.found:
            assert entry.record.contact == pb.Contact(
                id=made, email="some.one@find.example", phone="+442079460958", external_id="X 1")
            assert entry.record.HasField("created_at") and entry.record.HasField("updated_at")


def test_texts_that_only_look_the_same_are_two_identifiers(stub, workspace_of):
    """An external id is kept as it is: precomposed and decomposed letters are different bytes."""
    workspace = workspace_of("email,external_id")
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    made = [result.id for result in upsert(stub, [
        pb.Contact(email="a@find.example", external_id=composed),
        pb.Contact(email="b@find.example", external_id=decomposed)], workspace).results]
    keys = [composed, decomposed, composed]
    entries = get(stub, *({"external_id": key} for key in keys), workspace=workspace)
    assert [entry.record.contact.id for entry in entries] == [made[0], made[1], made[0]]
    assert [entry.record.contact.external_id for entry in entries] == keys


@pytest.mark.parametrize("key", [
    {"email": "no mail"}, {"email": ""}, {"phone": "1"}, {"phone": ""}, {"external_id": ""},
    {"external_id": "x" * 300}, {"id": ""}, {"id": "no-uuid"}, {"email": "a\0@b.example"},
    {"external_id": "a\0b"},
], ids=str)
def test_a_key_that_no_contact_can_have_fails_neither_its_neighbours_nor_the_server(
        stub, domain, key):
    """The contract says found or not; a refusal of the call as a bad argument is let pass too."""
    upsert(stub, [pb.Contact(email=f"a@{domain}")])
    message = pb.GetContactsRequest(keys=[
        pb.ContactKey(email=f"a@{domain}"), pb.ContactKey(**key), pb.ContactKey(email=f"a@{domain}")])
    try:
        entries = stub.GetContacts(message, timeout=10).entries
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    else:
        assert [e.found for e in entries] == [True, False, True]


def test_a_key_with_nothing_set_is_an_invalid_argument(stub):
    with failing(grpc.StatusCode.INVALID_ARGUMENT):
        stub.GetContacts(
            pb.GetContactsRequest(keys=[pb.ContactKey(email="a@b.example"), pb.ContactKey()]),
            timeout=10)


def test_more_than_ten_thousand_keys_are_an_invalid_argument(stub):
    with failing(grpc.StatusCode.INVALID_ARGUMENT):
        get(stub, *[{"email": "a@b.example"}] * 10_001)


def test_no_keys_are_no_entries(stub):
    assert get(stub) == []


def test_messages_to_callers_hold_no_sql_and_no_host(stub, domain):
    """Each refusal that this suite can cause, as a caller reads it."""
    texts = []
    for call in (
        lambda: upsert(stub, [], match_by=pb.MATCH_BY_PHONE), lambda: upsert(stub, [], "no-such"),
        lambda: upsert(stub, [], default_dial_code="x"), lambda: upsert(stub, [], list_ids=[4]),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call()
        texts.append(caught.value.details())
    bad = [pb.Contact(), pb.Contact(email="x"), pb.Contact(email=f"a@{domain}", phone="1"),
           pb.Contact(email=f"a@{domain}", list_ids=[4])]
    texts += [r.error.message for r in upsert(stub, bad).results]
    for text in texts:
        assert text
        for word in ("SELECT", "INSERT", "pg_", "contacts_", "relation", "127.0.0.1", "/tmp"):
            assert word not in text
