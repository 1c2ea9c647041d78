"""Contact lists: made, listed, deleted, and told with a contact."""

import threading
import time

import grpc
import pytest

import harness
from harness import failing, get, metadata, wait_until
from stubs import pb
from tables import Tables
from test_database import Cluster
from wire import Connection, envelope, field

LIST_LIMIT = 10_000


def create(stub, name, workspace):
    return stub.CreateList(
        pb.CreateListRequest(name=name), metadata=metadata(workspace), timeout=30).list


def lists(stub, workspace):
    return list(stub.ListLists(
        pb.ListListsRequest(), metadata=metadata(workspace), timeout=30).lists)


def delete(stub, list_id, workspace, timeout=60):
    return stub.DeleteList(
        pb.DeleteListRequest(list_id=list_id), metadata=metadata(workspace), timeout=timeout)


@pytest.fixture
def tables(server, workspace):
    with Tables(server, workspace) as tables:
        yield tables


def test_a_list_is_made_and_listed(stub, workspace):
    before = time.time()
    made = create(stub, "news", workspace)
    assert made.id == 1 and made.name == "news"
    assert before - 5 <= made.created_at.ToMicroseconds() / 1e6 <= time.time() + 5
    assert lists(stub, workspace) == [made]


def test_a_workspace_without_lists_has_none(stub, workspace):
    assert lists(stub, workspace) == []


def test_a_thousand_lists_come_in_the_order_of_their_ids(stub, workspace):
    calls = [
        stub.CreateList.future(
            pb.CreateListRequest(name=f"list {999 - n}"), metadata=metadata(workspace), timeout=60)
        for n in range(1000)]
    made = {call.result().list.id: call.result().list for call in calls}
    found = lists(stub, workspace)
    assert [entry.id for entry in found] == sorted(made) == list(range(1, 1001))
    assert all(entry == made[entry.id] for entry in found)


@pytest.mark.parametrize("name", ["x", "x" * 255, "é" * 127, "李" * 85, " ", "\t x"])
def test_a_name_within_the_limit_is_kept_as_it_is(stub, workspace, name):
    create(stub, name, workspace)
    assert [entry.name for entry in lists(stub, workspace)] == [name]


@pytest.mark.parametrize("name", ["", "x" * 256, "é" * 128, "x\0", "\0"], ids=repr)
def test_a_name_over_the_limit_is_an_invalid_argument(stub, workspace, name):
    with failing(grpc.StatusCode.INVALID_ARGUMENT) as failure:
        create(stub, name, workspace)
    details = failure.error.details()
    assert details.startswith("name:")
    if "\0" not in name:
        assert "255" in details and str(len(name.encode())) in details
    assert lists(stub, workspace) == []


def test_a_name_that_is_not_utf_8_is_an_invalid_argument(server):
    with Connection(server) as wire:
        answer = wire.call("CreateList", envelope(field(1, b"\xff\xfe")))
        assert answer.status == 3


def test_a_name_that_exists_is_told_and_takes_nothing(stub, workspace):
    first = create(stub, "news", workspace)
    with failing(grpc.StatusCode.ALREADY_EXISTS):
        create(stub, "news", workspace)
    assert lists(stub, workspace) == [first]
    create(stub, "News", workspace)


def test_lists_belong_to_their_workspace(stub, workspace, workspace_of):
    other = workspace_of()
    made = create(stub, "news", workspace)
    create(stub, "news", other)
    with failing(grpc.StatusCode.NOT_FOUND):
        delete(stub, made.id + 1, workspace)
    delete(stub, made.id, workspace)
    assert [entry.name for entry in lists(stub, other)] == ["news"]


def test_one_list_past_the_limit_is_refused_and_all_fit_into_a_message(stub, workspace, tables):
    tables.run(
        "INSERT INTO lists (workspace_id, id, name) SELECT %s, n, rpad(n || '-', 255, 'x')"
        " FROM generate_series(1, %s) n", tables.id, LIST_LIMIT - 1)
    tables.run("UPDATE workspaces SET last_list_id = %s WHERE id = %s", LIST_LIMIT - 1, tables.id)
    last = create(stub, "last", workspace)
    assert last.id == LIST_LIMIT
    with failing(grpc.StatusCode.RESOURCE_EXHAUSTED) as failure:
        create(stub, "one too many", workspace)
    assert str(LIST_LIMIT) in failure.error.details()
    assert len(lists(stub, workspace)) == LIST_LIMIT
    delete(stub, 17, workspace)
    assert create(stub, "room again", workspace).id > LIST_LIMIT


