"""Three other bulk APIs, each example of their documents expressed as a call of this service.

An adapter is two small functions: the document's JSON request to UpsertContactsRequest, and the
response to the document's JSON response. The examples are copied from the documents; the one that is
not JSON there (Sociocs leaves out quotes around its mail addresses) is mended.
"""

import pytest

from harness import CREATED, FAILED, UNCHANGED, UPDATED, field, get, metadata
from rpcs import create_list, events_so_far, export
from stubs import pb


def call(stub, workspace, message):
    return stub.UpsertContacts(message, metadata=metadata(workspace), timeout=60)


def custom(values):
    return [field(name, value) for name, value in values.items()]


def optional(**values):
    return {name: value for name, value in values.items() if value is not None}


# Autopilot: by email, merge, the ids in order. A custom name tells its kind: `string--Test--Field`.


def autopilot_request(document):
    contacts = []
    for item in document["contacts"]:
        contacts.append(pb.Contact(
            **optional(email=item.get("Email"), first_name=item.get("FirstName"),
                       last_name=item.get("LastName"), phone=item.get("Phone")),
            fields=custom(item.get("custom", {}))))
    return pb.UpsertContactsRequest(
        options=pb.UpsertOptions(match_by=pb.MATCH_BY_EMAIL, write_mode=pb.WRITE_MODE_MERGE),
        contacts=contacts)


def autopilot_response(answer):
    return {"contact_ids": [f"person_{result.id.upper()}" for result in answer.results]}


AUTOPILOT = {
    "contacts": [
        {"FirstName": "Slarty", "LastName": "Bartfast", "Email": "test@slarty.com",
         "custom": {"string--Test--Field": "This is a test"}},
        {"FirstName": "Jerry", "LastName": "Seinfeld", "Email": "jerry@seinfeld.com"},
        {"FirstName": "Elaine", "LastName": "Benes", "Email": "elaine@seinfeld.com"},
    ]
}


def test_autopilot(server, stub, workspace):
    """contract: seed `Autopilot`."""
    answer = call(stub, workspace, autopilot_request(AUTOPILOT))
    assert [r.status for r in answer.results] == [CREATED] * 3
    document = autopilot_response(answer)
    ids = dict(server.rows(workspace, "email, id::text"))
    assert document == {"contact_ids": [
        "person_" + ids[item["Email"]].upper() for item in AUTOPILOT["contacts"]]}
    assert sorted(server.rows(workspace, "email, first_name, last_name, fields")) == sorted([
        ("test@slarty.com", "Slarty", "Bartfast", {"string--Test--Field": "This is a test"}),
        ("jerry@seinfeld.com", "Jerry", "Seinfeld", {}),
        ("elaine@seinfeld.com", "Elaine", "Benes", {})])
    # The same contacts again have the same ids, and what is left out stays.
    again = {"contacts": [{"Email": "Test@Slarty.com", "LastName": "Bartfast"},
                          {"Email": "jerry@seinfeld.com", "custom": {"integer--Age": 35}}]}
    answer = call(stub, workspace, autopilot_request(again))
    assert [r.status for r in answer.results] == [UNCHANGED, UPDATED]
    assert autopilot_response(answer)["contact_ids"] == document["contact_ids"][:2]
    # An id that they were given finds the contact here.
    id_ = document["contact_ids"][1].removeprefix("person_")
    entry = get(stub, {"id": id_}, workspace=workspace)[0]
    assert entry.record.contact.fields == [field("integer--Age", 35)]


def test_autopilot_more_than_a_hundred_contacts(stub, workspace):
    """contract: seed `Autopilot`; its limit is not inherited."""
    contacts = [{"Email": f"{n}@many.com"} for n in range(101)]
    document = autopilot_response(call(stub, workspace, autopilot_request({"contacts": contacts})))
    assert len(set(document["contact_ids"])) == 101


# AutoSend: by email, which is lower-cased; three counts.


def autosend_request(document):
    contacts = []
    for item in document["contacts"]:
        contacts.append(pb.Contact(
            email=item["email"],
            **optional(first_name=item.get("firstName"), last_name=item.get("lastName"),
                       external_id=item.get("userId")),
            fields=custom(item.get("customFields", {}))))
    return pb.UpsertContactsRequest(
        options=pb.UpsertOptions(
            match_by=pb.MATCH_BY_EMAIL, run_workflow=document.get("runWorkflow", False),
            results=pb.RESULT_MODE_SUMMARY),
        contacts=contacts)


def autosend_response(answer):
    summary = answer.summary
    return {"success": True, "data": {
        "successCount": summary.total - summary.failed, "failedCount": summary.failed,
        "totalCount": summary.total}}


AUTOSEND = {
    "contacts": [{
        "email": "john.doe@example.com", "firstName": "John", "lastName": "Doe", "userId": "user_12345",
        "customFields": {"company": "Acme Corp", "role": "Developer", "plan": "premium"},
    }],
    "runWorkflow": False,
}


