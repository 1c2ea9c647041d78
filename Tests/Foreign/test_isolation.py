"""Two workspaces cannot see or touch each other, through any call, with any identifier."""

import grpc
import pytest

import harness
from harness import CREATED, FAILED, UNCHANGED, UPDATED, bulk, failing, request
from keys import CALLS, bearer, make_key
from stubs import pb
from tables import Tables

EMAIL, PHONE, EXTERNAL = "shared@both.example", "+16175551212", "shared-1"


class Side:
    """One of the two: a workspace, its key, and what it has."""

    def __init__(self, server, name):
        self.server = server
        self.name = server.create_workspace("email,phone,external_id")
        self.metadata = bearer(make_key(server, name, self.name))
        self.stub = server.stub
        self.list = self.call("CreateList", pb.CreateListRequest(name=f"list of {name}")).list
        response = self.call("UpsertContacts", pb.UpsertContactsRequest(
            options=pb.UpsertOptions(
                import_id=f"import of {name}", run_workflow=True, list_ids=[self.list.id]),
            contacts=[
                pb.Contact(email=EMAIL, phone=PHONE, external_id=EXTERNAL, name=name),
                pb.Contact(email=f"only@{name}.example", name=name)]))
        assert [result.status for result in response.results] == [CREATED, CREATED]
        self.ids = [result.id for result in response.results]

    def call(self, method, message):
        return getattr(self.stub, method)(message, metadata=self.metadata, timeout=20)

    def stream(self, method, message):
        return list(self.call(method, message))

    def state(self):
        """All rows of the workspace, in every table."""
        with Tables(self.server, self.name) as tables:
            return {
                table: tables.rows(
                    f"SELECT * FROM {table} WHERE workspace_id = %s ORDER BY 1, 2, 3", tables.id)
                for table in ("contacts", "lists", "list_members", "events", "event_offsets",
                              "imports", "import_progress", "import_failures", "access_keys")}


@pytest.fixture(scope="module")
def sides():
    server = harness.Server()
    # Lists are numbered by workspace: one more, so that the numbers differ.
    alice, bob = Side(server, "alice"), Side(server, "bob")
    alice.second = alice.call("CreateList", pb.CreateListRequest(name="second of alice")).list
    assert alice.second.id not in {item.id for item in bob.call(
        "ListLists", pb.ListListsRequest()).lists}
    # Of a number that bob's lists never reach.
    for number in range(50):
        alice.alone = alice.call("CreateList", pb.CreateListRequest(name=f"alice {number}")).list
    alice.hidden = pb.Contact(
        email="hidden@alice.example", phone="+16175550000", external_id="hidden")
    result, = alice.call("UpsertContacts", pb.UpsertContactsRequest(contacts=[alice.hidden])).results
    alice.ids.append(result.id)
    yield alice, bob
    server.close()


@pytest.fixture(autouse=True)
def alice_stays(sides):
    """Whatever bob does, nothing of alice's changes."""
    before = sides[0].state()
    yield
    assert sides[0].state() == before


def test_every_method_is_tried_here():
    tried = {name.split("_")[1] for name in globals() if name.startswith("test_")}
    for method in CALLS:
        assert method.lower() in tried, method


def test_getcontacts_finds_only_ones_own(sides):
    alice, bob = sides
    keys = [pb.ContactKey(email=EMAIL), pb.ContactKey(phone=PHONE),
            pb.ContactKey(external_id=EXTERNAL), pb.ContactKey(id=alice.ids[0]),
            pb.ContactKey(id=alice.ids[1]), pb.ContactKey(email="only@alice.example")]
    entries = bob.call("GetContacts", pb.GetContactsRequest(keys=keys)).entries
    found = [entry.record.contact for entry in entries]
    assert {contact.id for contact in found[:3]} == {bob.ids[0]}
    assert {contact.name for contact in found[:3]} == {"bob"}
    assert not any(entry.HasField("record") for entry in entries[3:])


def test_exportcontacts_holds_only_ones_own(sides):
    alice, bob = sides
    records = [record for chunk in bob.stream("ExportContacts", pb.ExportContactsRequest())
               for record in chunk.records]
    assert {record.contact.id for record in records} == set(bob.ids)
    with failing(grpc.StatusCode.NOT_FOUND):
        bob.stream("ExportContacts", pb.ExportContactsRequest(list_id=alice.second.id))


def test_getimport_of_anothers_is_not_found(sides):
    answers = set()
    for import_id in ("import of alice", "import of nobody"):
        with failing(grpc.StatusCode.NOT_FOUND) as failure:
            sides[1].call("GetImport", pb.GetImportRequest(import_id=import_id))
        answers.add(failure.error.details().replace(import_id, "ID"))
    assert len(answers) == 1


def test_listimports_holds_only_ones_own(sides):
    imports = sides[1].call("ListImports", pb.ListImportsRequest()).imports
    assert "import of bob" in {item.import_id for item in imports}
    assert not any("alice" in str(item) for item in imports)
    token = sides[0].call("ListImports", pb.ListImportsRequest(page_size=1)).next_page_token
    if token:
        page = sides[1].call("ListImports", pb.ListImportsRequest(page_token=token))
        assert not any("alice" in str(item) for item in page.imports)


