"""Custom fields come back as they were sent."""

import math
import struct

import pytest

from harness import CREATED, FAILED, UNCHANGED, UPDATED, field, get, upsert
from stubs import pb


def stamp(seconds, nanos=0):
    return field("t", timestamp_value={"seconds": seconds, "nanos": nanos})


def write_and_read(stub, email, fields):
    contact = pb.Contact(email=email, fields=fields)
    results = upsert(stub, [contact, contact]).results
    assert [r.status for r in results] == [CREATED, UNCHANGED], results
    return list(get(stub, {"email": email})[0].record.contact.fields)


@pytest.mark.parametrize("value", [
    0, 1, -1, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 10**18,
    0.0, 0.1, 5.0, -5.0, 1e15, 1e16, 1e17, 2.0**53, 9007199254740993.0, 1e21, 1e22, 1e100, 1e308,
    5e-324, 2.2250738585072014e-308, 2.225073858507201e-308, 1.7976931348623157e308, 1e-7, 123456.789,
    0.1 + 0.2, math.pi, -1.7976931348623157e308, float(2**63), 4.35, 1 / 3,
    True, False,
    "", " ", "plain", "Ünïcödé 李 😀", "a\u0301", "\\ \" / \b \f \n \r \t \x01 \x7f", "\u2028\ufeff\uffff",
    "2020-01-01T00:00:00.000000Z", "true", "null", "5", "1e5", "{}", "[1]", "\\u0000", "x" * 50_000,
], ids=lambda v: f"{type(v).__name__}-{str(v)[:20]!r}")
def test_a_value_comes_back_with_its_kind_and_to_the_last_bit(stub, domain, value):
    sent = field("value", value)
    back = write_and_read(stub, f"a@{domain}", [sent])
    assert back == [sent]
    if isinstance(value, float):
        assert struct.pack("d", back[0].number_value) == struct.pack("d", value)


def test_minus_zero_becomes_zero(stub, domain):
    back = write_and_read(stub, f"a@{domain}", [field("z", -0.0)])
    assert math.copysign(1, back[0].number_value) == 1
    assert back[0].WhichOneof("value") == "number_value"


@pytest.mark.parametrize(("sent", "stored"), [
    (stamp(0), "1970-01-01T00:00:00.000000Z"),
    (stamp(-62135596800), "0001-01-01T00:00:00.000000Z"),
    (stamp(-62135596800, 1000), "0001-01-01T00:00:00.000001Z"),
    (stamp(253402300799, 999_999_000), "9999-12-31T23:59:59.999999Z"),
    (stamp(-1, 999_999_000), "1969-12-31T23:59:59.999999Z"),
    (stamp(951782400), "2000-02-29T00:00:00.000000Z"),
    (stamp(-2203891200), "1900-03-01T00:00:00.000000Z"),
    (stamp(1700000000, 123_456_000), "2023-11-14T22:13:20.123456Z"),
], ids=lambda v: v if isinstance(v, str) else "")
def test_a_timestamp_comes_back_to_the_microsecond(server, stub, domain, sent, stored):
    assert write_and_read(stub, f"a@{domain}", [sent]) == [sent]
    rows = server.query("SELECT fields FROM contacts WHERE email = %s", f"a@{domain}")
    assert rows == [({"t": stored},)]


def test_digits_beyond_the_microsecond_are_dropped(stub, domain):
    assert write_and_read(stub, f"a@{domain}", [stamp(5, 1999)]) == [stamp(5, 1000)]
    assert write_and_read(stub, f"b@{domain}", [stamp(253402300799, 999_999_999)]) == [
        stamp(253402300799, 999_999_000)]
    assert write_and_read(stub, f"c@{domain}", [stamp(-5, 999)]) == [stamp(-5)]


def test_the_database_keeps_json_of_each_kind(server, stub, domain):
    write_and_read(stub, f"a@{domain}", [
        field("s", "text"), field("i", 2**63 - 1), field("n", 5.0), field("b", True), stamp(0)])
    rows = server.query(
        "SELECT jsonb_typeof(fields->'s'), jsonb_typeof(fields->'i'), fields->>'i',"
        " jsonb_typeof(fields->'n'), (fields->>'n')::float8, jsonb_typeof(fields->'b'),"
        " fields->>'t' FROM contacts WHERE email = %s", f"a@{domain}")
    assert rows == [("string", "number", str(2**63 - 1), "number", 5.0, "boolean",
                     "1970-01-01T00:00:00.000000Z")]


