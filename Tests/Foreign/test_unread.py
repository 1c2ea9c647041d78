"""Callers that read nothing: what the server keeps for them has a bound, over all their calls."""

import http.client
import json

import pytest

import harness
from frames import CANCEL
from harness import bulk, get, request, wait_until
from stubs import pb
from test_admin import port_of
from wire import SERVICE, Connection, envelope

# As in ServerLimits.
CONTACTS_OF_CALL = 60_000
CONTACTS_OF_ALL = 240_000
UNSENT_OF_ALL = 32 << 20
LARGEST_ANSWER = 3 << 20
PAGE = 512 << 10
HELD_OF_ALL = 8 << 20
# Fails in the rules, and takes two bytes.
EMPTY = envelope(request([pb.Contact()] * 1_000))


@pytest.fixture(scope="module")
def told():
    server = harness.Server(arguments=["--admin", "127.0.0.1:0"])
    yield server
    server.close()


def status(server):
    connection = http.client.HTTPConnection("127.0.0.1", port_of(server), timeout=10)
    connection.request("GET", "/status")
    return json.loads(connection.getresponse().read())


def unanswered(server):
    return status(server)["unacknowledged_contacts"]


def is_served(server, count=5_000):
    contacts = [pb.Contact(email=f"{n}@served.example") for n in range(count)]
    bulk(server.stub, [request(contacts[start:start + 500]) for start in range(0, count, 500)],
         timeout=60).check_ok(count)


def send_unread(server, wire, thousands):
    """A call that sends so many contacts; it gets no room for answers."""
    stream = wire.open(SERVICE + "BulkUpsert")
    assert wire.send(stream, EMPTY * thousands) == len(EMPTY) * thousands
    return stream


def test_a_call_has_at_most_so_many_contacts_without_a_result(told):
    with Connection(told, window=0, reads=False) as wire:
        stream = send_unread(told, wire, 50)
        # The first thousands' results wait for the peer already.
        wait_until(lambda: unanswered(told) > 40_000, what="what was sent")
        assert unanswered(told) < CONTACTS_OF_CALL
        wire.send(stream, EMPTY * 50)
        wait_until(lambda: unanswered(told) == CONTACTS_OF_CALL, what="the limit")
        wire.send(stream, EMPTY)
        is_served(told)
        assert unanswered(told) == CONTACTS_OF_CALL
    wait_until(lambda: unanswered(told) == 0, what="the end of what was held")


@pytest.mark.memory
def test_all_calls_together_have_at_most_so_many_contacts_without_a_result(told):
    before = told.memory("VmRSS")
    with Connection(told, window=0, reads=False) as wire:
        for _ in range(4):
            send_unread(told, wire, 80)
        wait_until(lambda: unanswered(told) == CONTACTS_OF_ALL, what="the limit")
        # Others of the connection get a message in, once the results of the first ones wait for the
        # peer, and no more.
        others = [send_unread(told, wire, 80) for _ in range(4)]
        limit = CONTACTS_OF_ALL + 4 * 1_000
        wait_until(lambda: unanswered(told) == limit, what="a message of each")
        # Other connections have their share.
        is_served(told)
        wait_until(lambda: unanswered(told) == limit, what="the same")
        print(f"{told.memory('VmHWM') - before:.1f} MiB more")
        assert told.memory("VmHWM") - before < 64
        # Those that read go on, whatever the others hold.
        wire.reads = True
        wire.h2.increment_flow_control_window(1 << 20)
        for stream in others:
            wire.h2.increment_flow_control_window(1 << 20, stream)
            wire.h2.end_stream(stream)
        wire.push()
        for stream in others:
            answer = wire.wait(stream)
            assert answer.status == 0
            assert answer.messages(pb.BulkUpsertResponse)[-1].summary.failed == 80_000
        assert unanswered(told) == CONTACTS_OF_ALL
    wait_until(lambda: unanswered(told) == 0, what="the end of what was held")


