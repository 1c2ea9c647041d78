"""BulkUpsert: many contacts, one result for each, in order."""

import os
import random
import re
import time
import uuid

import grpc
import pytest

from harness import (CREATED, FAILED, UNCHANGED, UPDATED, LiveCall, bulk, field, get, request)
from stubs import pb

ONE_BY_ONE = int(os.environ.get("FOREIGN_COUNT", "20000"))
MANY = int(os.environ.get("FOREIGN_COUNT", "100000"))


def contact(number, **fields):
    return pb.Contact(email=f"c{number}@stream.example", name=f"Name {number}", **fields)


@pytest.mark.parametrize(("count", "per_message"), [(ONE_BY_ONE, 1), (MANY, 500)])
def test_every_contact_of_a_long_stream_gets_one_result_and_a_second_run_changes_nothing(
        server, stub, workspace, count, per_message):
    def messages():
        for start in range(1, count + 1, per_message):
            end = min(start + per_message, count + 1)
            yield request([contact(n) for n in range(start, end)], first_sequence=start)

    first = bulk(stub, messages(), workspace).check_ok(count)
    assert set(first.statuses) == {CREATED}
    emails = {row[0]: row[1] for row in server.rows(workspace)}
    assert len(emails) == count
    assert [emails.get(i) for i in first.ids] == [
        f"c{n}@stream.example" for n in range(1, count + 1)]

    second = bulk(stub, messages(), workspace).check_ok(count)
    assert set(second.statuses) == {UNCHANGED}
    assert second.ids == first.ids


def test_a_table_that_was_empty_a_moment_ago_is_searched_by_its_index(own_servers):
    """On a new database nothing is known of the table yet; a second run must not cost more by its
    size squared."""
    stub = own_servers().stub
    messages = [request([contact(n) for n in range(start, start + 500)])
                for start in range(1, 30_001, 500)]
    times = []
    for _ in range(2):
        start = time.monotonic()
        bulk(stub, messages).check_ok(30_000)
        times.append(time.monotonic() - start)
    assert times[1] < 2 + 3 * times[0], times


def test_started_comes_first_and_tells_the_options_in_force_and_the_limits(stub, domain):
    call = LiveCall(stub)
    call.send(request(write_mode=pb.WRITE_MODE_REPLACE, default_dial_code="44"))
    started = call.read().started
    assert started.import_id
    assert not started.resumed
    assert started.committed_through == 0
    assert started.options.match_by == pb.MATCH_BY_EMAIL
    assert started.options.write_mode == pb.WRITE_MODE_REPLACE
    assert started.options.existence == pb.EXISTENCE_UPSERT
    assert started.options.results == pb.RESULT_MODE_ALL
    assert started.options.default_dial_code == "44"
    assert started.limits.max_message_bytes == 4 * 1024 * 1024
    assert started.limits.max_contact_bytes == 100 * 1024
    assert started.limits.max_text_bytes == 1024
    assert started.limits.max_fields == 300
    assert started.limits.max_contacts_per_message > 0
    assert started.limits.max_unacknowledged_contacts > 0
    call.send(request([pb.Contact(email=f"a@{domain}")]))
    assert call.read_results(1).statuses == [CREATED]
    call.half_close()
    call.finish().check_ok(1)


def test_the_response_headers_come_before_any_request_message(stub):
    call = LiveCall(stub, timeout=10)
    call.call.initial_metadata()
    assert call.call.is_active(), call.call.details()
    call.half_close()
    call.finish().check_ok(0)


def test_results_come_while_the_client_still_sends(stub, domain):
    call = LiveCall(stub)
    for number in range(1, 6):
        call.send(request([pb.Contact(email=f"{number}@{domain}")]))
        outcome = call.read_results(number)
        assert outcome.results[-1].sequence == number
    call.half_close()
    call.finish().check_ok(5)


def test_a_stream_of_empty_messages_is_a_call_without_contacts(stub):
    outcome = bulk(stub, [request(), request(), request()]).check_ok(0)
    assert outcome.started.import_id


NAMES = [
    "Анна Ковальчук", "李小龍", "山田 太郎", "김민준", "محمد الفاتح", "דוד כהן", "Ελένη Παπαδοπούλου",
    "สมชาย ใจดี", "राहुल शर्मा", "Nguyễn Thị Hồng", "Zoë Müller-Ångström", "Łukasz Żółć", "👩‍👩‍👧 Family",
    "𝔊𝔬𝔱𝔥𝔦𝔠", "O'Brien \"Bob\" \\ /", "tab\tnew\nline", "a\u0301 decomposed", "\u200fRTL mark",
    "ཀརྨ", "ጌታቸው", "{\"json\": null}", "\\N", "\\.", "NULL", "' OR 1=1; --", "\u0001\u001f\u007f",
    "\U0010ffff\ufffd\ufffe", " spaces kept? ",
]