def test_listlists_holds_only_ones_own(sides):
    found = sides[1].call("ListLists", pb.ListListsRequest()).lists
    assert not any("alice" in item.name for item in found)


def test_createlist_may_take_anothers_name(sides):
    made = sides[1].call("CreateList", pb.CreateListRequest(name="second of alice")).list
    sides[1].call("DeleteList", pb.DeleteListRequest(list_id=made.id))


def test_deletelist_of_anothers_is_not_found(sides):
    alice, bob = sides
    with failing(grpc.StatusCode.NOT_FOUND):
        bob.call("DeleteList", pb.DeleteListRequest(list_id=alice.alone.id))
    # Numbers are a workspace's own: bob's first list goes, alice's of the number stays.
    mine = bob.call("CreateList", pb.CreateListRequest(name="for deletion")).list
    bob.call("DeleteList", pb.DeleteListRequest(list_id=mine.id))
    assert alice.list.id in {
        item.id for item in alice.call("ListLists", pb.ListListsRequest()).lists}


def test_watchevents_tells_only_of_ones_own(sides):
    call = sides[1].call("WatchEvents", pb.WatchEventsRequest())
    events = []
    for response in call:
        events.extend(response.events)
        if len(events) >= 2:
            break
    call.cancel()
    assert {event.record.contact.id for event in events} == set(sides[1].ids)


@pytest.mark.parametrize("match_by", ["EMAIL", "PHONE", "EXTERNAL_ID", "ID"])
def test_upsertcontacts_with_anothers_identifiers(sides, match_by):
    alice, bob = sides
    contact = {
        "EMAIL": pb.Contact(email="only@alice.example", name="taken"),
        "PHONE": pb.Contact(phone=PHONE, name="bob"),
        "EXTERNAL_ID": pb.Contact(external_id=EXTERNAL, name="bob"),
        "ID": pb.Contact(id=alice.ids[0], name="taken")}[match_by]
    response = bob.call("UpsertContacts", pb.UpsertContactsRequest(
        options=pb.UpsertOptions(match_by=getattr(pb, f"MATCH_BY_{match_by}")),
        contacts=[contact]))
    result, = response.results
    if match_by == "ID":
        assert (result.status, result.error.reason) == (FAILED, "NOT_FOUND")
    elif match_by == "EMAIL":
        assert result.status in (CREATED, UNCHANGED) and result.id not in alice.ids
    else:
        assert result.status in (UNCHANGED, UPDATED) and result.id == bob.ids[0]


def test_upsertcontacts_joins_no_list_of_anothers(sides):
    with failing(grpc.StatusCode.NOT_FOUND):
        sides[1].call("UpsertContacts", pb.UpsertContactsRequest(
            options=pb.UpsertOptions(list_ids=[sides[0].alone.id])))
    result, = sides[1].call("UpsertContacts", pb.UpsertContactsRequest(contacts=[
        pb.Contact(email=EMAIL, list_ids=[sides[0].alone.id])])).results
    assert result.error.reason == "LIST_UNKNOWN"


def test_upsertcontacts_that_only_validates_sees_nothing_of_anothers(sides):
    alice, bob = sides
    options = dict(validate_only=True)
    with failing(grpc.StatusCode.NOT_FOUND):
        bob.call("UpsertContacts", pb.UpsertContactsRequest(
            options=pb.UpsertOptions(list_ids=[alice.alone.id], **options)))
    results = bob.call("UpsertContacts", pb.UpsertContactsRequest(
        options=pb.UpsertOptions(**options), contacts=[
            pb.Contact(email=alice.hidden.email, name="taken"),
            pb.Contact(email="fresh@bob.example", list_ids=[alice.alone.id])])).results
    assert results[0].status == CREATED and results[0].id not in alice.ids
    assert results[1].error.reason == "LIST_UNKNOWN"


def test_upsertcontacts_with_an_identifier_that_only_another_has(sides):
    """Neither a conflict nor the other's id."""
    alice, bob = sides
    result, = bob.call("UpsertContacts", pb.UpsertContactsRequest(contacts=[pb.Contact(
        email="own@bob.example", phone=alice.hidden.phone,
        external_id=alice.hidden.external_id)])).results
    assert result.status == CREATED and result.id not in alice.ids


def test_bulkupsert_under_anothers_import(sides):
    """The name of an import is its workspace's own: neither resumed nor taken over."""
    alice, bob = sides
    outcome = harness.Outcome()
    call = bob.stub.BulkUpsert(
        iter([request([pb.Contact(email="new@bob.example")], import_id="import of alice")]),
        metadata=bob.metadata, timeout=20)
    for response in call:
        outcome.take(response)
    assert not outcome.started.resumed and outcome.started.committed_through == 0
    assert len(outcome.results) == 1 and outcome.results[0].id not in alice.ids


def test_bulkupsert_with_anothers_workspace_named(sides):
    outcome = bulk(
        sides[1].stub, [request([pb.Contact(email=EMAIL)])],
        workspace=sides[0].name)
    assert outcome.code == grpc.StatusCode.UNAUTHENTICATED
    call = sides[1].stub.BulkUpsert(
        iter([request([pb.Contact(email=EMAIL)])]), timeout=20,
        metadata=sides[1].metadata + [("contacts-workspace", sides[0].name)])
    with failing(grpc.StatusCode.NOT_FOUND):
        list(call)
