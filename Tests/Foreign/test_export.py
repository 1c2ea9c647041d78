"""ExportContacts: everything, once, in order, whatever the reader does."""

import itertools
import threading
import time

import grpc
import pytest

import harness
from harness import failing, metadata, upsert
from stubs import pb
from tables import Tables
from test_lists import create, delete


def export(stub, workspace, list_id=0, timeout=60):
    return stub.ExportContacts(
        pb.ExportContactsRequest(list_id=list_id), metadata=metadata(workspace), timeout=timeout)


def exported(stub, workspace, list_id=0):
    pages = list(export(stub, workspace, list_id))
    assert all(page.records for page in pages)
    return [record for page in pages for record in page.records]


def ids_of(records):
    return [record.contact.id for record in records]


@pytest.fixture
def tables(server, workspace):
    with Tables(server, workspace) as tables:
        yield tables


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 2500])
def test_all_contacts_come_once_in_the_order_of_their_ids(stub, workspace, tables, count):
    ids = tables.add_contacts(count)
    assert ids_of(exported(stub, workspace)) == ids


@pytest.mark.parametrize("count", [0, 1, 1000, 1001, 2500])
def test_a_list_has_its_contacts_alone(stub, workspace, tables, count):
    ids = tables.add_contacts(2600)
    first, second = create(stub, "first", workspace).id, create(stub, "second", workspace).id
    tables.add_members(first, ids[::2])
    tables.add_members(second, ids[100:100 + count])
    records = exported(stub, workspace, second)
    assert ids_of(records) == ids[100:100 + count]
    for number, record in enumerate(records):
        assert list(record.contact.list_ids) == ([first, second] if number % 2 == 0 else [second])


def test_a_member_without_a_contact_is_passed_over(stub, workspace, tables):
    ids = tables.add_contacts(1500)
    made = create(stub, "list", workspace).id
    tables.add_members(made, ids)
    tables.run("DELETE FROM contacts WHERE workspace_id = %s AND id = ANY (%s::uuid[])",
               tables.id, ids[500:1400])
    assert ids_of(exported(stub, workspace, made)) == ids[:500] + ids[1400:]


def test_a_record_is_what_get_contacts_gives(stub, workspace, domain):
    fields = [harness.field("a", 5), harness.field("b", 5.0), harness.field("c", True),
              harness.field("d", "text")]
    contact = pb.Contact(email=f"a@{domain}", phone="+16175551212", external_id="x", name="N",
                         first_name="F", last_name="L", fields=fields)
    made = upsert(stub, [contact], workspace).results[0]
    entry = harness.get(stub, {"id": made.id}, workspace=workspace)[0]
    assert exported(stub, workspace) == [entry.record]
    assert entry.record.contact.first_name == "F"


def test_workspaces_are_apart(stub, workspace, workspace_of, tables, server):
    tables.add_contacts(3)
    other = workspace_of()
    assert exported(stub, other) == []
    made = create(stub, "list", workspace).id
    with failing(grpc.StatusCode.NOT_FOUND):
        exported(stub, other, made)


@pytest.mark.parametrize("list_id", [-1, 1, 2**63 - 1, -(2**63)])
def test_an_unknown_list_is_not_found(stub, workspace, list_id):
    with failing(grpc.StatusCode.NOT_FOUND) as failure:
        exported(stub, workspace, list_id)
    assert "list_id" in failure.error.details()


LARGE = "jsonb_build_object('large', repeat(chr(97 + mod(n, 26)::int), 100 * 1024))"


@pytest.fixture(scope="module")
def large(server):
    workspace = server.create_workspace()
    with Tables(server, workspace) as tables:
        ids = tables.add_contacts(600, fields=LARGE)
    return workspace, ids


def test_large_contacts_come_in_small_messages(stub, large):
    workspace, ids = large
    got, largest = [], 0
    for page in export(stub, workspace):
        largest = max(largest, page.ByteSize())
        got += ids_of(page.records)
    assert got == ids
    assert largest < 800 * 1024


def slow_channel(server):
    return grpc.insecure_channel(server.address, options=[
        ("grpc.http2.lookahead_bytes", 65536), ("grpc.http2.bdp_probe", 0),
        ("grpc.use_local_subchannel_pool", 1)])


