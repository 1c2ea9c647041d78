"""Contact lists and the export."""

import random

import grpc
import pytest

from harness import CREATED, UNCHANGED, bulk, failing, field, get, metadata, request, upsert
from rpcs import create_list, delete_list, export, get_import, lists
from stubs import pb


def test_service_create_list_and_list_lists(stub, workspace_of):
    """contract: services `CreateList`, `ListLists`."""
    one, two = workspace_of(), workspace_of()
    assert lists(stub, one) == []
    made = [create_list(stub, one, name) for name in ("a", "Ünïcödé 李", "b")]
    assert all(found.id > 0 and found.created_at.seconds for found in made)
    assert len({found.id for found in made}) == 3
    assert lists(stub, one) == sorted(made, key=lambda found: found.id)
    assert lists(stub, two) == []
    with failing(grpc.StatusCode.ALREADY_EXISTS):
        create_list(stub, one, "a")
    create_list(stub, two, "a")
    assert len(lists(stub, one)) == 3


def test_service_create_list_needs_a_name(stub, workspace):
    """contract: service `CreateList`; a bad argument."""
    for name in ("", "a\0b"):
        with failing(grpc.StatusCode.INVALID_ARGUMENT):
            create_list(stub, workspace, name)


def test_service_delete_list_keeps_its_contacts(server, stub, workspace):
    """contract: service `DeleteList`."""
    one, two = (create_list(stub, workspace, name).id for name in ("one", "two"))
    upsert(stub, [pb.Contact(email="a@l.example"), pb.Contact(email="b@l.example")], workspace,
           list_ids=[one, two])
    delete_list(stub, workspace, one)
    assert [found.id for found in lists(stub, workspace)] == [two]
    assert len(server.rows(workspace)) == 2
    assert server.query(
        "SELECT count(*) FROM list_members WHERE list_id = %s AND workspace_id ="
        " (SELECT id FROM workspaces WHERE name = %s)", one, workspace) == [(0,)]
    entry = get(stub, {"email": "a@l.example"}, workspace=workspace)[0]
    assert list(entry.record.contact.list_ids) == [two]
    with failing(grpc.StatusCode.NOT_FOUND):
        upsert(stub, [], workspace, list_ids=[one])
    result = upsert(stub, [pb.Contact(email="a@l.example", list_ids=[one])], workspace).results[0]
    assert result.error.reason == "LIST_UNKNOWN"
    with failing(grpc.StatusCode.NOT_FOUND):
        delete_list(stub, workspace, one)
    with failing(grpc.StatusCode.NOT_FOUND):
        export(stub, workspace, one)
    # A number is not given twice, and a name may be.
    assert create_list(stub, workspace, "one").id not in (one, two)


def test_lists_of_another_workspace_are_unknown(stub, workspace_of):
    """contract: rule `lists`; tenants do not see one another."""
    one, two = workspace_of(), workspace_of()
    for number in range(3):
        create_list(stub, one, f"list {number}")
    number = lists(stub, one)[-1].id
    outcome = bulk(stub, [request([pb.Contact(email="a@l.example")], list_ids=[number])], two)
    assert outcome.code == grpc.StatusCode.NOT_FOUND
    result = upsert(stub, [pb.Contact(email="a@l.example", list_ids=[number])], two).results[0]
    assert result.error.reason == "LIST_UNKNOWN"
    for call in (export, delete_list):
        with failing(grpc.StatusCode.NOT_FOUND):
            call(stub, two, number)
    assert len(lists(stub, one)) == 3


def test_an_unknown_list_of_the_import_leaves_no_import(stub, workspace):
    """contract: option `list_ids`; NOT_FOUND before anything is written."""
    number = create_list(stub, workspace).id
    outcome = bulk(stub, [request(
        [pb.Contact(email="a@l.example")], import_id="mine", list_ids=[number, number + 1])], workspace)
    assert outcome.code == grpc.StatusCode.NOT_FOUND
    with failing(grpc.StatusCode.NOT_FOUND):
        get_import(stub, workspace, "mine")
    assert export(stub, workspace) == []


def test_service_export_contacts_tells_everything_in_order(stub, workspace):
    """contract: service `ExportContacts`; a workspace or a list, in chunks, by id."""
    choice = random.Random(3)
    numbers = [create_list(stub, workspace, name).id for name in ("one", "two")]
    contacts = [pb.Contact(
        email=f"{n}@export.example", name=choice.choice(["", "Zoë"]), list_ids=choice.sample(
            numbers, choice.randrange(3)),
        fields=[field("n", n), field("f", float(n)), field("s", str(n)), field("b", n % 2 == 0),
                field("t", timestamp_value={"seconds": n})]) for n in range(10_000)]
    results = upsert(stub, contacts, workspace).results
    assert {r.status for r in results} == {CREATED}
    wanted = {}
    for contact, result in zip(contacts, results):
        contact.id = result.id
        if not contact.name:
            contact.ClearField("name")
        wanted[result.id] = canonical(contact)
    for number in [0, *numbers]:
        records = export(stub, workspace, number)
        assert [r.contact.id for r in records] == sorted(
            id_ for id_, contact in wanted.items() if not number or number in contact.list_ids)
        assert all(canonical(r.contact) == wanted[r.contact.id] for r in records)
        assert all(r.created_at == r.updated_at and r.created_at.seconds for r in records)
    # What an export tells can be sent again, by id.
    again = upsert(stub, [r.contact for r in export(stub, workspace)], workspace,
                   match_by=pb.MATCH_BY_ID, write_mode=pb.WRITE_MODE_REPLACE).results
    assert {r.status for r in again} == {UNCHANGED}


def canonical(contact):
    copy = pb.Contact()
    copy.CopyFrom(contact)
    del copy.fields[:], copy.list_ids[:]
    copy.fields.extend(sorted(contact.fields, key=lambda f: f.name))
    copy.list_ids.extend(sorted(contact.list_ids))
    return copy


def test_service_export_contacts_of_nothing(stub, workspace):
    """contract: service `ExportContacts`; an empty workspace, an empty list, an unknown one."""
    number = create_list(stub, workspace).id
    assert export(stub, workspace) == export(stub, workspace, number) == []
    with failing(grpc.StatusCode.NOT_FOUND):
        export(stub, workspace, number + 1)
    with failing(grpc.StatusCode.NOT_FOUND):
        export(stub, "no-such")


@pytest.mark.parametrize("name", ["ListLists", "ListImports", "CreateList", "DeleteList", "GetImport"])
def test_an_unknown_workspace_is_not_found_by_each_service(stub, name):
    """contract: an unknown workspace in metadata is NOT_FOUND."""
    message = getattr(pb, f"{name}Request")()
    if name == "CreateList":
        message.name = "x"
    if name == "GetImport":
        message.import_id = "x"
    with failing(grpc.StatusCode.NOT_FOUND):
        getattr(stub, name)(message, metadata=metadata("no-such"), timeout=60)
