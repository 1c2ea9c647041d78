"""The calls beside the upserts, in short form."""

import itertools

from harness import field, metadata, upsert
from stubs import pb

_count = itertools.count()


def create_list(stub, workspace, name="list"):
    message = pb.CreateListRequest(name=name)
    return stub.CreateList(message, metadata=metadata(workspace), timeout=60).list


def lists(stub, workspace):
    return list(stub.ListLists(
        pb.ListListsRequest(), metadata=metadata(workspace), timeout=60).lists)


def delete_list(stub, workspace, list_id):
    stub.DeleteList(
        pb.DeleteListRequest(list_id=list_id), metadata=metadata(workspace), timeout=60)


def export(stub, workspace, list_id=0):
    """All records."""
    chunks = stub.ExportContacts(
        pb.ExportContactsRequest(list_id=list_id), metadata=metadata(workspace), timeout=120)
    return [record for chunk in chunks for record in chunk.records]


def get_import(stub, workspace, import_id):
    answer = stub.GetImport(
        pb.GetImportRequest(import_id=import_id), metadata=metadata(workspace), timeout=60)
    return getattr(answer, "import")


def watch(stub, workspace, after=0, timeout=60):
    """The call, and its events one at a time."""
    call = stub.WatchEvents(
        pb.WatchEventsRequest(after_offset=after), metadata=metadata(workspace), timeout=timeout)
    return call, (event for response in call for event in response.events)


def events_so_far(stub, workspace, after=0):
    """The events written until now: those before the event of a contact that is new now."""
    import_id = upsert(
        stub, [pb.Contact(email="last@events.example", fields=[field("count", next(_count))])],
        workspace, run_workflow=True).import_id
    call, events = watch(stub, workspace, after)
    found = []
    for event in events:
        if event.import_id == import_id:
            break
        found.append(event)
    call.cancel()
    return [event for event in found if event.record.contact.email != "last@events.example"]


def digest(server):
    """The row count and md5 of every table, temporary ones left out."""
    tables = server.query(
        "SELECT format('%I.%I', table_schema, table_name) FROM information_schema.tables"
        " WHERE table_type = 'BASE TABLE' AND table_schema NOT LIKE 'pg\\_%%'"
        " AND table_schema <> 'information_schema' ORDER BY 1")
    assert tables
    return {
        table: server.query(
            "SELECT count(*), md5(coalesce(string_agg(line, E'\\n' ORDER BY line COLLATE \"C\"), ''))"
            f" FROM (SELECT t::text AS line FROM {table} t) AS lines")[0]
        for table, in tables}