def test_calls_that_bring_all_at_once_wait_for_room(told):
    def message(domain):
        return envelope(pb.UpsertContactsRequest(contacts=[pb.Contact(email=f"a@{domain}")]))

    def is_stored(domain):
        return get(told.stub, {"email": f"a@{domain}"})[0].found

    with Connection(told, window=0, reads=False) as holder, Connection(told) as wire:
        full = [send_unread(told, holder, 80) for _ in range(4)]
        wait_until(lambda: unanswered(told) == CONTACTS_OF_ALL, what="the limit")
        # A connection's own share is there for it.
        assert wire.call("UpsertContacts", message("served.example")).status == 0
        # The holder's is used up twice over.
        for _ in range(CONTACTS_OF_ALL // 1_000):
            send_unread(told, holder, 4)
        wait_until(lambda: unanswered(told) == 2 * CONTACTS_OF_ALL, what="twice the share")
        holder.send(holder.open(SERVICE + "UpsertContacts"), message("waits.example"), end=True)
        holder.send(holder.open(SERVICE + "BulkUpsert"), EMPTY)
        is_served(told)
        assert unanswered(told) == 2 * CONTACTS_OF_ALL
        assert not is_stored("waits.example")
        for stream in full:
            holder.h2.reset_stream(stream, CANCEL)
        holder.push()
        wait_until(lambda: is_stored("waits.example"), what="its turn")
    wait_until(lambda: unanswered(told) == 0, what="the end of what was held")


LARGE = "large.example"


@pytest.fixture(scope="module")
def large(told):
    """Thirty contacts that fill an answer."""
    field = pb.CustomField(name="text", string_value="x" * 95_000)
    harness.upsert(told.stub, [pb.Contact(email=f"{n}@{LARGE}", fields=[field]) for n in range(30)],
                   told.create_workspace(name="large"))
    return [("contacts-workspace", "large")]


LOOK_UP = envelope(pb.GetContactsRequest(
    keys=[pb.ContactKey(email=f"{n}@{LARGE}") for n in range(30)]))


def read_all(wire, streams, window):
    wire.reads = True
    wire.h2.increment_flow_control_window(window)
    for stream in streams:
        wire.h2.increment_flow_control_window(window, stream)
    wire.push()


def test_answers_that_nobody_takes_are_bounded_over_all_calls(told, large):
    before = told.memory("VmRSS")
    with Connection(told, window=0, reads=False) as wire:
        streams = []
        for _ in range(60):
            streams.append(wire.open(SERVICE + "GetContacts", headers=large))
            wire.send(streams[-1], LOOK_UP, end=True)
        wait_until(lambda: status(told)["unsent_bytes"] > UNSENT_OF_ALL - LARGEST_ANSWER,
                   what="what may wait")
        # Others are served.
        assert get(told.stub, {"email": "0@nobody.example"})[0].found is False
        is_served(told)
        # What stood for an answer under way is now the answer itself, a little less.
        wait_until(lambda: UNSENT_OF_ALL <= status(told)["unsent_bytes"]
                   <= UNSENT_OF_ALL + LARGEST_ANSWER, what="the limit")
        print(f"{told.memory('VmRSS') - before:.1f} MiB more")
        # All are answered to one who reads, those that had to wait too.
        read_all(wire, streams, 1 << 22)
        for stream in streams:
            answer = wire.wait(stream)
            assert answer.status == 0
            assert len(answer.messages(pb.GetContactsResponse)[0].entries) == 30
    wait_until(lambda: status(told)["unsent_bytes"] == 0, what="nothing unsent")


def test_pages_that_nobody_takes_are_bounded_over_all_calls(told, large):
    with Connection(told, window=0, reads=False) as wire:
        streams = []
        for _ in range(200):
            streams.append(wire.open(SERVICE + "ExportContacts", headers=large))
            wire.send(streams[-1], envelope(pb.ExportContactsRequest()), end=True)
        # Calls that have nothing may get a page beyond the connection's share, up to twice that.
        wait_until(lambda: status(told)["unsent_bytes"] >= 2 * UNSENT_OF_ALL, what="the limit")
        is_served(told)
        wait_until(lambda: 2 * UNSENT_OF_ALL <= status(told)["unsent_bytes"]
                   <= 2 * UNSENT_OF_ALL + 2 * PAGE, what="the limit")
        # Those that had to wait go on when others are gone.
        for stream in streams[:150]:
            wire.h2.reset_stream(stream, CANCEL)
        read_all(wire, streams[150:], 1 << 22)
        for stream in streams[150:]:
            answer = wire.wait(stream, seconds=60)
            assert answer.status == 0
            pages = answer.messages(pb.ExportContactsResponse)
            assert sum(len(page.records) for page in pages) == 30
    wait_until(lambda: status(told)["unsent_bytes"] == 0, what="nothing unsent")


def test_look_ups_that_wait_for_the_database_count_as_held(told):
    message = envelope(pb.GetContactsRequest(
        keys=[pb.ContactKey(external_id=f"{n:0200}") for n in range(10_000)]))
    with told.connect() as lock, Connection(told) as wire:
        lock.execute("BEGIN")
        lock.execute("LOCK TABLE contacts")
        streams = [wire.open(SERVICE + "GetContacts") for _ in range(8)]
        for stream in streams:
            wire.send(stream, message, end=True, seconds=1)
        held = status(told)["unacknowledged_bytes"]
        assert len(message) <= held <= HELD_OF_ALL + (2 << 20)
        # A call that is gone has left its keys in the queue.
        wire.h2.reset_stream(streams[1], CANCEL)
        wire.push()
        # Others' calls that wait for no such thing are answered.
        told.stub.ListLists(pb.ListListsRequest(), timeout=20)
        assert status(told)["unacknowledged_bytes"] >= len(message)
        lock.execute("ROLLBACK")
    wait_until(lambda: status(told)["unacknowledged_bytes"] == 0, what="nothing held")
