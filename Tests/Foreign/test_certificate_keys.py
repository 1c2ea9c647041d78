"""A client's certificate that stands for a key: its workspace, its rights, its end."""

import pathlib
import shutil
import time

import grpc
import pytest

import harness
from certificates import Authority
from harness import CREATED, LiveCall, failing, request, upsert, wait_until
from keys import bearer, key_command, make_key
from stubs import pb
from test_tls import SecureServer

NAME = "spiffe://test.example/sales-importer"


@pytest.fixture(scope="module")
def mutual():
    directory = pathlib.Path(harness.new_directory())
    authority = Authority(directory)
    server = SecureServer(
        authority, authority.issue_server(), "--tls-client-ca", authority.certificate,
        client=authority.issue("client", f"URI:{NAME}"))
    server.nobody = authority.issue("nobody", "URI:spiffe://test.example/nobody")
    server.workspace_name = server.create_workspace()
    done = key_command(
        server, "create", "--workspace", server.workspace_name, "--name", "by certificate",
        "--rights", "write", "--certificate-name", NAME)
    assert done.returncode == 0 and done.stdout == "", done.stderr
    yield server
    server.close()
    shutil.rmtree(directory, ignore_errors=True)


def test_a_certificate_opens_its_workspace_with_its_rights(mutual):
    response = upsert(mutual.stub, [pb.Contact(email="a@b.example")])
    assert response.results[0].status == CREATED
    assert len(mutual.rows(mutual.workspace_name)) == 1 and not mutual.rows("default")
    with failing(grpc.StatusCode.PERMISSION_DENIED):
        mutual.stub.GetContacts(pb.GetContactsRequest(), timeout=20)
    with failing(grpc.StatusCode.NOT_FOUND):
        upsert(mutual.stub, [pb.Contact(email="a@b.example")], "default")


def test_another_certificate_stands_for_nothing(mutual):
    channel = mutual.connect_securely(client=mutual.nobody)
    stub = harness.rpc.ContactServiceStub(channel)
    with failing(grpc.StatusCode.UNAUTHENTICATED):
        upsert(stub, [pb.Contact(email="a@b.example")])
    # But whoever holds it may have a key besides.
    key = make_key(mutual, "besides", mutual.workspace_name)
    stub.ListLists(pb.ListListsRequest(), metadata=bearer(key), timeout=20)
    channel.close()


def test_a_name_stands_for_one_key_until_that_is_revoked(mutual):
    again = ["create", "--workspace", "default", "--name", "again", "--certificate-name", NAME]
    done = key_command(mutual, *again)
    assert done.returncode != 0 and "revoke that first" in done.stderr
    assert NAME in key_command(mutual, "list").stdout
    stream = LiveCall(mutual.stub)
    stream.send(request([pb.Contact(email="d@b.example")]))
    stream.read_results(1)
    done = key_command(
        mutual, "revoke", "--workspace", mutual.workspace_name, "--name", "by certificate")
    assert done.returncode == 0, done.stderr
    begun = time.monotonic()
    assert stream.finish().code == grpc.StatusCode.UNAUTHENTICATED
    assert time.monotonic() - begun < 5
    with failing(grpc.StatusCode.UNAUTHENTICATED):
        upsert(mutual.stub, [pb.Contact(email="a@b.example")])
    assert key_command(mutual, *again).returncode == 0
    assert upsert(mutual.stub, [pb.Contact(email="c@b.example")]).results[0].status == CREATED
    wait_until(lambda: len(mutual.rows("default")) == 1, what="the contact")
