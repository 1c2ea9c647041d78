"""`contacts export` and `contacts import` from end to end: what one writes the other reads back.

CONTACTSD and CONTACTS name the binaries.
"""

import json
import os
import random
import subprocess

import grpc
import pytest

import harness
from harness import field, metadata
from stubs import REPOSITORY, pb

CONTACTS = os.environ.get("CONTACTS") or str(REPOSITORY / ".build/debug/contacts")
FORMATS = ["csv", "ndjson"]
SEED = int(os.environ.get("TEST_SEED", "20"))

TEXTS = [
    " ", "\t ", " a ", '"', '""', '"a","b"', ",", ";", "a|b;c\td", "\n", "\r", "a\r\nb\n",
    "\nemail,phone\n", "{", "[", "#", "=1+1", "\\", "\\n", '\\"', "\u0001\u001f\u007f", "null",
    "true", "5", "5.0", "2024-01-31T09:30:00Z", "\ufeff", "e\u0301", "é", "🐘", "\u2028\u0085\u00a0",
    '"\n,' * 80,
]
NAMES = [
    "email", "id", "fields", "list_ids", "age:integer", "timestamp", " ", " a ", "a,b", '"', "\n",
    "\\", "\u0001", "e\u0301", "é", "n" * 150,
]
VALUES = [
    {"string_value": ""}, *({"string_value": text} for text in TEXTS),
    *({"integer_value": value} for value in (5, 0, -2**63, 2**63 - 1, 2**53 + 1)),
    *({"number_value": value} for value in (
        5.0, 0.0, 0.1, 0.1 + 0.2, 1e22, 1e300, 5e-324, 1.7976931348623157e308, -2.5e-300)),
    {"boolean_value": True}, {"boolean_value": False},
    *({"timestamp_value": {"seconds": seconds, "nanos": nanos}} for seconds, nanos in (
        (0, 0), (-1, 999_999_000), (-62_135_596_800, 0), (253_402_300_799, 999_999_000))),
]


def nasty(count, domain):
    """Contacts with an email each and whatever is hard to write down."""
    dice = random.Random(SEED)
    contacts = []
    for number in range(count):
        contact = pb.Contact(email=f"u{number}@{domain}")
        for name in ("external_id", "name", "first_name", "last_name"):
            if dice.random() < 0.7:
                setattr(contact, name, dice.choice(TEXTS))
        if dice.random() < 0.5:
            contact.phone = f"+1617{dice.randrange(10**7):07d}"
        # Among them each value and each name at least once.
        for name in {NAMES[number % len(NAMES)], *dice.sample(NAMES, dice.randrange(4))}:
            contact.fields.append(field(name, **dice.choice(VALUES)))
        contact.fields.append(field("each", **VALUES[number % len(VALUES)]))
        contacts.append(contact)
    return contacts


def store(server, contacts, workspace):
    results = harness.upsert(server.stub, contacts, workspace=workspace).results
    assert {result.status for result in results} == {harness.CREATED}, results


@pytest.fixture(scope="module")
def one_lane():
    """Ids grow in the order of the file only where one lane makes them."""
    server = harness.Server(lanes=1)
    yield server
    server.close()


def contacts(*arguments, **options):
    return subprocess.run([CONTACTS, *arguments], capture_output=True, timeout=120, **options)


def export(server, workspace, *flags, code=0):
    done = contacts(
        "export", "--server", server.address, "--workspace", workspace, "--progress", "none",
        *flags)
    assert done.returncode == code, done.stderr
    return done.stdout


def run_import(server, workspace, data, tmp_path, *flags, code=0):
    done = contacts(
        "import", "-", "--server", server.address, "--workspace", workspace, "--progress", "none",
        "--rejects", str(tmp_path / "rejects"), "--json", *flags, input=data)
    assert done.returncode == code, done.stderr.decode()
    return json.loads(done.stdout) if done.stdout else done.stderr.decode()


@pytest.mark.parametrize("form", FORMATS)
def test_a_round_trip_gives_the_same_bytes(one_lane, form, domain, tmp_path):
    first, second = one_lane.create_workspace(), one_lane.create_workspace()
    store(one_lane, nasty(500, domain), first)
    data = export(one_lane, first, "--format", form)
    assert run_import(one_lane, second, data, tmp_path)["created"] == 500
    assert export(one_lane, second, "--format", form) == data
    other = FORMATS[1 - FORMATS.index(form)]
    assert export(one_lane, second, "--format", other) == export(
        one_lane, first, "--format", other)
    columns = "email, phone, external_id, name, first_name, last_name, fields::text"
    assert sorted(map(str, one_lane.rows(first, columns))) == sorted(
        map(str, one_lane.rows(second, columns)))


@pytest.mark.parametrize("form", FORMATS)
def test_a_second_import_changes_nothing(server, form, domain, tmp_path):
    workspace, other = server.create_workspace(), server.create_workspace()
    store(server, nasty(200, domain), workspace)
    data = export(server, workspace, "--format", form)
    assert run_import(server, workspace, data, tmp_path, "--mode", "replace")["unchanged"] == 200
    # With several lanes the order of the ids is not that of the file.
    run_import(server, other, data, tmp_path, "--streams", "2")
    again = export(server, other, "--format", "ndjson").splitlines()
    assert sorted(again) == sorted(export(server, workspace, "--format", "ndjson").splitlines())


