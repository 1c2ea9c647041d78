"""WatchEvents: every event once, in order, soon."""

import queue
import random
import threading
import time

import grpc
import pytest

import harness
from harness import failing, metadata, wait_until
from stubs import pb
from tables import Tables
from test_database import Cluster
from test_export import LARGE, slow_channel

# A watcher looks by itself every 30 s; whatever comes sooner was told.
SOON = 5


class Watcher:
    """Reads a watch on a thread of its own."""

    def __init__(self, stub, workspace, after=0, timeout=100):
        self.call = stub.WatchEvents(
            pb.WatchEventsRequest(after_offset=after), metadata=metadata(workspace),
            timeout=timeout)
        self.events = []
        self.largest = 0
        self.responses = 0
        self._more = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        try:
            for response in self.call:
                with self._more:
                    assert response.events
                    self.largest = max(self.largest, response.ByteSize())
                    self.responses += 1
                    self.events.extend(response.events)
                    self._more.notify_all()
        except grpc.RpcError:
            pass
        with self._more:
            self._more.notify_all()

    @property
    def offsets(self):
        return [event.offset for event in self.events]

    def wait(self, count, seconds=SOON):
        with self._more:
            assert self._more.wait_for(lambda: len(self.events) >= count, seconds), \
                (len(self.events), count, self.call)
        return self.events

    def end(self, seconds=10):
        self._thread.join(seconds)
        assert not self._thread.is_alive()
        return self.call.code(), self.call.details()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.call.cancel()
        self._thread.join(10)


def refusal(stub, workspace, after):
    """The words of OUT_OF_RANGE, before any event."""
    with failing(grpc.StatusCode.OUT_OF_RANGE) as failure:
        next(stub.WatchEvents(pb.WatchEventsRequest(after_offset=after),
                              metadata=metadata(workspace), timeout=20))
    return failure.error.details()


@pytest.fixture
def tables(server, workspace):
    with Tables(server, workspace) as tables:
        yield tables


def test_the_headers_come_at_once(stub, workspace):
    with Watcher(stub, workspace) as watcher:
        assert watcher.call.initial_metadata() is not None
        assert watcher.events == []


def test_an_event_tells_all_of_the_contact(server, stub, workspace, tables):
    with tables.connection.transaction():
        offset = tables.take_offsets(1)
        tables.run(
            "INSERT INTO events (workspace_id, event_offset, type, import_id, contact_id, email,"
            " phone, external_id, name, first_name, last_name, fields, field_kinds, list_ids,"
            " created_at, occurred_at) VALUES (%s, %s, 2, 'the import',"
            " '0190aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee', 'a@x.example', '+1', 'x', 'N', 'F', 'L',"
            """ '{"a": 5, "b": "s"}', NULL, '{3,7,9}', '2024-01-02 03:04:05.678901Z',"""
            " '2025-01-02 03:04:05.000001Z')", tables.id, offset)
    with Watcher(stub, workspace) as watcher:
        event = watcher.wait(1)[0]
    assert event.offset == offset == 1
    assert event.type == pb.EVENT_TYPE_UPDATED
    assert event.import_id == "the import"
    contact = event.record.contact
    assert event.contact_id == contact.id == "0190aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee"
    assert (contact.email, contact.phone, contact.external_id) == ("a@x.example", "+1", "x")
    assert (contact.name, contact.first_name, contact.last_name) == ("N", "F", "L")
    assert list(contact.list_ids) == [3, 7, 9]
    assert {f.name: f.integer_value or f.string_value for f in contact.fields} == \
        {"a": 5, "b": "s"}
    assert event.record.created_at.ToJsonString() == "2024-01-02T03:04:05.678901Z"
    assert event.occurred_at.ToJsonString() == "2025-01-02T03:04:05.000001Z"
    assert event.record.updated_at == event.occurred_at


@pytest.mark.parametrize("count", [1, 499, 500, 501, 2300])
def test_what_is_there_comes_in_pages_and_then_what_is_new(stub, workspace, tables, count):
    offsets = tables.add_events(count)
    with Watcher(stub, workspace) as watcher:
        watcher.wait(count)
        assert watcher.offsets == offsets
        more = tables.add_events(3)
        watcher.wait(count + 3)
        assert watcher.offsets == offsets + more
        assert watcher.events[0].type == pb.EVENT_TYPE_UPDATED
        assert watcher.events[1:2] == [] or watcher.events[1].type == pb.EVENT_TYPE_CREATED