@pytest.mark.parametrize("list_id", [0, -1, 1, 2**63 - 1, -(2**63)])
def test_deleting_an_unknown_list_is_not_found(stub, workspace, list_id):
    with failing(grpc.StatusCode.NOT_FOUND):
        delete(stub, list_id, workspace)


def test_a_deleted_list_is_not_found_again_and_its_id_is_never_given_again(stub, workspace):
    made = create(stub, "news", workspace)
    delete(stub, made.id, workspace)
    with failing(grpc.StatusCode.NOT_FOUND):
        delete(stub, made.id, workspace)
    assert create(stub, "news", workspace).id > made.id


def test_a_list_of_many_members_goes_as_a_whole_and_its_contacts_stay(
        server, stub, workspace, tables):
    kept, gone = create(stub, "kept", workspace), create(stub, "gone", workspace)
    ids = tables.add_contacts(25_000)
    tables.add_members(gone.id, ids)
    tables.add_members(kept.id, ids[:100])
    delete(stub, gone.id, workspace)
    assert tables.members(gone.id) == 0
    assert tables.members(kept.id) == 100
    assert tables.one("SELECT count(*) FROM contacts WHERE workspace_id = %s", tables.id) == 25_000


def test_look_ups_go_on_while_a_list_is_deleted(server, stub, workspace, tables):
    gone = create(stub, "gone", workspace)
    ids = tables.add_contacts(25_000)
    tables.add_members(gone.id, ids)
    deleting = stub.DeleteList.future(
        pb.DeleteListRequest(list_id=gone.id), metadata=metadata(workspace), timeout=60)
    longest = count = 0
    while not deleting.done() or count == 0:
        start = time.monotonic()
        entry = get(stub, {"id": ids[count % 25_000]}, workspace=workspace)[0]
        longest = max(longest, time.monotonic() - start)
        assert entry.found and set(entry.record.contact.list_ids) <= {gone.id}
        count += 1
    deleting.result()
    assert longest < 1
    assert list(get(stub, {"id": ids[-1]}, workspace=workspace)[0].record.contact.list_ids) == []


def test_deleting_waits_for_writers_that_hold_the_list(server, stub, workspace, tables):
    made = create(stub, "news", workspace)
    ids = tables.add_contacts(10)
    with Tables(server, workspace) as writer:
        with writer.connection.transaction():
            writer.rows(
                "SELECT id FROM lists WHERE workspace_id = %s AND id = %s FOR KEY SHARE",
                writer.id, made.id)
            writer.add_members(made.id, ids)
            deleting = stub.DeleteList.future(
                pb.DeleteListRequest(list_id=made.id), metadata=metadata(workspace), timeout=60)
            time.sleep(0.3)
            assert not deleting.done()
            # Nobody else waits meanwhile.
            assert get(stub, {"id": ids[0]}, workspace=workspace)[0].found
        deleting.result()
    assert tables.members(made.id) == 0


def test_named_imports_begin_while_a_list_waits_for_its_writers(
        server, stub, workspace, workspace_of, tables):
    made = create(stub, "news", workspace)
    other = workspace_of()
    with Tables(server, workspace) as writer:
        with writer.connection.transaction():
            writer.rows(
                "SELECT id FROM lists WHERE workspace_id = %s AND id = %s FOR KEY SHARE",
                writer.id, made.id)
            deleting = stub.DeleteList.future(
                pb.DeleteListRequest(list_id=made.id), metadata=metadata(workspace), timeout=60)
            wait_until(lambda: tables.one(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                " AND application_name = 'contactsd writer'"))
            for n in range(3):
                harness.bulk(stub, [harness.request(
                    [pb.Contact(email="a@list.example")], import_id=f"i{n}")], other).check_ok(1)
            assert not deleting.done()
        deleting.result()
    assert lists(stub, workspace) == []


def test_a_list_whose_writer_does_not_end_is_told_and_stays(server, stub, workspace, tables):
    made = create(stub, "news", workspace)
    with Tables(server, workspace) as writer:
        with writer.connection.transaction():
            writer.rows(
                "SELECT id FROM lists WHERE workspace_id = %s AND id = %s FOR KEY SHARE",
                writer.id, made.id)
            with failing(grpc.StatusCode.UNAVAILABLE):
                delete(stub, made.id, workspace)
    assert lists(stub, workspace) == [made]
    delete(stub, made.id, workspace)