EMAILS = [
    ("Plus.Address+News@Example.COM", "plus.address+news@example.com"),
    ("UPPER@EXAMPLE.ORG", "upper@example.org"),
    ("  trimmed@example.org\t", "trimmed@example.org"),
    ("\u00a0\u2003wide@example.org\u3000", "wide@example.org"),
    ("Ünïcode@exämple.org", "ünïcode@exämple.org"),
    ("Jose\u0301@example.org", "jos\u00e9@example.org"),
    ("用户@例子.广告", "用户@例子.广告"),
    ("ДОМ@ПОЧТА.РФ", "дом@почта.рф"),
    ("a!#$%&'*+-/=?^_`{|}~b@example.org", "a!#$%&'*+-/=?^_`{|}~b@example.org"),
    ("l" * 64 + "@example.org", "l" * 64 + "@example.org"),
    ("x@" + ".".join(["d" * 62] * 4), "x@" + ".".join(["d" * 62] * 4)),
    ("digits@1a.2b.example", "digits@1a.2b.example"),
]

PHONES = [
    ("+1 (617) 555-1212", "+16175551212"),
    ("1.617.555.1213", "+16175551213"),
    ("0044 20 7946 0958", "+442079460958"),
    ("49 30 901820", "+4930901820"),
    ("＋８１ ３ １２３４ ５６７８", "+81312345678"),
    ("+٩٦٦٥٠١٢٣٤٥٦٧", "+966501234567"),
    ("+86\u00a0138\u20110013\u20118000", "+8613800138000"),
    ("+12345678", "+12345678"),
    ("+123456789012345", "+123456789012345"),
]


def test_the_rows_equal_what_was_sent(server, stub, workspace):
    sent, expected = [], {}
    for number, name in enumerate(NAMES):
        email = f"name{number}@rows.example"
        sent.append(pb.Contact(
            email=email, name=name, first_name=name[:3], last_name=name[3:],
            external_id=f"ext {name}", fields=[field("text", name), field("n", number)]))
        expected[email] = (None, f"ext {name}", name, name[:3] or None, name[3:] or None,
                           {"text": name, "n": number})
    for number, (given, stored) in enumerate(EMAILS):
        sent.append(pb.Contact(email=given, name=f"E{number}"))
        expected[stored] = (None, None, f"E{number}", None, None, {})
    for number, (given, stored) in enumerate(PHONES):
        sent.append(pb.Contact(email=f"phone{number}@rows.example", phone=given))
        expected[f"phone{number}@rows.example"] = (stored, None, None, None, None, {})
    outcome = bulk(stub, [request(sent)], workspace).check_ok(len(sent))
    assert outcome.reasons == {}
    assert set(outcome.statuses) == {CREATED}
    rows = server.rows(
        workspace, "email, phone, external_id, name, first_name, last_name, fields, id::text")
    assert {row[0]: row[1:7] for row in rows} == expected
    by_id = {row[7]: row[0] for row in rows}
    assert [by_id[i] for i in outcome.ids] == list(expected)