def test_a_watcher_goes_on_after_the_offset_it_has(stub, workspace, tables):
    offsets = tables.add_events(700)
    for after in (1, 350, 699):
        with Watcher(stub, workspace, after) as watcher:
            watcher.wait(700 - after)
            assert watcher.offsets == offsets[after:]
    with Watcher(stub, workspace, 700) as watcher:
        watcher.call.initial_metadata()
        time.sleep(0.3)
        assert watcher.events == []
        more = tables.add_events(1)
        watcher.wait(1)
        assert watcher.offsets == more == [701]


def test_a_watcher_is_woken_at_once(stub, workspace, tables):
    with Watcher(stub, workspace) as watcher:
        watcher.call.initial_metadata()
        latencies = []
        for n in range(100):
            start = time.monotonic()
            tables.add_events(1)
            watcher.wait(n + 1)
            latencies.append(time.monotonic() - start)
        assert sorted(latencies)[50] < 0.25
        assert max(latencies) < SOON
        assert watcher.offsets == list(range(1, 101))


def test_nothing_is_lost_between_an_empty_page_and_sleep(server, stub, workspace, tables):
    """A look finds nothing and is held up; what is committed meanwhile must make it look again."""
    chosen = random.Random(7)
    with Watcher(stub, workspace) as watcher, server.connect() as other:
        for n in range(40):
            with tables.connection.transaction():
                tables.run("LOCK TABLE event_offsets IN ACCESS EXCLUSIVE MODE")
                other.execute("SELECT pg_notify('contacts_events', %s)", (str(tables.id),))
                wait_until(lambda: other.execute(
                    "SELECT 1 FROM pg_locks WHERE NOT granted"
                    " AND relation = 'event_offsets'::regclass").fetchone(), 5, "a look")
                tables.write_events(1)
                time.sleep(chosen.choice([0, 0, 0.001, 0.005]))
            watcher.wait(n + 1)
        assert watcher.offsets == list(range(1, 41))


def test_events_of_writers_at_once_come_in_order_without_a_gap(server, stub, workspace):
    """Writers lock the offsets until they commit, or give them back."""
    seed = random.randrange(2**32)
    print("seed", seed)
    written, errors = queue.Queue(), queue.Queue()

    def write(number):
        chosen = random.Random(seed + number)
        try:
            with Tables(server, workspace) as tables:
                for _ in range(25):
                    time.sleep(chosen.random() * 0.01)
                    try:
                        with tables.connection.transaction():
                            offsets = tables.write_events(chosen.randint(1, 30))
                            time.sleep(chosen.random() * 0.01)
                            if chosen.random() < 0.2:
                                raise KeyError
                            written.put(offsets)
                    except KeyError:
                        pass
        except Exception as error:  # noqa: BLE001
            errors.put(error)

    writers = [threading.Thread(target=write, args=[n]) for n in range(4)]
    with Watcher(stub, workspace) as early:
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert errors.empty(), errors.get()
        expected = sorted(offset for offsets in written.queue for offset in offsets)
        early.wait(len(expected))
        assert early.offsets == expected == list(range(1, len(expected) + 1))
    with Watcher(stub, workspace) as late:
        late.wait(len(expected))
        assert late.offsets == expected


def test_watchers_of_other_workspaces_are_left_alone(stub, workspace, workspace_of, server):
    other = workspace_of()
    with Watcher(stub, workspace) as mine, Watcher(stub, other) as theirs:
        with Tables(server, other) as tables:
            tables.add_events(5)
        theirs.wait(5)
        assert mine.events == []


def test_fifty_watchers_all_get_everything(stub, workspace, tables):
    watchers = [Watcher(stub, workspace) for _ in range(50)]
    for _ in range(10):
        tables.add_events(20)
    for watcher in watchers:
        watcher.wait(200, 20)
        assert watcher.offsets == list(range(1, 201))
        watcher.call.cancel()


@pytest.mark.parametrize("after", [101, 2**31, 2**63 - 1, 2**63, 2**64 - 1])
def test_an_offset_that_was_not_given_is_out_of_range(stub, workspace, tables, after):
    tables.add_events(100)
    assert "the last offset is 100" in refusal(stub, workspace, after)


def test_an_offset_in_a_workspace_without_events_is_out_of_range(stub, workspace):
    assert "the last offset is 0" in refusal(stub, workspace, 1)


