"""The rules for one contact: each reason, each limit, and matching by id."""

import uuid

import grpc
import pytest

from harness import (CREATED, FAILED, UNCHANGED, UPDATED, bulk, failing, field, get, request, upsert)
from rpcs import create_list, events_so_far
from stubs import pb

EMAIL, PHONE, EXTERNAL, ID = 1, 2, 3, 4
UNKNOWN = "0192f0c1-2345-7abc-8def-0123456789ab"


def c(**fields):
    fields.setdefault("email", "bad1@rules.example")
    return pb.Contact(**fields)


# (reason, field, options, the contact); `None` for a field: the contract names none.
REASONS = [
    ("KEY_MISSING", "email", {}, pb.Contact(name="x")),
    ("KEY_MISSING", "email", {}, pb.Contact(email="")),
    ("KEY_MISSING", "phone", {"match_by": PHONE}, c()),
    ("KEY_MISSING", "external_id", {"match_by": EXTERNAL}, c(external_id="")),
    ("KEY_MISSING", "id", {"match_by": ID}, c()),
    ("KEY_MISSING", "id", {"match_by": ID}, c(id="")),
    ("NOT_FOUND", None, {"match_by": ID}, c(id=UNKNOWN)),
    ("FIELD_INVALID", "id", {"match_by": ID}, c(id="7")),
    ("FIELD_INVALID", "id", {"match_by": ID}, c(id=UNKNOWN + "0")),
    ("NOT_FOUND", None, {"existence": 3}, c()),
    ("ALREADY_EXISTS", None, {"existence": 2}, c(email="there@rules.example")),
    ("EMAIL_INVALID", "email", {}, c(email="nobody")),
    ("EMAIL_INVALID", "email", {"match_by": PHONE}, c(email="nobody", phone="+16175550009")),
    ("PHONE_INVALID", "phone", {}, c(phone="12")),
    ("PHONE_INVALID", "phone", {"match_by": PHONE}, c(phone="call me")),
    ("INVALID_UTF8", "name", {}, c(name="\0")),
    ("VALUE_TOO_LONG", "last_name", {}, c(last_name="x" * 1025)),
    ("VALUE_TOO_LONG", "external_id", {"match_by": EXTERNAL}, c(external_id="x" * 256)),
    ("FIELD_INVALID", "id", {}, c(id=UNKNOWN)),
    ("FIELD_INVALID", "id", {"match_by": PHONE}, c(id=UNKNOWN, phone="+16175550009")),
    ("FIELD_INVALID", "id", {"match_by": EXTERNAL}, c(id=UNKNOWN, external_id="E9")),
    ("FIELD_INVALID", "fields.0", {}, c(fields=[field("", 1)])),
    ("FIELD_INVALID", "fields.1", {}, c(fields=[field("a", 1), field("n" * 151, 1)])),
    ("FIELD_INVALID", "fields.0", {}, c(fields=[field("f", float("nan"))])),
    ("CONTACT_TOO_LARGE", "", {}, c(fields=[field("big", "x" * 102_400)])),
    ("LIST_UNKNOWN", "list_ids", {}, c(list_ids=[0, 77])),
    ("IDENTIFIER_TAKEN", "phone", {}, c(phone="+16175550001")),
    ("IDENTIFIER_TAKEN", "external_id", {}, c(external_id="there")),
    ("IDENTIFIER_TAKEN", "email", {"match_by": PHONE},
     c(email="there@rules.example", phone="+16175550009")),
]


@pytest.mark.parametrize("unary", [False, True], ids=["stream", "unary"])
@pytest.mark.parametrize(("reason", "at", "options", "bad"), REASONS,
                         ids=[f"{r[0]}-{r[1]}-{n}" for n, r in enumerate(REASONS)])