def bad_contacts(good):
    """Every kind of badness: (contact, reason, field); `good` makes a fresh good contact."""

    def without_email(**fields):
        return pb.Contact(name="x", **fields)

    def with_field(*fields):
        return good(fields=fields)

    def email(text):
        return pb.Contact(email=text), "EMAIL_INVALID", "email"

    def phone(text):
        return good(phone=text), "PHONE_INVALID", "phone"

    many = [field(f"f{n}", n) for n in range(301)]
    yield without_email(), "KEY_MISSING", "email"
    yield without_email(email="", phone="+16175551212"), "KEY_MISSING", "email"
    yield from (email(text) for text in [
        "nobody", "a@b@c.example", "@c.example", "a@", "a@localhost", "a@-x.example",
        "a@x-.example", "a@x..example", "a@.example", "a@x.example.", '"quoted"@c.example',
        "a@[127.0.0.1]", "a(comment)@c.example", "a b@c.example", ".a@c.example", "a.@c.example",
        "a..b@c.example", "l" * 65 + "@c.example", "a@" + "d" * 64 + ".example",
        "x@" + ".".join(["d" * 63] * 4), "a@under_score.example"])
    yield from (phone(text) for text in [
        "1234567", "+1234567890123456", "call me", "+1 617 555 1212 x5", "+1 617 555 1212 ext. 5",
        "+1617555CALL", "++16175551212", "+", "00"])
    for name in ("name", "first_name", "last_name", "external_id", "phone"):
        yield good(**{name: "a\0b"}), "INVALID_UTF8", name
    yield pb.Contact(email="a\0b@c.example"), "INVALID_UTF8", "email"
    for name in ("name", "first_name", "last_name"):
        yield good(**{name: "x" * 1025}), "VALUE_TOO_LONG", name
        yield good(**{name: "é" * 513}), "VALUE_TOO_LONG", name
    yield good(external_id="x" * 256), "VALUE_TOO_LONG", "external_id"
    yield good(id=str(uuid.uuid4())), "FIELD_INVALID", "id"
    yield with_field(field("", "empty name")), "FIELD_INVALID", "fields.0"
    yield with_field(field("ok", 1), field("n" * 151, 1)), "FIELD_INVALID", "fields.1"
    yield with_field(pb.CustomField(name="no value")), "FIELD_INVALID", "fields.0"
    yield with_field(field("a", 1), field("nan", float("nan"))), "FIELD_INVALID", "fields.1"
    yield with_field(field("inf", float("inf"))), "FIELD_INVALID", "fields.0"
    yield with_field(field("inf", float("-inf"))), "FIELD_INVALID", "fields.0"
    for seconds, nanos in [(253402300800, 0), (-62135596801, 0), (0, -1), (0, 1_000_000_000)]:
        stamp = field("t", timestamp_value={"seconds": seconds, "nanos": nanos})
        yield with_field(stamp), "FIELD_INVALID", "fields.0"
    yield with_field(field("a", 1), field("nul", "a\0b")), "INVALID_UTF8", "fields.1"
    yield with_field(field("a\0b", 1)), "INVALID_UTF8", "fields.0"
    yield with_field(*many), "FIELD_INVALID", "fields"
    yield with_field(field("big", "x" * 103_000)), "CONTACT_TOO_LARGE", ""
    yield good(list_ids=[99]), "LIST_UNKNOWN", "list_ids"
    yield good(list_ids=[-1]), "LIST_UNKNOWN", "list_ids"


def test_every_tenth_contact_is_bad_and_the_others_are_stored(server, stub, workspace):
    sent, expected, good_emails = [], {}, []

    def good(**fields):
        number = len(sent)
        return pb.Contact(email=f"g{number}@tenth.example", **fields)

    for contact, reason, at in bad_contacts(good):
        for _ in range(9):
            sent.append(good(name="good"))
            good_emails.append(sent[-1].email)
        sent.append(contact)
        expected[len(sent)] = (reason, at)
    messages = [request(sent[i:i + 7]) for i in range(0, len(sent), 7)]
    outcome = bulk(stub, messages, workspace).check_ok(len(sent))
    answered = {
        r.sequence: (r.error.reason, re.sub(r"^fields\.?\d*$", "fields", r.error.field)
                     if expected.get(r.sequence, ("", ""))[1] == "fields" else r.error.field)
        for r in outcome.results if r.status == FAILED}
    different = {
        n: (answered.get(n), expected.get(n), str(sent[n - 1])[:80])
        for n in sorted(set(answered) | set(expected)) if answered.get(n) != expected.get(n)}
    assert different == {}
    assert sorted(row[1] for row in server.rows(workspace)) == sorted(good_emails)
    assert not any(r.error.retryable for r in outcome.results if r.status == FAILED)


def test_a_bad_contact_leaves_the_row_that_it_names_alone(stub, workspace):
    good = pb.Contact(email="a@b.example", name="kept")
    bad = pb.Contact(email="a@b.example", name="lost", phone="1")
    outcome = bulk(stub, [request([good, bad, good])], workspace).check_ok(3)
    assert outcome.statuses == [CREATED, FAILED, UNCHANGED]
    assert get(stub, {"email": "a@b.example"}, workspace=workspace)[0].record.contact.name == "kept"


def test_of_several_faults_the_first_in_the_published_order_is_told(stub, domain):
    long_name, stray = "x" * 1025, [field("", 1)]
    sent = [
        (pb.Contact(email="bad", name="a\0", fields=[field("b", "x" * 103_000)]), "CONTACT_TOO_LARGE"),
        (pb.Contact(email="bad", name="a\0", phone="1"), "INVALID_UTF8"),
        (pb.Contact(email="bad", phone="1", fields=stray), "EMAIL_INVALID"),
        (pb.Contact(phone="1", fields=stray), "KEY_MISSING"),
        (pb.Contact(email=f"a@{domain}", phone="1", fields=stray, list_ids=[9]), "PHONE_INVALID"),
        (pb.Contact(email=f"a@{domain}", fields=stray, list_ids=[9]), "FIELD_INVALID"),
        (pb.Contact(email=f"a@{domain}", list_ids=[9]), "LIST_UNKNOWN"),
        (pb.Contact(email="bad", name=long_name), "VALUE_TOO_LONG"),
    ]
    outcome = bulk(stub, [request([c for c, _ in sent])]).check_ok(len(sent))
    assert [r.error.reason for r in outcome.results] == [reason for _, reason in sent]


