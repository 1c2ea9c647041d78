"""`grpc-status-details-bin`, as stock grpcio-status reads it: what a program can make of a failure."""

import re

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

import harness
from harness import bulk, failing, metadata, request, upsert
from rpcs import create_list
from stubs import pb
from test_database import Cluster
from wire import Connection, envelope

INVALID_ARGUMENT = grpc.StatusCode.INVALID_ARGUMENT
DETAILS = {kind.DESCRIPTOR.full_name: kind for kind in (
    error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo)}


def details(call):
    """By the names of their types. What holds for each failure is checked."""
    status = rpc_status.from_call(call)
    assert status is not None, "no details came"
    assert status.code == call.code().value[0]
    assert status.message == call.details()
    found = {}
    for packed in status.details:
        name = packed.TypeName()
        assert name not in found
        found[name] = DETAILS[name]()
        assert packed.Unpack(found[name])
    info = found["google.rpc.ErrorInfo"]
    assert info.domain == "contacts.v1"
    assert re.fullmatch(r"[A-Z][A-Z0-9_]{1,61}[A-Z0-9]", info.reason)
    assert ("google.rpc.BadRequest" in found) == (call.code() == INVALID_ARGUMENT)
    for violation in (found["google.rpc.BadRequest"].field_violations
                      if "google.rpc.BadRequest" in found else ()):
        assert violation.description in call.details()
    return {name.rsplit(".", 1)[1]: detail for name, detail in found.items()}


def check_retry(found, most):
    delay = found["RetryInfo"].retry_delay.ToMilliseconds()
    assert most / 2 <= delay <= most, delay


def fails(code, call):
    with failing(code) as failure:
        call()
    return details(failure.error)


@pytest.mark.parametrize("options,field", [
    ({"match_by": 99}, "match_by"), ({"write_mode": 99}, "write_mode"),
    ({"import_id": "x" * 129}, "import_id"), ({"default_dial_code": "x"}, "default_dial_code"),
    ({"match_by": pb.MATCH_BY_ID, "existence": pb.EXISTENCE_CREATE_ONLY}, "existence"),
])
def test_bad_options_are_named(stub, options, field):
    found = fails(INVALID_ARGUMENT, lambda: upsert(stub, [], **options))
    assert [v.field for v in found["BadRequest"].field_violations] == [field]
    assert found["ErrorInfo"].reason == "ARGUMENT_INVALID"
    assert "RetryInfo" not in found
    outcome = bulk(stub, [request(**options)])
    assert outcome.code == INVALID_ARGUMENT
    assert b"google.rpc.BadRequest" in outcome.trailers["grpc-status-details-bin"]


def test_an_over_long_batch_is_named(stub):
    contacts = [pb.Contact()] * 10_001
    found = fails(INVALID_ARGUMENT, lambda: upsert(stub, contacts))
    assert [v.field for v in found["BadRequest"].field_violations] == ["contacts"]
    assert found["ErrorInfo"].reason == "CONTACTS_TOO_MANY"
    assert bulk(stub, [request(contacts)]).code == INVALID_ARGUMENT
    found = fails(INVALID_ARGUMENT, lambda: stub.GetContacts(
        pb.GetContactsRequest(keys=[pb.ContactKey(email="a@b.example")] * 10_001), timeout=20))
    assert found["ErrorInfo"].reason == "KEYS_TOO_MANY"


@pytest.mark.parametrize("method", [
    "/contacts.v1.ContactService/UpsertContacts", "/contacts.v1.ContactService/GetContacts",
    "/contacts.v1.ContactService/ListLists", "/grpc.health.v1.Health/Check"])
def test_a_malformed_message_is_told_apart(server, method):
    call = server.channel.unary_unary(method)
    found = fails(INVALID_ARGUMENT, lambda: call(b"\x1a\x05abc", timeout=20))
    assert found["ErrorInfo"].reason == "MESSAGE_MALFORMED"
    assert len(found["BadRequest"].field_violations) == 1


