"""What a program learns when its key is refused: the details of each failure, as grpcio-status reads them."""

import time

import grpc
import pytest

import harness
from harness import failing
from keys import bearer, make_key
from stubs import pb
from test_rich_errors import check_retry, details


@pytest.fixture(scope="module")
def guarded():
    """A server that demands keys."""
    server = harness.Server(arguments=["--auth", "always"])
    yield server
    server.close()


def refusal(server, code, metadata, call="ListLists", message=pb.ListListsRequest()):
    with failing(code) as failure:
        getattr(server.stub, call)(message, metadata=metadata, timeout=20)
    return details(failure.error)


def test_each_bad_key_has_the_same_details(guarded):
    answers = [
        refusal(guarded, grpc.StatusCode.UNAUTHENTICATED, metadata)
        for metadata in ([], bearer("x"), bearer(f"ck_{'0' * 16}_{'0' * 64}"))]
    assert answers[0]["ErrorInfo"].reason == "KEY_INVALID"
    assert set(answers[0]) == {"ErrorInfo"}
    assert answers == [answers[0]] * 3


def test_a_missing_right_is_told(guarded):
    key = make_key(guarded, "reads", "default", "--rights", "read")
    found = refusal(
        guarded, grpc.StatusCode.PERMISSION_DENIED, bearer(key), "CreateList",
        pb.CreateListRequest(name="x"))
    assert found["ErrorInfo"].reason == "RIGHT_MISSING"


def test_who_has_too_many_calls_open_is_told_when_to_come_back(guarded):
    key = make_key(guarded, "one", "default", "--streams", "1")
    call = guarded.stub.WatchEvents(pb.WatchEventsRequest(), metadata=bearer(key), timeout=60)
    call.initial_metadata()
    found = refusal(guarded, grpc.StatusCode.RESOURCE_EXHAUSTED, bearer(key))
    assert found["ErrorInfo"].reason == "KEY_STREAMS_TOO_MANY"
    assert dict(found["ErrorInfo"].metadata) == {"limit": "1"}
    check_retry(found, 2000)
    call.cancel()


def test_whose_rate_is_used_up_is_told_when_to_come_back(guarded):
    key = make_key(guarded, "slow", "default", "--contacts-per-second", "10")
    message = pb.UpsertContactsRequest(
        contacts=[pb.Contact(email=f"{n}@rate.example") for n in range(100)])
    begun = time.monotonic()
    guarded.stub.UpsertContacts(message, metadata=bearer(key), timeout=20)
    sent = time.monotonic()
    found = refusal(
        guarded, grpc.StatusCode.RESOURCE_EXHAUSTED, bearer(key), "UpsertContacts", message)
    assert found["ErrorInfo"].reason == "KEY_RATE_EXCEEDED"
    delay = found["RetryInfo"].retry_delay.ToMilliseconds() / 1000
    # Ninety contacts were too many, which is nine seconds, and some of these are over.
    assert 9.1 - (time.monotonic() - begun) <= delay <= 2 * 9.2, delay
    time.sleep(max(0, sent + delay - time.monotonic()))
    guarded.stub.UpsertContacts(message, metadata=bearer(key), timeout=20)