def test_a_field_may_change_its_kind(stub, domain):
    kinds = [field("t", "1970-01-01T00:00:00.000000Z"), stamp(0), field("t", 5), field("t", 5.0),
             field("t", True), field("t", "5"), stamp(0), stamp(0),
             field("t", "1970-01-01T00:00:00.000000Z")]
    statuses = []
    for kind in kinds:
        result = upsert(stub, [pb.Contact(email=f"a@{domain}", fields=[kind])]).results[0]
        statuses.append(result.status)
        assert list(get(stub, {"email": f"a@{domain}"})[0].record.contact.fields) == [kind]
    assert statuses == [CREATED] + [UPDATED] * 6 + [UNCHANGED, UPDATED]


def test_a_field_may_change_its_kind_within_one_call(stub, domain):
    kinds = [stamp(0), field("t", "x"), stamp(1), field("t"), field("t", 1)]
    results = upsert(stub, [pb.Contact(email=f"a@{domain}", fields=[k]) for k in kinds]).results
    assert [r.status for r in results] == [CREATED] + [UPDATED] * 4
    assert list(get(stub, {"email": f"a@{domain}"})[0].record.contact.fields) == [field("t", 1)]


def test_names_are_kept_as_they_are(stub, domain):
    names = ["a", "A", " a", "string--Test--Field", "n" * 150, "é" * 75, "\"quoted\" \\", "李", "😀",
             "a.b", "$x", "__proto__", "\u0001", "a\u0301", "á"]
    sent = [field(name, number) for number, name in enumerate(names)]
    back = write_and_read(stub, f"a@{domain}", sent)
    assert {f.name: f.integer_value for f in back} == {f.name: f.integer_value for f in sent}
    assert len(back) == len(sent)


def test_a_contact_may_have_three_hundred_fields_and_not_one_more(stub, domain):
    fields = [field(f"f{n}", n) for n in range(301)]
    assert len(write_and_read(stub, f"a@{domain}", fields[:300])) == 300
    result = upsert(stub, [pb.Contact(email=f"b@{domain}", fields=fields)]).results[0]
    assert (result.status, result.error.reason) == (FAILED, "FIELD_INVALID")


@pytest.mark.parametrize(("fields", "left"), [
    ([field("a", 1), field("a", "two")], [field("a", "two")]),
    ([field("a", 1), field("b", 1), field("a")], [field("b", 1)]),
    ([field("a"), field("a", 1)], [field("a", 1)]),
    ([field("a", 1), field("a", 1)], [field("a", 1)]),
    ([stamp(1), field("t", "x")], [field("t", "x")]),
    ([field("t", "x"), stamp(1)], [stamp(1)]),
    ([field("gone")], []),
])
def test_of_one_name_twice_the_last_stands(stub, domain, fields, left):
    assert write_and_read(stub, f"a@{domain}", fields) == left
    # Over a stored value it is the same.
    email = f"b@{domain}"
    upsert(stub, [pb.Contact(email=email, fields=[field("a", 9), field("b", 9), stamp(9)])])
    upsert(stub, [pb.Contact(email=email, fields=fields)])
    named = {f.name for f in fields}
    kept = [f for f in [field("a", 9), field("b", 9), stamp(9)] if f.name not in named]
    back = list(get(stub, {"email": email})[0].record.contact.fields)
    assert sorted(back, key=lambda f: f.name) == sorted(left + kept, key=lambda f: f.name)


def test_a_contact_of_a_hundred_kibibytes_is_taken_and_a_larger_one_fails_alone(stub, domain):
    limit = 100 * 1024
    contact = pb.Contact(email=f"a@{domain}", fields=[field("big", "x" * 100_000)])
    contact.fields[0].string_value += "x" * (limit - contact.ByteSize())
    assert contact.ByteSize() == limit
    larger = pb.Contact(email=f"b@{domain}", fields=contact.fields)
    larger.fields[0].string_value += "x"
    results = upsert(stub, [contact, larger, pb.Contact(email=f"c@{domain}")]).results
    assert [r.status for r in results] == [CREATED, FAILED, CREATED]
    assert results[1].error.reason == "CONTACT_TOO_LARGE"
    back = get(stub, {"email": f"a@{domain}"})[0].record.contact
    assert list(back.fields) == list(contact.fields)


def test_the_longest_texts_are_taken(stub, domain):
    contact = pb.Contact(email=f"a@{domain}", name="n" * 1024, first_name="é" * 512,
                         last_name="😀" * 256, external_id="x" * 255)
    assert upsert(stub, [contact]).results[0].status == CREATED
    back = get(stub, {"email": contact.email})[0].record.contact
    back.ClearField("id")
    assert back == contact