def test_the_details_are_base64_without_padding(server):
    with Connection(server) as wire:
        for path in ("UpsertContacts", "GetContacts", "GetImport"):
            answer = wire.call(path, envelope(b"\x1a\x05abc"))
            told = {**answer.headers, **answer.trailers}["grpc-status-details-bin"]
            assert re.fullmatch(r"[A-Za-z0-9+/]+", told)


def test_what_is_unknown_is_named(server, stub, workspace):
    found = fails(grpc.StatusCode.NOT_FOUND, lambda: upsert(stub, [], "nowhere-é"[:7]))
    assert found["ErrorInfo"].reason == "WORKSPACE_UNKNOWN"
    assert dict(found["ErrorInfo"].metadata) == {"workspace": "nowhere"}
    found = fails(grpc.StatusCode.NOT_FOUND, lambda: upsert(stub, [], workspace, list_ids=[77]))
    assert found["ErrorInfo"].reason == "LIST_UNKNOWN"
    assert found["ErrorInfo"].metadata["list_id"] == "77"
    found = fails(grpc.StatusCode.NOT_FOUND, lambda: stub.GetImport(
        pb.GetImportRequest(import_id="none"), metadata=metadata(workspace), timeout=20))
    assert found["ErrorInfo"].reason == "IMPORT_UNKNOWN"
    create_list(stub, workspace, "twice")
    found = fails(grpc.StatusCode.ALREADY_EXISTS, lambda: create_list(stub, workspace, "twice"))
    assert found["ErrorInfo"].reason == "LIST_NAME_TAKEN"
    found = fails(grpc.StatusCode.FAILED_PRECONDITION, lambda: upsert(
        stub, [], workspace, match_by=pb.MATCH_BY_PHONE))
    assert found["ErrorInfo"].reason == "MATCH_BY_NOT_UNIQUE"


def test_a_wrong_number_says_which_one_is_expected(stub, workspace):
    call = stub.BulkUpsert(
        iter([request([pb.Contact(email="a@b.example")], first_sequence=7)]),
        metadata=metadata(workspace), timeout=20)
    with failing(grpc.StatusCode.OUT_OF_RANGE):
        list(call)
    info = details(call)["ErrorInfo"]
    assert info.reason == "SEQUENCE_WRONG"
    assert dict(info.metadata) == {"first_sequence": "7", "expected": "1"}


def test_an_import_that_was_taken_over_says_so(stub, workspace):
    first = harness.LiveCall(stub, workspace)
    first.send(request(import_id="shared"))
    first.read()
    second = harness.LiveCall(stub, workspace)
    second.send(request(import_id="shared"))
    second.read()
    assert first.finish().code == grpc.StatusCode.ABORTED
    found = details(first.call)
    assert found["ErrorInfo"].reason == "IMPORT_TAKEN_OVER"
    assert "RetryInfo" not in found
    second.half_close()
    second.finish()
    found = fails(grpc.StatusCode.FAILED_PRECONDITION, lambda: upsert(
        stub, [], workspace, import_id="shared", run_workflow=True))
    assert found["ErrorInfo"].reason == "IMPORT_OPTIONS_DIFFER"


def test_a_server_without_a_database_or_that_stops_says_when_to_call_again():
    cluster = Cluster()
    server = harness.Server(database_url=cluster.url)
    try:
        harness.get(server.stub, {"email": "a@b.example"})
        live = harness.LiveCall(server.stub)
        live.send(request())
        live.read()
        server.terminate()
        assert live.finish().code == grpc.StatusCode.UNAVAILABLE
        found = details(live.call)
        assert found["ErrorInfo"].reason == "SHUTTING_DOWN"
        check_retry(found, 200)
        server.wait()
        server.close()
        cluster.stop()
        server = harness.Server(database_url=cluster.url, up="without")
        found = fails(grpc.StatusCode.UNAVAILABLE, lambda: harness.get(
            server.stub, {"email": "a@b.example"}))
        assert found["ErrorInfo"].reason == "DATABASE_AWAY"
        check_retry(found, 1000)
        cluster.start()
    finally:
        server.close()
        cluster.close()