def test_reason(server, stub, workspace_of, reason, at, options, bad, unary):
    """contract: the rule rows, each `else`; rule 3, one bad contact fails alone."""
    workspace = workspace_of("email,phone,external_id")
    there = upsert(stub, [
        pb.Contact(email="there@rules.example", phone="+16175550001", external_id="there"),
        pb.Contact(email="g1@rules.example", phone="+16175550002", external_id="g1"),
        pb.Contact(email="g2@rules.example", phone="+16175550003", external_id="g2")],
        workspace).results
    before = dict(server.rows(workspace, "id::text, name"))

    def good(n):
        contact = pb.Contact(name="committed", email=f"g{n}@rules.example",
                             phone=f"+1617555000{n + 1}", external_id=f"g{n}")
        if options.get("existence") == 2:
            contact = pb.Contact(email=f"fresh{n}@rules.example", name="committed")
        if options.get("match_by") == ID:
            contact.id = there[n].id
        return contact

    sent = [good(1), bad, good(2)]
    if unary:
        results = list(upsert(stub, sent, workspace, **options).results)
    else:
        results = bulk(stub, [request(sent, **options)], workspace).check_ok(3).results
    assert [r.sequence for r in results] == [1, 2, 3]
    neighbour = CREATED if options.get("existence") == 2 else UPDATED
    assert [r.status for r in results] == [neighbour, FAILED, neighbour]
    error = results[1].error
    assert error.reason == reason
    assert at is None or error.field == at
    assert error.message and not error.retryable
    other = there[0].id if reason in ("IDENTIFIER_TAKEN", "ALREADY_EXISTS") else ""
    assert error.conflicting_id == other
    rows = dict(server.rows(workspace, "id::text, name"))
    assert {id_ for id_, name in rows.items() if name == "committed"} == {results[0].id, results[2].id}
    assert {id_: name for id_, name in rows.items() if name != "committed"} == {
        id_: name for id_, name in before.items() if id_ not in (results[0].id, results[2].id)}


LONGEST_DOMAIN = ".".join(["d" * 63, "d" * 63, "d" * 61])


@pytest.mark.parametrize(("contact", "reason"), [
    (pb.Contact(email=f"{'l' * 64}@{LONGEST_DOMAIN}"), None),
    (pb.Contact(email=f"{'l' * 64}@{LONGEST_DOMAIN}d"), "EMAIL_INVALID"),
    (pb.Contact(email=f"{'й' * 32}@limit.example"), None),
    (pb.Contact(email=f"{'l' * 64}@limit.example"), None),
    (pb.Contact(email=f"{'l' * 65}@limit.example"), "EMAIL_INVALID"),
    (pb.Contact(email=f"{'й' * 32}l@limit.example"), "EMAIL_INVALID"),
    (c(phone="+12345678"), None), (c(phone="+1234567"), "PHONE_INVALID"),
    (c(phone="+" + "1" * 15), None), (c(phone="+" + "1" * 16), "PHONE_INVALID"),
    (c(external_id="x" * 255), None), (c(external_id="x" * 256), "VALUE_TOO_LONG"),
    (c(external_id="й" * 127 + "x"), None), (c(external_id="й" * 128), "VALUE_TOO_LONG"),
    (c(fields=[field("n" * 150, 1)]), None), (c(fields=[field("n" * 151, 1)]), "FIELD_INVALID"),
    (c(fields=[field("й" * 75, 1)]), None), (c(fields=[field("й" * 76, 1)]), "FIELD_INVALID"),
    (c(fields=[field(f"f{n}", n) for n in range(300)]), None),
    (c(fields=[field(f"f{n}", n) for n in range(301)]), "FIELD_INVALID"),
], ids=lambda v: v if isinstance(v, str) else None)
def test_limit(stub, workspace, contact, reason):
    """contract: the limits of the rule rows, at the limit and one past it."""
    result = upsert(stub, [contact], workspace).results[0]
    assert (result.status, result.error.reason) == ((FAILED, reason) if reason else (CREATED, ""))
    dry = upsert(stub, [contact], workspace, existence=3).results[0]
    assert dry.status == (FAILED if reason else UNCHANGED)