def test_a_contact_tells_its_lists_in_order(stub, workspace, tables):
    made = [create(stub, f"list {n}", workspace).id for n in range(12)]
    ids = tables.add_contacts(3)
    for list_id in reversed(made):
        tables.add_members(list_id, ids[:1])
    tables.add_members(made[3], ids[1:2])
    tables.add_members(999, ids)  # no such list
    keys = [{"id": ids[0]}, {"email": "n2@x.example"}, {"id": ids[2]}, {"id": ids[0]}]
    entries = get(stub, *keys, workspace=workspace)
    told = [list(entry.record.contact.list_ids) for entry in entries]
    assert told == [made, [made[3]], [], made]
    delete(stub, made[5], workspace)
    assert list(get(stub, keys[0], workspace=workspace)[0].record.contact.list_ids) == \
        made[:5] + made[6:]


def test_contacts_in_more_lists_than_an_answer_holds_are_refused(stub, workspace, tables):
    tables.run(
        "INSERT INTO lists (workspace_id, id, name) SELECT %s, n, n::text"
        " FROM generate_series(1, 10000) n", tables.id)
    ids = tables.add_contacts(100)
    tables.run(
        "INSERT INTO list_members (workspace_id, contact_id, list_id) SELECT %s, i, n"
        " FROM unnest(%s::uuid[]) i, generate_series(1, 10000) n", tables.id, ids)
    entry = get(stub, {"id": ids[0]}, workspace=workspace)[0]
    assert list(entry.record.contact.list_ids) == list(range(1, 10_001))
    with failing(grpc.StatusCode.RESOURCE_EXHAUSTED):
        get(stub, *({"id": i} for i in ids), workspace=workspace)
    call = stub.ExportContacts(
        pb.ExportContactsRequest(), metadata=metadata(workspace), timeout=60)
    pages = list(call)
    records = [record for page in pages for record in page.records]
    assert [record.contact.id for record in records] == ids
    assert all(len(record.contact.list_ids) == 10_000 for record in records)
    assert max(page.ByteSize() for page in pages) < 1024 * 1024


def test_lists_are_made_once_by_many_at_once(stub, workspace):
    calls = [stub.CreateList.future(
        pb.CreateListRequest(name="the one"), metadata=metadata(workspace), timeout=30)
        for _ in range(50)]
    codes = [call.code() for call in calls if call.exception() or True]
    assert codes.count(grpc.StatusCode.OK) == 1
    assert codes.count(grpc.StatusCode.ALREADY_EXISTS) == 49


@pytest.mark.parametrize("method", ["CreateList", "ListLists", "DeleteList", "ExportContacts",
                                    "WatchEvents"])
def test_garbage_is_an_invalid_argument_and_an_unknown_workspace_is_not_found(server, method):
    with Connection(server) as wire:
        answer = wire.call(method, envelope(b"\x0a\xff"))
        assert answer.status == 3, answer
        message = field(1, b"x") if method == "CreateList" else b""
        answer = wire.call(method, envelope(message), headers=[("contacts-workspace", "nobody")])
        assert answer.status == 5, answer


def test_a_broken_connection_is_replaced_and_nothing_is_made_twice():
    """Writers are cut off again and again: each call is done, or may be, never twice."""
    cluster = Cluster()
    server = harness.Server(database_url=cluster.url)
    stop = threading.Event()

    def cut():
        while not stop.is_set():
            server.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                         " WHERE application_name = 'contactsd writer'")
            time.sleep(0.02)

    cutter = threading.Thread(target=cut)
    try:
        cutter.start()
        unknown, made = [], []
        for n in range(150):
            try:
                made.append(create(server.stub, f"list {n}", None).name)
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.UNAVAILABLE, error
                assert "may have been made or not" in error.details()
                unknown.append(f"list {n}")
        stop.set()
        cutter.join()
        names = [entry.name for entry in lists(server.stub, None)]
        assert len(names) == len(set(names))
        assert set(made) <= set(names) <= set(made) | set(unknown)
    finally:
        stop.set()
        server.close()
        cluster.close()