def pages_read(server):
    """How often an index of contacts was read so far. A connection counts what it did at most once
    a second, at the end of a statement."""
    time.sleep(1.1)
    server.stub.ListLists(pb.ListListsRequest(), timeout=10)
    return server.query(
        "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'contacts_pkey'")[0][0]


def test_readers_that_stall_hold_little_memory_and_get_everything_in_the_end(server, large):
    workspace, ids = large
    before = server.memory("VmRSS")
    channels = [slow_channel(server) for _ in range(10)]
    calls = [export(harness.rpc.ContactServiceStub(channel), workspace) for channel in channels]
    for call in calls:
        next(call)
    time.sleep(1.5)
    # 60 MB each would come to 600.
    assert server.memory("VmRSS") - before < 60
    for call in calls[1:]:
        call.cancel()
    got = [i for page in calls[0] for i in ids_of(page.records)]
    assert got == ids[len(ids) - len(got):] and len(got) > 500
    for channel in channels:
        channel.close()


@pytest.mark.parametrize("leaves", [True, False])
def test_a_caller_that_leaves_or_stalls_stops_the_queries(server, large, leaves):
    workspace, ids = large
    start = pages_read(server)
    list(export(server.stub, workspace))
    whole = pages_read(server) - start
    assert whole >= len(ids) / 6
    with slow_channel(server) as channel:
        call = export(harness.rpc.ContactServiceStub(channel), workspace)
        next(call)
        if leaves:
            call.cancel()
        part = pages_read(server) - start - whole
        assert 1 <= part < whole / 2
        assert pages_read(server) - start - whole == part
        call.cancel()


def test_an_export_beside_an_import_ends_with_what_was_there(server, stub, workspace, tables):
    ids = tables.add_contacts(3000)
    stop = threading.Event()

    def insert():
        with Tables(server, workspace) as more:
            for start in itertools.count(3000, 500):
                if stop.is_set():
                    return
                more.add_contacts(500, start)

    thread = threading.Thread(target=insert)
    thread.start()
    try:
        for _ in range(5):
            got = ids_of(exported(stub, workspace))
            assert got[:3000] == ids
            assert got == sorted(set(got))
    finally:
        stop.set()
        thread.join()


def test_the_end_is_fixed_at_the_start(server, stub, workspace, tables):
    """Large contacts hold the export up, so that it is half-way when others come."""
    ids = tables.add_contacts(300, fields=LARGE)
    made = create(stub, "list", workspace).id
    tables.add_members(made, ids)
    with slow_channel(server) as channel:
        slow = harness.rpc.ContactServiceStub(channel)
        calls = [export(slow, workspace), export(slow, workspace, made)]
        firsts = [next(call) for call in calls]
        tables.add_members(made, tables.add_contacts(10, start=300))
        for call, first in zip(calls, firsts):
            got = ids_of(first.records) + [i for page in call for i in ids_of(page.records)]
            assert got == ids


def test_a_list_deleted_half_way_is_told(server, stub, workspace, tables):
    ids = tables.add_contacts(300, fields=LARGE)
    made = create(stub, "list", workspace).id
    tables.add_members(made, ids)
    with slow_channel(server) as channel:
        call = export(harness.rpc.ContactServiceStub(channel), workspace, made)
        next(call)
        delete(stub, made, workspace)
        with failing(grpc.StatusCode.NOT_FOUND) as failure:
            list(call)
        assert "deleted" in failure.error.details()


def test_a_server_that_stops_cuts_an_export_off(own_servers):
    server = own_servers()
    with Tables(server, "default") as tables:
        tables.add_contacts(600, fields=LARGE)
    call = export(harness.rpc.ContactServiceStub(slow_channel(server)), None)
    next(call)
    start = time.monotonic()
    server.terminate()
    with failing(grpc.StatusCode.UNAVAILABLE) as failure:
        list(call)
    assert "not complete" in failure.error.details()
    assert server.wait() == 0
    assert time.monotonic() - start < 8


def test_an_export_outlives_its_connection_to_the_database(server, stub, large):
    workspace, ids = large
    with slow_channel(server) as channel:
        call = export(harness.rpc.ContactServiceStub(channel), workspace)
        got = ids_of(next(call).records)
        server.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                     " WHERE application_name = 'contactsd reader'")
        got += [i for page in call for i in ids_of(page.records)]
    assert got == ids