@pytest.mark.parametrize("name", ["name", "first_name", "last_name"])
def test_limit_of_names_is_the_published_one(stub, workspace, name):
    """contract: rule `text`; `started.limits`."""
    limit = bulk(stub, [request()], workspace).started.limits.max_text_bytes
    sent = [c(**{name: "x" * limit}), c(**{name: "x" * (limit + 1)}),
            c(**{name: "й" * (limit // 2)}), c(**{name: "й" * (limit // 2) + "x"})]
    results = upsert(stub, sent, workspace).results
    assert [r.status for r in results] == [CREATED, FAILED, UPDATED, FAILED]
    assert {(r.error.reason, r.error.field) for r in results[1::2]} == {("VALUE_TOO_LONG", name)}


def test_option_match_by_id_updates_and_creates_nothing(server, stub, workspace_of):
    """contract: option `match_by`, ID; the other identifiers may be changed."""
    workspace = workspace_of("email,phone")
    made = upsert(stub, [
        pb.Contact(email="a@id.example", phone="+16175550001", external_id="A", name="x"),
        pb.Contact(email="b@id.example", phone="+16175550002")], workspace).results
    one, two = made[0].id, made[1].id
    sent = [
        pb.Contact(id=one, email="new@id.example", phone="+16175550003"),
        pb.Contact(id=one.upper(), external_id="B"),
        pb.Contact(id=one, external_id="B"),
        pb.Contact(id=UNKNOWN, email="c@id.example"),
        pb.Contact(id=two, email="new@id.example"),
        pb.Contact(id=two, email="a@id.example"),
        pb.Contact(id=one, email=""),
        pb.Contact(id="not a uuid"), pb.Contact(), pb.Contact(id=""),
    ]
    outcome = bulk(stub, [request(sent, match_by=ID)], workspace).check_ok(10)
    assert outcome.statuses == [UPDATED, UPDATED, UNCHANGED, FAILED, FAILED, UPDATED, UPDATED] + [
        FAILED] * 3
    assert outcome.reasons == {4: "NOT_FOUND", 5: "IDENTIFIER_TAKEN", 8: "FIELD_INVALID",
                               9: "KEY_MISSING", 10: "KEY_MISSING"}
    assert outcome.results[4].error.conflicting_id == one
    assert {r.error.field for r in outcome.results[7:]} == {"id"}
    assert [outcome.ids[n] for n in (0, 1, 2, 5, 6)] == [one, one, one, two, one]
    rows = server.rows(workspace, "id::text, email, phone, external_id, name")
    assert sorted(rows) == sorted([
        (one, None, "+16175550003", "B", "x"), (two, "a@id.example", "+16175550002", None, None)])


def test_option_match_by_id_with_replace_clears_the_identifiers_that_are_absent(stub, workspace):
    """contract: options `match_by` and `write_mode`."""
    one = upsert(stub, [pb.Contact(email="a@id.example", phone="+16175550001", name="x")],
                 workspace).results[0].id
    results = upsert(stub, [pb.Contact(id=one, external_id="E")], workspace, match_by=ID, write_mode=2)
    assert results.results[0].status == UPDATED
    assert get(stub, {"id": one}, workspace=workspace)[0].record.contact == pb.Contact(
        id=one, external_id="E")


def test_option_match_by_id_needs_no_unique_identifier_and_knows_its_own_workspace_only(
        stub, workspace_of):
    """contract: option `match_by`, ID; another workspace's id is unknown."""
    one, two = workspace_of("phone"), workspace_of("phone")
    made = upsert(stub, [pb.Contact(phone="+16175550001")], one, match_by=PHONE).results[0].id
    sent = [pb.Contact(id=made, name="x"), pb.Contact(id=str(uuid.uuid4()), name="x")]
    assert [r.status for r in upsert(stub, sent, one, match_by=ID).results] == [UPDATED, FAILED]
    assert [r.error.reason for r in upsert(stub, sent, two, match_by=ID).results] == ["NOT_FOUND"] * 2


def test_option_existence_create_only_by_id_is_contradictory(stub, workspace):
    """contract: options `existence` and `match_by`; bad options."""
    options = {"match_by": ID, "existence": pb.EXISTENCE_CREATE_ONLY}
    outcome = bulk(stub, [request([pb.Contact(id=UNKNOWN)], **options)], workspace)
    assert outcome.code == grpc.StatusCode.INVALID_ARGUMENT
    with failing(grpc.StatusCode.INVALID_ARGUMENT):
        upsert(stub, [], workspace, **options)


def test_point_several_faults_with_lists_existence_and_taken(stub, workspace_of):
    """contract: point `several faults in one contact`, the later half of the order."""
    workspace = workspace_of("email,phone")
    upsert(stub, [pb.Contact(email="a@f.example", phone="+16175550001"),
                  pb.Contact(email="b@f.example", phone="+16175550002")], workspace)
    taken = {"email": "a@f.example", "phone": "+16175550002"}
    create = {"existence": pb.EXISTENCE_CREATE_ONLY}
    sent = [
        (pb.Contact(**taken, list_ids=[9], fields=[field("", 1)]), "FIELD_INVALID"),
        (pb.Contact(**taken, list_ids=[9], id=UNKNOWN), "FIELD_INVALID"),
        (pb.Contact(**taken, list_ids=[9]), "LIST_UNKNOWN"),
        (pb.Contact(**taken), "ALREADY_EXISTS"),
        (pb.Contact(email="new@f.example", phone="+16175550002"), "IDENTIFIER_TAKEN"),
    ]
    results = upsert(stub, [contact for contact, _ in sent], workspace, **create).results
    assert [r.error.reason for r in results] == [reason for _, reason in sent]
    results = upsert(stub, [pb.Contact(email="new@f.example", phone="+16175550002")], workspace,
                     existence=pb.EXISTENCE_UPDATE_ONLY).results
    assert results[0].error.reason == "NOT_FOUND"


def test_point_clearing_is_null_in_the_table(server, stub, workspace):
    """contract: point `clearing`."""
    full = pb.Contact(email="a@c.example", phone="+16175550001", external_id="x", name="n",
                      first_name="f", last_name="l", fields=[field("s", ""), field("gone", 1)])
    empty = pb.Contact(email="a@c.example", phone="", external_id="", name="", first_name="",
                       last_name="", fields=[field("gone"), field("s", "")])
    results = upsert(stub, [full, empty, empty], workspace).results
    assert [r.status for r in results] == [CREATED, UPDATED, UNCHANGED]
    assert server.rows(
        workspace, "email, phone, external_id, name, first_name, last_name, fields") == [
        ("a@c.example", None, None, None, None, None, {"s": ""})]


@pytest.mark.parametrize("write_mode", [pb.WRITE_MODE_MERGE, pb.WRITE_MODE_REPLACE])
def test_option_list_ids_every_contact_joins_and_none_leaves(stub, workspace, write_mode):
    """contract: option `list_ids`; point `lists`: joining is a change."""
    one, two = (create_list(stub, workspace, name).id for name in ("one", "two"))

    def send(contact, *import_lists):
        result = upsert(stub, [contact], workspace, list_ids=import_lists, write_mode=write_mode,
                        run_workflow=True).results[0]
        stored = get(stub, {"email": "a@l.example"}, workspace=workspace)[0].record.contact
        return result.status, sorted(stored.list_ids)

    def contact(*numbers):
        return pb.Contact(email="a@l.example", list_ids=numbers)

    assert send(contact(), 0) == (CREATED, [])
    assert send(contact(0)) == (UNCHANGED, [])
    assert send(contact(), one) == (UPDATED, [one])
    assert send(contact(one), one) == (UNCHANGED, [one])
    assert send(contact(two, two, 0)) == (UPDATED, [one, two])
    assert send(contact()) == (UNCHANGED, [one, two])
    assert send(contact(one, two), one, two) == (UNCHANGED, [one, two])
    events = events_so_far(stub, workspace)
    assert [sorted(e.record.contact.list_ids) for e in events] == [[], [one], [one, two]]
