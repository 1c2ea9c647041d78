"""What no well-behaved client sends: the answer is in the contract's words, and the next call works."""

import gzip
import re
import socket
import struct
import time

import grpc
import pytest

from harness import CREATED, FAILED, bulk, check_summary, get, request, upsert
from stubs import pb
from wire import Connection, envelope, field, varint

OK, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND = 0, 3, 4, 5
RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL = 8, 12, 13

METHODS = ["BulkUpsert", "UpsertContacts", "GetContacts"]


@pytest.fixture
def wire(server):
    with Connection(server) as connection:
        yield connection
        # The same connection serves the next call.
        if not connection.closed:
            answer = connection.call("GetContacts", envelope(b""))
            assert answer.status == OK


def is_grpc(answer):
    assert answer.headers[":status"] == "200", answer
    assert answer.headers["content-type"].startswith("application/grpc"), answer
    return answer


MALFORMED = {
    "a truncated length": b"\x1a\x05abc",
    "a varint without end": b"\xff" * 11,
    "a varint that is cut": b"\x10\xff",
    "field number 0": b"\x00\x01",
    "wire type 6": b"\x0e",
    "wire type 7": b"\x0f",
    "a length over the message": b"\x1a\xff\xff\xff\xff\x0f",
    "a length of 64 bits": b"\x1a" + b"\xff" * 9 + b"\x01",
    "a cut fixed64": b"\x79\x00\x00",
    "an end of a group that never began": b"\x7c",
    "a nested truncation": field(3, b"\x0a\x7fx") + field(1, b"\x0a\x7fx"),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_message_is_an_invalid_argument(wire, method, kind):
    answer = is_grpc(wire.call(method, envelope(MALFORMED[kind])))
    assert answer.status == INVALID_ARGUMENT, answer


def test_a_malformed_message_in_mid_stream_leaves_what_was_answered(server, stub, wire, domain):
    good = envelope(request([pb.Contact(email=f"a@{domain}")]))
    stream = wire.open("/contacts.v1.ContactService/BulkUpsert")
    wire.send(stream, good)
    wire.wait(stream, lambda a: len(a.messages(pb.BulkUpsertResponse)) >= 2)
    wire.send(stream, envelope(b"\x1a\x7f"))
    answer = wire.wait(stream)
    assert answer.status == INVALID_ARGUMENT
    assert get(stub, {"email": f"a@{domain}"})[0].found


def test_unknown_fields_are_ignored(wire, stub, domain):
    unknown = varint(15 << 3) + b"\x01" + varint(99 << 3 | 5) + b"1234" + field(5000, b"x") + \
        varint(16 << 3 | 1) + b"12345678"
    contact = field(1, f"a@{domain}") + unknown
    answer = is_grpc(wire.call("BulkUpsert", envelope(unknown + field(3, contact) + unknown)))
    assert answer.status == OK, answer
    messages = answer.messages(pb.BulkUpsertResponse)
    assert messages[-1].summary.created == 1


def test_a_known_field_with_another_wire_type_is_not_taken_for_its_value(wire, domain):
    """Parsers keep such a field as an unknown one; a refusal of the message is let pass."""
    contact = field(1, f"a@{domain}") + varint(5 << 3) + b"\x05"
    answer = is_grpc(wire.call("BulkUpsert", envelope(field(3, contact))))
    assert answer.status in (OK, INVALID_ARGUMENT), answer


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("cut", [b"\x00", b"\x00\x00\x00\x00", b"\x00\x00\x00\x00\x05ab"])
def test_a_half_close_inside_an_envelope_is_an_error(wire, method, cut):
    answer = is_grpc(wire.call(method, cut))
    assert answer.status in (INVALID_ARGUMENT, INTERNAL), answer


def test_a_half_close_inside_a_later_envelope_leaves_what_was_answered(wire, stub, domain):
    good = envelope(request([pb.Contact(email=f"a@{domain}")]))
    answer = is_grpc(wire.call("BulkUpsert", good + b"\x00\x00\x00\x01\x00partial"))
    assert answer.status in (INVALID_ARGUMENT, INTERNAL), answer
    results = [r for m in answer.messages(pb.BulkUpsertResponse) for r in m.results.results]
    found = get(stub, {"email": f"a@{domain}"})[0]
    assert not results or found.found


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("length", [4 * 1024 * 1024 + 1, 2**31, 2**32 - 1])
def test_the_header_of_a_message_over_the_limit_is_enough_to_exhaust_resources(
        wire, method, length):
    start = time.monotonic()
    answer = is_grpc(wire.call(method, struct.pack(">BI", 0, length), end=False))
    assert answer.status == RESOURCE_EXHAUSTED, answer
    assert time.monotonic() - start < 5


def test_a_message_of_exactly_the_limit_is_taken(server, domain):
    """Padded by a field that the server does not know."""
    message = request([pb.Contact(email=f"a@{domain}")]).SerializeToString()
    room = 4 * 1024 * 1024 - len(message)
    padding = field(1000, b"x" * (room - 6))
    message += padding
    assert len(message) == 4 * 1024 * 1024
    with grpc.insecure_channel(server.address) as channel:
        answers = list(channel.stream_stream("/contacts.v1.ContactService/BulkUpsert")(
            iter([message]), timeout=30))
        summary = pb.BulkUpsertResponse.FromString(answers[-1]).summary
        assert summary.created == 1
        with pytest.raises(grpc.RpcError) as caught:
            list(channel.stream_stream("/contacts.v1.ContactService/BulkUpsert")(
                iter([message + b"\xa8\x01\x01"]), timeout=30))
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_compressed_message_without_an_encoding_is_an_internal_error(wire):
    answer = is_grpc(wire.call("BulkUpsert", envelope(gzip.compress(b""), compressed=1)))
    assert answer.status == INTERNAL, answer


@pytest.mark.parametrize("flag", [2, 255])
def test_a_compressed_flag_that_is_neither_0_nor_1_is_an_error(wire, flag):
    answer = is_grpc(wire.call("BulkUpsert", envelope(b"", compressed=flag)))
    assert answer.status in (INTERNAL, INVALID_ARGUMENT), answer


@pytest.mark.parametrize("method", METHODS)
def test_an_unknown_encoding_is_unimplemented_and_the_known_ones_are_told(wire, method):
    answer = is_grpc(wire.call(
        method, envelope(b"\x00", compressed=1), headers=[("grpc-encoding", "snappy")]))
    assert answer.status == UNIMPLEMENTED, answer
    accepted = {**answer.headers, **answer.trailers}["grpc-accept-encoding"]
    assert "snappy" not in accepted


def test_the_identity_encoding_is_accepted(wire):
    answer = is_grpc(wire.call("BulkUpsert", envelope(b""), headers=[
        ("grpc-encoding", "identity"), ("grpc-accept-encoding", "identity,gzip")]))
    assert answer.status == OK, answer


def test_a_client_that_compresses_is_served_or_told_what_is_accepted(server, domain):
    channel = grpc.insecure_channel(server.address, compression=grpc.Compression.Gzip)
    with channel:
        call = channel.unary_unary(
            "/contacts.v1.ContactService/UpsertContacts",
            request_serializer=pb.UpsertContactsRequest.SerializeToString,
            response_deserializer=pb.UpsertContactsResponse.FromString)
        contact = pb.Contact(email=f"a@{domain}", name="n" * 1000)
        try:
            response = call(pb.UpsertContactsRequest(contacts=[contact]), timeout=10)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNIMPLEMENTED
        else:
            assert response.results[0].status == CREATED


@pytest.mark.parametrize("content_type", [
    "application/json", "text/plain", "application/grp", "application/x-protobuf", "", None])
def test_another_content_type_is_an_unsupported_media_type(wire, content_type):
    answer = wire.call("BulkUpsert", envelope(b""), content_type=content_type)
    assert answer.headers[":status"] == "415", answer


@pytest.mark.parametrize("content_type", ["application/grpc", "application/grpc+proto"])
def test_both_content_types_of_grpc_are_taken(wire, content_type):
    answer = is_grpc(wire.call("GetContacts", envelope(b""), content_type=content_type))
    assert answer.status == OK


@pytest.mark.parametrize("verb", ["GET", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("end", [True, False])
def test_another_method_than_post_is_not_allowed(wire, verb, end):
    answer = wire.call("BulkUpsert", end=end, verb=verb)
    assert answer.headers[":status"] == "405", answer


@pytest.mark.parametrize("path", [
    "/contacts.v1.ContactService/NoSuch", "/contacts.v1.NoSuch/BulkUpsert",
    "/contacts.v1.ContactService/bulkupsert", "/contacts.v1.ContactService/", "/", "/x",
    "//contacts.v1.ContactService/BulkUpsert", "/contacts.v1.ContactService/BulkUpsert/",
    "/contacts.v1.ContactService/BulkUpsert?x=1", "/" + "x" * 3000,
    "/grpc.testing.TestService/EmptyCall"])
def test_an_unknown_method_is_unimplemented(wire, path):
    answer = is_grpc(wire.call("", envelope(b""), path=path))
    assert answer.status == UNIMPLEMENTED, answer


def test_an_error_before_any_response_is_trailers_only(wire):
    answer = is_grpc(wire.call("NoSuch", envelope(b"")))
    assert answer.status == UNIMPLEMENTED
    assert (answer.trailers, bytes(answer.body)) == ({}, b"")
    assert answer.headers["grpc-message"]


def test_the_message_of_an_error_is_percent_encoded(wire):
    answers = [is_grpc(wire.call("", envelope(b""), path="/contacts.v1.ContactService/%zz%"))]
    for text in ("é%\n", "李\r"):
        message = request(default_dial_code=text)
        answers.append(is_grpc(wire.call("BulkUpsert", envelope(message))))
    for answer in answers:
        told = {**answer.headers, **answer.trailers}["grpc-message"]
        assert re.fullmatch(r"([ -$&-~]|%[0-9A-F]{2})+", told), told


def test_a_half_close_without_any_message_is_an_import_of_nothing(wire):
    answer = is_grpc(wire.call("BulkUpsert", b""))
    assert answer.status == OK, answer
    messages = answer.messages(pb.BulkUpsertResponse)
    assert messages[-1].WhichOneof("response") == "summary"
    check_summary(messages[-1].summary, [])


@pytest.mark.parametrize("method", ["UpsertContacts", "GetContacts"])
@pytest.mark.parametrize("count", [0, 2])
def test_a_unary_call_takes_exactly_one_message(wire, method, count):
    answer = is_grpc(wire.call(method, envelope(b"") * count))
    assert answer.status in (INVALID_ARGUMENT, UNIMPLEMENTED, INTERNAL), answer


def test_where_frames_are_cut_means_nothing(wire, domain):
    data = b"".join(
        envelope(request([pb.Contact(email=f"{n}@{domain}")])) for n in range(30))
    stream = wire.open("/contacts.v1.ContactService/BulkUpsert")
    for at in range(len(data)):
        wire.h2.send_data(stream, data[at:at + 1], pad_length=at % 3 or None)
        if at % 100 == 0:
            wire.push()
            wire.pull(0)
    wire.send(stream, b"", end=True)
    answer = is_grpc(wire.wait(stream))
    assert answer.status == OK, answer
    assert answer.messages(pb.BulkUpsertResponse)[-1].summary.created == 30


BAD_TEXT = {
    "a lone byte": b"\xff", "an overlong form": b"\xc0\x80", "a surrogate": b"\xed\xa0\x80",
    "beyond Unicode": b"\xf4\x90\x80\x80", "a cut sequence": b"abc\xe2\x82", "NUL": b"a\x00b",
    "CESU-8": b"\xed\xa0\xbd\xed\xb8\x80",
}
TEXT_FIELDS = {1: "email", 2: "phone", 3: "external_id", 5: "name", 6: "first_name", 7: "last_name"}


@pytest.mark.parametrize("kind", BAD_TEXT)
def test_text_that_is_not_utf8_fails_its_contact_alone(wire, stub, domain, kind):
    bad = BAD_TEXT[kind]
    email = field(1, f"bad@{domain}")
    contacts = [(field(1, f"first@{domain}"), None)]
    for number, name in TEXT_FIELDS.items():
        contacts.append(((b"" if number == 1 else email) + field(number, bad), name))
    contacts.append((email + field(9, field(1, bad) + field(2, "x")), "fields.0"))
    contacts.append((email + field(9, field(1, "a") + field(2, "x")) +
                     field(9, field(1, "x") + field(2, bad)), "fields.1"))
    contacts.append((field(1, f"last@{domain}"), None))
    answer = is_grpc(wire.call("BulkUpsert", envelope(b"".join(field(3, c) for c, _ in contacts))))
    assert answer.status == OK, answer
    results = [r for m in answer.messages(pb.BulkUpsertResponse) for r in m.results.results]
    assert [(r.error.reason, r.error.field) if r.status == FAILED else None for r in results] == [
        name and ("INVALID_UTF8", name) for _, name in contacts]
    entries = get(stub, *({"email": f"{n}@{domain}"} for n in ("first", "bad", "last")))
    assert [e.found for e in entries] == [True, False, True]


@pytest.mark.parametrize("kind", BAD_TEXT)
def test_options_that_are_not_utf8_are_an_invalid_argument(wire, kind):
    for number in (1, 5):
        answer = is_grpc(wire.call(
            "BulkUpsert", envelope(field(1, field(number, BAD_TEXT[kind])))))
        assert answer.status == INVALID_ARGUMENT, answer


def test_a_key_that_is_not_utf8_breaks_nothing(wire):
    for number in (1, 2, 3, 4):
        answer = is_grpc(wire.call("GetContacts", envelope(field(1, field(number, b"\xff")))))
        assert answer.status in (OK, INVALID_ARGUMENT), answer


def test_over_long_values_fail_their_contacts_alone(wire, stub, domain):
    sent = [pb.Contact(email=f"a{n}@{domain}", **{name: "x" * 90_000}) for n, name in enumerate(
        ("name", "first_name", "last_name", "external_id"))]
    sent.append(pb.Contact(email=f"b@{domain}", phone="1" * 90_000))
    sent.append(pb.Contact(email="x" * 90_000 + f"@{domain}"))
    sent.append(pb.Contact(email=f"c@{domain}"))
    results = upsert(stub, sent).results
    assert [r.error.reason for r in results[:4]] == ["VALUE_TOO_LONG"] * 4
    assert results[4].error.reason in ("PHONE_INVALID", "VALUE_TOO_LONG")
    assert results[5].error.reason in ("EMAIL_INVALID", "VALUE_TOO_LONG")
    assert results[6].status == CREATED
    assert all(len(r.error.message) < 500 for r in results)


FLOODS = {
    "empty contacts": b"\x1a\x00", "empty fields": None, "unknown fields": b"\x7a\x00",
    "empty options": b"\x0a\x00", "empty labels": None, "list ids": None, "unpacked list ids": None,
}


@pytest.mark.parametrize("method", ["BulkUpsert", "UpsertContacts"])
@pytest.mark.parametrize("kind", FLOODS)
def test_four_mebibytes_of_nothing_cost_little(own_server, method, kind):
    server = own_server
    size = 4 * 1024 * 1024 - 64
    contacts = 3 if method == "BulkUpsert" else 2
    message = {
        "empty contacts": lambda: field(contacts, b"") * (size // 2),
        "empty fields": lambda: field(contacts, b"\x4a\x00" * (size // 2)),
        "unknown fields": lambda: b"\x7a\x00" * (size // 2),
        "empty options": lambda: b"\x0a\x00" * (size // 2),
        "empty labels": lambda: field(1, b"\x5a\x00" * (size // 2)),
        "list ids": lambda: field(contacts, field(8, b"\x00" * (size - 16))),
        "unpacked list ids": lambda: field(1, b"\x30\x00" * (size // 2)),
    }[kind]()
    before = server.memory("VmRSS")
    start = time.monotonic()
    with Connection(server) as wire:
        answer = is_grpc(wire.call(method, envelope(message)))
    assert time.monotonic() - start < 10
    assert answer.status is not None, answer
    if kind == "empty contacts":
        assert answer.status == INVALID_ARGUMENT
    assert server.memory("VmHWM") < max(before, 60) + 40
    get(server.stub, {"email": "a@b.example"})


@pytest.fixture(scope="module")
def own_server():
    import harness

    server = harness.Server()
    yield server
    server.close()


@pytest.mark.parametrize("data", [
    b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"\x00" * 100,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    b"\x00\x00\x04\x01\x05\x00\x00\x00\x01\xff\xff\xff\xff"])
def test_what_is_not_http2_is_closed(server, stub, data):
    with socket.create_connection((server.host, server.port), timeout=15) as connection:
        connection.sendall(data)
        try:
            while connection.recv(65536):
                pass
        except ConnectionResetError:
            pass


def test_a_connection_that_is_reset_in_mid_message_breaks_nothing(server, stub, domain):
    for _ in range(20):
        with Connection(server) as wire:
            stream = wire.open("/contacts.v1.ContactService/BulkUpsert")
            wire.send(stream, envelope(request([pb.Contact(email=f"a@{domain}")]))[:-3])
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    bulk(stub, [request([pb.Contact(email=f"b@{domain}")])]).check_ok(1)


@pytest.mark.parametrize("text", ["1", "1X", "123456789S", "-1S", "S", "1.5S", " 1S", ""])
def test_a_bad_grpc_timeout_is_refused_or_ignored(wire, text):
    answer = wire.call("GetContacts", envelope(b""), headers=[("grpc-timeout", text)])
    if answer.reset is None:
        assert answer.headers.get(":status") in ("200", "400"), answer
        assert answer.status in (OK, INVALID_ARGUMENT, INTERNAL, None), answer


@pytest.mark.parametrize("text", ["10S", "1H", "99999999H", "1M", "5000m", "5000000u", "99999999n"])
def test_each_unit_of_grpc_timeout_is_understood(wire, text):
    answer = is_grpc(wire.call("GetContacts", envelope(b""), headers=[("grpc-timeout", text)]))
    assert answer.status == OK, answer


def test_large_metadata_is_refused_or_taken_but_never_fatal(server, stub):
    with Connection(server) as wire:
        headers = [(f"x-{n}", "v" * 500) for n in range(200)]
        answer = wire.call("GetContacts", envelope(b""), headers=headers)
        assert answer.over or wire.closed
    get(stub, {"email": "a@b.example"})
