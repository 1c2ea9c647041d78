"""Keys, as an operator makes and revokes them."""

import re

from harness import CONTACTSD, run
from stubs import pb


def key_command(server, command, *arguments):
    place = (["--database-url", server.database_url] if server.database_url
             else ["--data-dir", server.data_dir])
    return run([CONTACTSD, "key", command, *arguments, *place])


def make_key(server, name="k", workspace="default", *arguments):
    """Makes a key; standard output must be the key and nothing else."""
    done = key_command(
        server, "create", "--workspace", workspace, "--name", name, *arguments)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"ck_[0-9a-f]{16}_[0-9a-f]{64}\n", done.stdout)
    return done.stdout.strip()


def revoke(server, key):
    done = key_command(server, "revoke", key.split("_")[1])
    assert done.returncode == 0, done.stderr


def bearer(key):
    return [("authorization", f"Bearer {key}")]


def _drain(call):
    return list(call)


def _watch(stub, metadata):
    """A watcher never ends by itself."""
    call = stub.WatchEvents(pb.WatchEventsRequest(), metadata=metadata, timeout=20)
    call.initial_metadata()
    if not call.is_active():
        list(call)
    call.cancel()


# Every method of the service, called with some metadata; each raises what the call ended with.
CALLS = {
    "BulkUpsert": lambda stub, metadata: _drain(
        stub.BulkUpsert(iter([pb.BulkUpsertRequest()]), metadata=metadata, timeout=20)),
    "UpsertContacts": lambda stub, metadata: stub.UpsertContacts(
        pb.UpsertContactsRequest(), metadata=metadata, timeout=20),
    "GetContacts": lambda stub, metadata: stub.GetContacts(
        pb.GetContactsRequest(), metadata=metadata, timeout=20),
    "ExportContacts": lambda stub, metadata: _drain(
        stub.ExportContacts(pb.ExportContactsRequest(), metadata=metadata, timeout=20)),
    "GetImport": lambda stub, metadata: stub.GetImport(
        pb.GetImportRequest(import_id="none"), metadata=metadata, timeout=20),
    "ListImports": lambda stub, metadata: stub.ListImports(
        pb.ListImportsRequest(), metadata=metadata, timeout=20),
    "CreateList": lambda stub, metadata: stub.CreateList(
        pb.CreateListRequest(name="made by a key"), metadata=metadata, timeout=20),
    "ListLists": lambda stub, metadata: stub.ListLists(
        pb.ListListsRequest(), metadata=metadata, timeout=20),
    "DeleteList": lambda stub, metadata: stub.DeleteList(
        pb.DeleteListRequest(list_id=999), metadata=metadata, timeout=20),
    "WatchEvents": _watch,
}
METHODS = pb.DESCRIPTOR.services_by_name["ContactService"].methods_by_name
assert set(CALLS) == set(METHODS)