def test_events_no_longer_kept_are_told_and_not_skipped(stub, workspace, tables):
    tables.add_events(100)
    tables.remove_events(40)
    for after in (1, 39):
        details = refusal(stub, workspace, after)
        assert "no longer kept" in details and "offset 41;" in details
    for after, first in ((0, 41), (40, 41), (41, 42)):
        with Watcher(stub, workspace, after) as watcher:
            watcher.wait(101 - first)
            assert watcher.offsets == list(range(first, 101))
    tables.remove_events(100)
    assert "none is kept" in refusal(stub, workspace, 99)
    for after in (0, 100):
        with Watcher(stub, workspace, after) as watcher:
            watcher.call.initial_metadata()
            tables.add_events(1)
            watcher.wait(1)


def test_a_slow_watcher_that_is_overtaken_is_told(server, workspace, tables):
    tables.add_events(400, fields=LARGE)
    with slow_channel(server) as channel:
        call = harness.rpc.ContactServiceStub(channel).WatchEvents(
            pb.WatchEventsRequest(), metadata=metadata(workspace), timeout=60)
        got = [event.offset for event in next(call).events]
        time.sleep(0.5)
        tables.remove_events(390)
        with failing(grpc.StatusCode.OUT_OF_RANGE) as failure:
            for response in call:
                got += [event.offset for event in response.events]
        assert "391" in failure.error.details()
    assert got == list(range(1, len(got) + 1)) and len(got) < 390


def test_large_events_come_in_small_messages(stub, workspace, tables):
    tables.add_events(60, fields=LARGE)
    tables.add_events(50, list_ids="{" + ",".join(map(str, range(1, 10_001))) + "}")
    with Watcher(stub, workspace) as watcher:
        watcher.wait(110, 20)
        assert watcher.offsets == list(range(1, 111))
        assert watcher.largest < 800 * 1024
        assert watcher.responses >= 15


@pytest.mark.memory
def test_watchers_that_stall_hold_little_memory(server, workspace, tables):
    tables.add_events(400, fields=LARGE)
    before = server.memory("VmRSS")
    channels = [slow_channel(server) for _ in range(10)]
    calls = [harness.rpc.ContactServiceStub(channel).WatchEvents(
        pb.WatchEventsRequest(), metadata=metadata(workspace), timeout=60)
        for channel in channels]
    for call in calls:
        next(call)
    time.sleep(1.5)
    assert server.memory("VmRSS") - before < 60
    for call, channel in zip(calls, channels):
        call.cancel()
        channel.close()


def test_the_feed_listens_again_after_its_connection_was_cut(server, stub, workspace, tables):
    with Watcher(stub, workspace) as watcher:
        watcher.call.initial_metadata()
        for n in range(5):
            tables.add_events(1)
            watcher.wait(2 * n + 1)
            cut = wait_until(lambda: server.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'contactsd event feed'"), 10, "a listener")
            assert cut == [(True,)]
            tables.add_events(1)
            watcher.wait(2 * n + 2)
        assert watcher.offsets == list(range(1, 11))


def test_watchers_outlive_a_restart_of_the_database():
    cluster = Cluster()
    server = harness.Server(database_url=cluster.url)
    try:
        with Watcher(server.stub, None) as watcher:
            with Tables(server, "default") as tables:
                tables.add_events(3)
            watcher.wait(3)
            cluster.stop()
            time.sleep(1)
            cluster.start()
            with Tables(server, "default") as tables:
                tables.add_events(3)
            watcher.wait(6, 15)
            assert watcher.offsets == [1, 2, 3, 4, 5, 6]
    finally:
        server.close()
        cluster.close()


def test_a_watcher_that_leaves_is_forgotten(server, stub, workspace, tables):
    for _ in range(200):
        Watcher(stub, workspace).call.cancel()
    with Watcher(stub, workspace) as watcher:
        tables.add_events(1)
        watcher.wait(1)


def test_a_server_that_stops_ends_watches(own_servers):
    server = own_servers()
    watcher = Watcher(server.stub, None)
    watcher.call.initial_metadata()
    start = time.monotonic()
    server.terminate()
    assert watcher.end()[0] == grpc.StatusCode.UNAVAILABLE
    assert server.wait() == 0
    assert time.monotonic() - start < 8


def test_a_watch_ends_with_its_deadline(stub, workspace):
    watcher = Watcher(stub, workspace, timeout=0.5)
    assert watcher.end()[0] == grpc.StatusCode.DEADLINE_EXCEEDED