@pytest.mark.parametrize("form", FORMATS)
def test_contacts_are_changed_by_their_ids(server, form, domain, tmp_path):
    workspace = server.create_workspace()
    store(server, nasty(50, domain), workspace)
    data = export(server, workspace, "--format", form, "--with-ids")
    ids = sorted(row[0] for row in server.rows(workspace))
    assert all(id.encode() in data for id in ids)
    moved = data.replace(domain.encode(), b"moved.example")
    summary = run_import(server, workspace, moved, tmp_path, "--match-by", "id")
    assert summary["updated"] == 50
    assert sorted(row[0] for row in server.rows(workspace)) == ids
    assert export(server, workspace, "--format", form, "--with-ids") == moved


def test_one_list(server, domain, tmp_path):
    workspace = server.create_workspace()
    of = {"metadata": metadata(workspace), "timeout": 30}
    chosen = server.stub.CreateList(pb.CreateListRequest(name="chosen"), **of).list.id
    rows = b"email\n" + b"".join(b"u%d@%s\n" % (n, domain.encode()) for n in range(20))
    run_import(server, workspace, rows, tmp_path)
    some = b"".join(rows.splitlines(keepends=True)[:6])
    run_import(server, workspace, some, tmp_path, "--list", str(chosen))
    assert len(export(server, workspace, "--list", str(chosen)).splitlines()) == 6
    assert len(export(server, workspace).splitlines()) == 21
    assert b"NOT_FOUND" in contacts(
        "export", "--server", server.address, "--workspace", workspace, "--list", "99").stderr
    run_import(server, workspace, some, tmp_path, "--list", "99", code=70)


def test_a_dry_run_stores_nothing(server, domain, tmp_path):
    workspace = server.create_workspace()
    rows = f"email\na@{domain}\nb@{domain}\na@{domain}\nnobody\n".encode()
    summary = run_import(server, workspace, rows, tmp_path, "--dry-run", code=1)
    assert summary["dry_run"] is True
    assert (summary["created"], summary["unchanged"], summary["failed"]) == (2, 1, 1)
    assert server.rows(workspace) == []
    real = run_import(server, workspace, rows, tmp_path, code=1)
    assert real == {
        **summary, "dry_run": False, "seconds": real["seconds"],
        "contacts_per_second": real["contacts_per_second"]}


def test_existence(server, domain, tmp_path):
    workspace = server.create_workspace()
    rows = f"email,name\na@{domain},Ann\n".encode()
    missing = run_import(
        server, workspace, rows, tmp_path, "--existence", "update-only", code=1)
    assert missing["failed_by_reason"] == {"NOT_FOUND": 1}
    assert run_import(
        server, workspace, rows, tmp_path, "--existence", "create-only")["created"] == 1
    there = run_import(server, workspace, rows, tmp_path, "--existence", "create-only", code=1)
    assert there["failed_by_reason"] == {"ALREADY_EXISTS": 1}


@pytest.mark.parametrize("streams", [1, 3])
def test_failures_end_an_import(server, streams, domain, tmp_path):
    workspace = server.create_workspace()
    rows = ["email,age:integer"]
    for number in range(100_000):
        rows.append(f"nobody{number},1" if number % 2 else f"u{number}@{domain},old")
    data = "\n".join(rows).encode()
    summary = run_import(
        server, workspace, data, tmp_path, "--max-failures", "7", "--streams", str(streams), code=1)
    assert "7 records have failed" in summary["error"]
    assert 7 <= summary["failed"] < 100_000
    assert set(summary["failed_by_reason"]) <= {"EMAIL_INVALID", "FIELD_INVALID"}


def test_an_import_has_a_name_and_labels(server, domain, tmp_path):
    workspace = server.create_workspace()
    rows = f"email\na@{domain}\nb@{domain}\n".encode()
    flags = ("--import-id", "mine", "--label", "from=a=b", "--label", "empty=")
    assert run_import(server, workspace, rows, tmp_path, *flags)["created"] == 2
    found = server.stub.GetImport(
        pb.GetImportRequest(import_id="mine"), metadata=metadata(workspace), timeout=30)
    assert getattr(found, "import").summary.created == 2
    assert dict(getattr(found, "import").options.labels) == {"from": "a=b", "empty": ""}


def test_an_import_writes_events(server, domain, tmp_path):
    workspace = server.create_workspace()
    rows = f"email\na@{domain}\nb@{domain}\n".encode()
    run_import(server, workspace, rows, tmp_path, "--run-workflow", "--import-id", "events")
    call = server.stub.WatchEvents(
        pb.WatchEventsRequest(), metadata=metadata(workspace), timeout=30)
    events = []
    try:
        for response in call:
            events += response.events
            if len(events) == 2:
                break
    except grpc.RpcError:
        pass
    call.cancel()
    assert sorted(event.record.contact.email for event in events) == [f"a@{domain}", f"b@{domain}"]
    assert {event.import_id for event in events} == {"events"}


def test_health(server):
    done = contacts("health", "--server", server.address)
    assert (done.stdout, done.returncode) == (b"SERVING\n", 0)