def test_a_key_that_comes_a_thousand_times_ends_as_the_last_one_says(server, stub, workspace):
    """The statuses and the row are those of a model that applies one contact after another."""
    choice = random.Random(20)
    numbers = sorted(choice.sample(range(1, 6001), 1000))
    repeated = set(numbers)
    state, expected, sent = None, [], []
    for number in range(1, 6001):
        if number not in repeated:
            sent.append(pb.Contact(email=f"other{number}@repeat.example", name="x"))
            expected.append(CREATED)
            continue
        message = pb.Contact(email=choice.choice(["Same@repeat.example", "same@REPEAT.example"]))
        before = dict(state) if state is not None else None
        state = dict(state or {})
        for name in ("name", "first_name", "last_name", "external_id"):
            if choice.random() < 0.4:
                value = choice.choice(["", "a", "b"])
                setattr(message, name, value)
                state[name] = value or None
        if choice.random() < 0.4:
            value = choice.choice([None, 1, 2])
            message.fields.append(field("f", value))
            state["f"] = value
        sent.append(message)
        state = {key: value for key, value in state.items() if value is not None}
        expected.append(CREATED if before is None else UPDATED if state != before else UNCHANGED)
    messages, start = [], 0
    while start < len(sent):
        end = start + choice.randint(1, 400)
        messages.append(request(sent[start:end]))
        start = end
    outcome = bulk(stub, messages, workspace).check_ok(len(sent))
    different = [n + 1 for n, (a, b) in enumerate(zip(outcome.statuses, expected)) if a != b]
    assert different == []
    assert len({outcome.results[n - 1].id for n in numbers}) == 1
    rows = server.rows(workspace, "email, name, first_name, last_name, external_id, fields")
    row = [row for row in rows if row[0] == "same@repeat.example"]
    fields = {"f": state["f"]} if "f" in state else {}
    assert row == [("same@repeat.example", *(state.get(name) for name in (
        "name", "first_name", "last_name", "external_id")), fields)]
    assert len(rows) == 5001


def numbered(domain, *parts):
    """Messages of (first_sequence, how many) with contacts that are numbered through."""
    number = 0
    for first, count in parts:
        contacts = []
        for _ in range(count):
            number += 1
            contacts.append(pb.Contact(email=f"n{number}@{domain}"))
        yield request(contacts, first_sequence=first)


def test_first_sequence_may_be_zero_or_the_next_number(stub, domain):
    bulk(stub, numbered(domain, (1, 3), (0, 2), (6, 1), (7, 0), (0, 1), (8, 4))).check_ok(11)


@pytest.mark.parametrize("wrong", [1, 4, 5, 7, 2**64 - 1])
def test_another_number_than_the_next_ends_the_call_and_names_the_expected_one(
        server, stub, workspace, wrong):
    outcome = bulk(stub, numbered("gap.example", (1, 3), (0, 2), (wrong, 2), (0, 9)), workspace)
    assert outcome.code == grpc.StatusCode.OUT_OF_RANGE
    assert re.search(r"\b6\b", outcome.details), outcome.details
    outcome.check_all(5)
    assert set(outcome.statuses) == {CREATED}
    assert len(server.rows(workspace)) == 5


@pytest.mark.parametrize("wrong", [2, 100])
def test_the_first_number_of_a_new_import_is_one(stub, domain, wrong):
    outcome = bulk(stub, numbered(domain, (wrong, 2)))
    assert outcome.code == grpc.StatusCode.OUT_OF_RANGE
    assert re.search(r"\b1\b", outcome.details), outcome.details
    assert outcome.results == []


def test_a_message_without_contacts_may_not_carry_another_number(stub, domain):
    outcome = bulk(stub, numbered(domain, (1, 3), (9, 0)))
    assert outcome.code == grpc.StatusCode.OUT_OF_RANGE
    outcome.check_all(3)


def test_a_message_of_ten_thousand_contacts_is_taken_and_a_larger_one_refused(
        server, stub, workspace):
    limit = 10_000
    assert bulk(stub, [request()]).started.limits.max_contacts_per_message == limit
    contacts = [pb.Contact(email=f"{n}@limit.example") for n in range(limit)]
    bulk(stub, [request(contacts)], workspace).check_ok(limit)
    contacts.append(pb.Contact(email="more@limit.example"))
    outcome = bulk(stub, [request(contacts)], workspace)
    assert outcome.code == grpc.StatusCode.INVALID_ARGUMENT
    assert len(server.rows(workspace)) == limit
