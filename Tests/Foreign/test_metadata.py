"""The rules for what stands beside a call's messages (gRPC PROTOCOL-HTTP2): timeouts, ASCII and binary
metadata, status messages."""

import re
import time
import urllib.parse

import pytest

from stubs import pb
from wire import Connection, envelope

OK, DEADLINE_EXCEEDED, NOT_FOUND, INTERNAL = 0, 4, 5, 13


@pytest.fixture
def wire(server):
    with Connection(server) as connection:
        yield connection
        assert connection.call("GetContacts", envelope(b"")).status == OK


@pytest.mark.parametrize("text,seconds", [
    ("20000000n", 0.02), ("200000u", 0.2), ("200m", 0.2), ("1S", 1.0), ("00000200m", 0.2)])
def test_a_deadline_is_kept_in_each_unit(wire, text, seconds):
    start = time.monotonic()
    stream = wire.open("/contacts.v1.ContactService/BulkUpsert", headers=[("grpc-timeout", text)])
    answer = wire.wait(stream)
    assert answer.status == DEADLINE_EXCEEDED
    assert seconds <= time.monotonic() - start < seconds + 5


@pytest.mark.parametrize("text", ["99999999n", "99999999u", "99999999m", "99999999S", "99999999M",
                                  "99999999H", "1M", "1H"])
def test_a_long_deadline_lets_the_call_be(wire, text):
    answer = wire.call("GetContacts", envelope(b""), headers=[("grpc-timeout", text)])
    assert answer.status == OK


@pytest.mark.parametrize("text", ["", "1", "S", "1s", "1d", "-1S", "+1S", "1.5S", "1 S", "100000000S",
                                  "0x1S", "1SS", "S1"])
def test_what_is_no_timeout_is_refused(wire, text):
    answer = wire.call("GetContacts", envelope(b""), headers=[("grpc-timeout", text)])
    assert answer.status == INTERNAL
    assert "grpc-timeout" in answer.headers["grpc-message"]


def test_a_timeout_of_nothing_is_over_at_once(wire):
    stream = wire.open("/contacts.v1.ContactService/BulkUpsert", headers=[("grpc-timeout", "0S")])
    assert wire.wait(stream).status == DEADLINE_EXCEEDED


@pytest.mark.parametrize("value", ["plain", "with space", "!\"#$%&'()*+,-./~", "", "a,b;c=d"])
def test_ascii_metadata_is_taken(wire, value):
    assert wire.call("GetContacts", envelope(b""), headers=[("x-note", value)]).status == OK


@pytest.mark.parametrize("value", ["Straße", "\x7f", "a\tb", "\u0080"])
@pytest.mark.parametrize("name", ["x-note", "contacts-workspace"])
def test_metadata_that_is_not_ascii_is_refused(wire, name, value):
    """A tab and DEL are let pass by HTTP, or refused by it (RFC 9113 section 8.2.1)."""
    answer = wire.call("GetContacts", envelope(b""), headers=[(name, value)])
    if answer.reset is None:
        assert answer.status == INTERNAL, answer
        assert name in answer.headers["grpc-message"]


@pytest.mark.parametrize("value", [
    "", "AA", "AA==", "AAE", "AAE=", "AAEC", "+/+/", "AAEC,AA==,AAE", "AAEC, AAE=", ","])
def test_binary_metadata_is_base64_with_or_without_padding_and_may_be_joined(wire, value):
    assert wire.call("GetContacts", envelope(b""), headers=[("x-bin", value)]).status == OK


@pytest.mark.parametrize("value", ["A", "AA=A", "AA===", "A-_A", "AA!A", "AAEC,A", "AAEC AAEC"])
def test_binary_metadata_that_is_not_base64_is_refused(wire, value):
    answer = wire.call("GetContacts", envelope(b""), headers=[("x-bin", value)])
    assert answer.status == INTERNAL
    assert "x-bin" in answer.headers["grpc-message"]


@pytest.mark.parametrize("text", ["é", "100 %", "a\nb", "\t", "李", "\U0001f600", "~ ", "%41"])
def test_a_status_message_comes_back_as_it_was(wire, text):
    """A caller's text in the message of an error, percent-encoded on the wire."""
    path = "/contacts.v1.ContactService/GetImport"
    answer = wire.call("", envelope(pb.GetImportRequest(import_id=text)), path=path)
    assert answer.status == NOT_FOUND
    told = {**answer.headers, **answer.trailers}["grpc-message"]
    assert re.fullmatch(r"([ -$&-~]|%[0-9A-F]{2})+", told), told
    assert urllib.parse.unquote(told).endswith(f"no import {text}")
