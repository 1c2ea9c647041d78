"""The server goes away, politely or not, and comes back."""

import os
import shutil
import signal
import subprocess
import threading
import time

import grpc

import harness
from harness import (CREATED, UNCHANGED, bulk, exists, get, request, upsert,
                     wait_until)
from stubs import pb
from wire import Connection, envelope

UNAVAILABLE = 14


def endless(domain, stop, per_message=50):
    number = 0
    while not stop.is_set():
        yield request([pb.Contact(email=f"{number + n}@{domain}") for n in range(per_message)])
        number += per_message


def stream_until_it_breaks(server, domain, act):
    """Streams; acts once 500 results are there; returns the outcome."""
    stop, acted = threading.Event(), []

    def seen(outcome):
        if len(outcome.results) >= 500 and not acted:
            acted.append(True)
            act()

    try:
        return bulk(server.stub, endless(domain, stop), seen=seen, timeout=60)
    finally:
        stop.set()


def check_stored(server, outcome):
    rows = dict(server.rows())
    missing = [r.sequence for r in outcome.results if r.id not in rows]
    assert missing == []
    for result in outcome.results:
        assert rows[result.id].startswith(f"{result.sequence - 1}@")


def test_sigterm_in_mid_stream_answers_what_was_taken_and_ends_with_unavailable(
        own_servers, data_dir):
    server = own_servers(data_dir=data_dir)
    outcome = stream_until_it_breaks(server, "term.example", server.terminate)
    assert outcome.code == grpc.StatusCode.UNAVAILABLE, (outcome.code, outcome.details)
    assert server.wait(30) == 0
    outcome.check_all(len(outcome.results))
    assert set(outcome.statuses) == {CREATED}
    assert not exists(server.pid)

    again = own_servers(data_dir=data_dir)
    check_stored(again, outcome)
    # Nothing was left half-done: what is stored is what was answered.
    assert len(again.rows()) == len(outcome.results)
    repeated = bulk(again.stub, [request([
        pb.Contact(email=f"{n}@term.example") for n in range(500)])]).check_ok(500)
    assert repeated.ids == outcome.ids[:500]
    assert set(repeated.statuses) == {UNCHANGED}


def test_sigterm_sends_goaway_and_a_summary_to_an_idle_stream(own_servers):
    server = own_servers()
    with Connection(server) as wire:
        stream = wire.open("/contacts.v1.ContactService/BulkUpsert")
        wire.send(stream, envelope(request([pb.Contact(email="a@idle.example")])))
        wire.wait(stream, lambda a: len(a.messages(pb.BulkUpsertResponse)) >= 2)
        server.terminate()
        answer = wire.wait(stream, seconds=15)
        assert answer.status == UNAVAILABLE, answer
        messages = answer.messages(pb.BulkUpsertResponse)
        assert messages[-1].WhichOneof("response") == "summary"
        assert messages[-1].summary.created == 1
        while not wire.closed:
            assert wire.pull(15) or wire.closed
        assert wire.goaways
        assert {code for code, _ in wire.goaways} == {0}
    assert server.wait(30) == 0


def test_sigterm_during_a_unary_call_answers_it(own_servers):
    server = own_servers()
    contacts = [pb.Contact(email=f"{n}@unary.example") for n in range(10_000)]
    call = server.stub.UpsertContacts.future(
        pb.UpsertContactsRequest(contacts=contacts), timeout=60)
    wait_until(lambda: call.done() or server.query("SELECT count(*) FROM contacts")[0][0],
               what="the first row")
    server.terminate()
    try:
        assert len(call.result().results) == 10_000
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNAVAILABLE, error.details()
    assert server.wait(60) == 0


def test_a_client_that_never_reads_does_not_hold_up_the_end(own_servers):
    server = own_servers()
    message = envelope(request([pb.Contact(email=f"{n}@held.example") for n in range(5000)]))
    with Connection(server, window=100, reads=False) as wire:
        stream = wire.open("/contacts.v1.ContactService/BulkUpsert")
        wire.send(stream, message)
        wait_until(lambda: len(server.rows()) == 5000, what="the commit")
        server.terminate()
        start = time.monotonic()
        assert server.wait(60) == 0
        assert time.monotonic() - start < 45


def test_sigint_stops_the_server_too_and_the_private_postgresql_goes(own_servers):
    server = own_servers()
    postmaster = server.postmaster()
    server.process.send_signal(signal.SIGINT)
    assert server.wait(30) == 0
    assert not exists(postmaster)


def test_after_sigkill_the_private_postgresql_goes_away_and_the_data_is_kept(
        own_servers, data_dir):
    server = own_servers(data_dir=data_dir)
    postmaster = server.postmaster()
    assert exists(postmaster)
    outcome = stream_until_it_breaks(
        server, "kill.example", lambda: os.kill(server.pid, signal.SIGKILL))
    server.wait(10)
    assert outcome.code == grpc.StatusCode.UNAVAILABLE, (outcome.code, outcome.details)
    assert len(outcome.results) >= 500
    wait_until(lambda: not exists(postmaster), 30, "the end of the private PostgreSQL")

    again = own_servers(data_dir=data_dir)
    check_stored(again, outcome)
    upsert(again.stub, [pb.Contact(email="next@kill.example")])


def test_a_second_server_in_the_same_directory_is_refused(own_servers, data_dir):
    server = own_servers(data_dir=data_dir)
    second = subprocess.run(
        [harness.CONTACTSD, "serve", "--listen", "127.0.0.1:0", "--data-dir", data_dir],
        capture_output=True, text=True, timeout=60)
    assert second.returncode != 0
    assert second.stderr
    get(server.stub, {"email": "a@b.example"})


def test_a_port_in_use_is_told_and_the_server_ends(server):
    directory = harness.new_directory()
    try:
        second = subprocess.run(
            [harness.CONTACTSD, "serve", "--listen", server.address, "--data-dir", directory],
            capture_output=True, text=True, timeout=60)
        assert second.returncode != 0
        assert server.address in second.stderr
    finally:
        shutil.rmtree(directory, ignore_errors=True)