def test_autosend(server, stub, workspace):
    """contract: seed `AutoSend`."""
    answer = call(stub, workspace, autosend_request(AUTOSEND))
    assert list(answer.results) == []
    assert autosend_response(answer) == {
        "success": True, "data": {"successCount": 1, "failedCount": 0, "totalCount": 1}}
    assert server.rows(workspace, "email, first_name, last_name, external_id, fields") == [
        ("john.doe@example.com", "John", "Doe", "user_12345",
         {"company": "Acme Corp", "role": "Developer", "plan": "premium"})]
    mixed = {"contacts": [{"email": "John.DOE@Example.com", "firstName": "Jonny"}, {"email": "bad"},
                          {"email": "NEW@example.com"}]}
    assert autosend_response(call(stub, workspace, autosend_request(mixed))) == {
        "success": True, "data": {"successCount": 2, "failedCount": 1, "totalCount": 3}}
    assert sorted(server.rows(workspace, "email, first_name, last_name")) == [
        ("john.doe@example.com", "Jonny", "Doe"), ("new@example.com", None, None)]


@pytest.mark.parametrize("run", [False, True])
def test_autosend_run_workflow(stub, workspace, run):
    """contract: seed `AutoSend`, `runWorkflow`."""
    call(stub, workspace, autosend_request(AUTOSEND | {"runWorkflow": run}))
    events = events_so_far(stub, workspace)
    assert [e.record.contact.external_id for e in events] == ["user_12345"] * run


# Sociocs: by phone, replace; a list; extra fields of any kind.


def sociocs_request(document):
    contacts = []
    for item in document["records"]:
        contacts.append(pb.Contact(
            phone=item["phone_number"], **optional(name=item.get("name")),
            fields=custom(item.get("extra_fields", {}))))
    return pb.UpsertContactsRequest(
        options=pb.UpsertOptions(
            match_by=pb.MATCH_BY_PHONE, write_mode=pb.WRITE_MODE_REPLACE,
            default_dial_code=document.get("phone_number_cc", ""),
            list_ids=[document.get("list_id", 0)], results=pb.RESULT_MODE_FAILURES),
        contacts=contacts)


def sociocs_response(answer):
    failures = [{"msg": r.error.message} for r in answer.results if r.status == FAILED]
    return {"status": "error", "errors": failures} if failures else {"status": "success"}


SOCIOCS = {
    "list_id": 0,
    "phone_number_cc": "1",
    "records": [
        {"phone_number": "16175551212", "name": "John Johnson",
         "extra_fields": {"email_address": "john@example.com"}},
        {"phone_number": "16175551111", "name": "David Davidson",
         "extra_fields": {"email_address": "david@example.com"}},
    ],
}


def stored(server, workspace):
    return sorted(server.rows(workspace, "phone, name, fields"))


def test_sociocs(server, stub, workspace_of):
    """contract: seed `Sociocs`; everything is overwritten, the extra fields too."""
    workspace = workspace_of("phone")
    assert sociocs_response(call(stub, workspace, sociocs_request(SOCIOCS))) == {"status": "success"}
    assert stored(server, workspace) == [
        ("+16175551111", "David Davidson", {"email_address": "david@example.com"}),
        ("+16175551212", "John Johnson", {"email_address": "john@example.com"})]
    # The table's example of extra fields, and a record that leaves its name out.
    again = {"phone_number_cc": "1", "records": [
        {"phone_number": "6175551212", "name": "John Johnson", "extra_fields": {
            "email_address": "john@example.com", "id": 987123, "score": 4.5, "vip": True}},
        {"phone_number": "+16175551111", "extra_fields": {"id": 1}}]}
    assert sociocs_response(call(stub, workspace, sociocs_request(again))) == {"status": "success"}
    assert stored(server, workspace) == [
        ("+16175551111", None, {"id": 1}),
        ("+16175551212", "John Johnson", {
            "email_address": "john@example.com", "id": 987123, "score": 4.5, "vip": True})]
    entry = get(stub, {"phone": "16175551212"}, workspace=workspace)[0]
    kinds = {f.name: f.WhichOneof("value") for f in entry.record.contact.fields}
    assert kinds == {"email_address": "string_value", "id": "integer_value",
                     "score": "number_value", "vip": "boolean_value"}


def test_sociocs_errors(server, stub, workspace_of):
    """contract: seed `Sociocs`, its errors."""
    workspace = workspace_of("phone")
    bad = {"records": [{"phone_number": "12", "name": "x"}, {"phone_number": "+16175551212"}]}
    document = sociocs_response(call(stub, workspace, sociocs_request(bad)))
    assert document["status"] == "error" and len(document["errors"]) == 1
    assert document["errors"][0]["msg"]
    assert stored(server, workspace) == [("+16175551212", None, {})]


def test_sociocs_list(server, stub, workspace_of):
    """contract: seed `Sociocs`, `list_id`; a contact that is overwritten stays in its lists."""
    workspace = workspace_of("phone")
    number = create_list(stub, workspace, "customers").id
    call(stub, workspace, sociocs_request(SOCIOCS | {"list_id": number}))
    assert len(export(stub, workspace, number)) == 2
    call(stub, workspace, sociocs_request(SOCIOCS))
    assert {r.contact.phone for r in export(stub, workspace, number)} == {
        "+16175551212", "+16175551111"}
