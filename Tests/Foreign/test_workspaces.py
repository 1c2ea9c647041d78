"""`contactsd workspace`: create, list, set."""

import threading
import time

import pytest

from harness import UPDATED, upsert, wait_until
from stubs import pb
from tables import Tables, workspace_command


def settings(server, name, kind="event"):
    return server.query(
        f"SELECT unique_by, extract(epoch FROM {kind}_retention)::bigint FROM workspaces"
        " WHERE name = %s", name)[0]


def set_ok(server, name, *arguments):
    done = workspace_command(server, "set", name, *arguments)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize(("kind", "column"), [("event", 3), ("import", 4)])
@pytest.mark.parametrize(("text", "seconds"), [
    ("1s", 1), ("90m", 5400), ("12h", 43_200), ("7d", 604_800), ("36500d", 36_500 * 86_400)])
def test_a_retention_is_set_and_listed(server, workspace, text, seconds, kind, column):
    set_ok(server, workspace, f"--{kind}-retention", text)
    assert settings(server, workspace, kind) == (1, seconds)
    created = f"{workspace}-{text}"
    done = workspace_command(server, "create", created, f"--{kind}-retention", text)
    assert done.returncode == 0, done.stderr
    assert settings(server, created, kind) == (1, seconds)
    listed = {line.split()[1]: line.split()[column]
              for line in workspace_command(server, "list").stdout.splitlines()}
    assert listed[workspace] == listed[created] == text


@pytest.mark.parametrize("text", [
    "0s", "0d", "-1d", "+1d", "1", "d", "", "1w", "1.5h", "1h30m", "7 d", "36501d", "٣d",
    "99999999999999999999d", "9223372036854775807d"])
@pytest.mark.parametrize(("command", "kind"), [
    ("create", "event"), ("set", "event"), ("set", "import")])
def test_another_retention_is_refused(server, workspace, command, kind, text):
    name = workspace if command == "set" else f"{workspace}-new"
    done = workspace_command(server, command, name, f"--{kind}-retention={text}")
    assert done.returncode != 0
    assert f"{kind}-retention" in done.stderr and "1s" in done.stderr
    assert server.query("SELECT count(*) FROM workspaces WHERE name = %s", f"{workspace}-new") == \
        [(0,)]


def test_the_list_is_aligned_and_has_a_header(server, workspace):
    server.create_workspace("email,phone,external_id", f"{workspace}-with-a-long-name")
    lines = workspace_command(server, "list").stdout.splitlines()
    assert lines[0].split() == ["id", "name", "unique", "event-retention", "import-retention"]
    places = [lines[0].index(word)
              for word in ("name", "unique", "event-retention", "import-retention")]
    assert all(line[place - 1] == " " != line[place] for line in lines for place in places)
    rows = [line.split() for line in lines[1:]]
    assert [row[1] for row in rows] == sorted(row[1] for row in rows)
    assert ["1", "default", "email", "7d", "7d"] in rows
    assert rows[[row[1] for row in rows].index(f"{workspace}-with-a-long-name")][2] == \
        "email,phone,external_id"


@pytest.mark.parametrize("arguments", [
    ["set", "nobody-has-this", "--unique", "email"],
    ["set", "nobody-has-this", "--event-retention", "1d"]])
def test_an_unknown_workspace_is_an_error(server, arguments):
    done = workspace_command(server, *arguments)
    assert done.returncode != 0
    assert "no workspace" in done.stderr and "nobody-has-this" in done.stderr


@pytest.mark.parametrize(("unique", "words"), [
    ("", "at least one"), (",", "is not a list"), ("mail", "is not a list"),
    ("email,", "is not a list"), (None, "nothing to change")])
def test_a_change_that_makes_no_sense_is_refused(server, workspace, unique, words):
    done = workspace_command(
        server, "set", workspace, *([] if unique is None else ["--unique", unique]))
    assert done.returncode != 0
    assert words in done.stderr
    assert settings(server, workspace)[0] == 1


def test_what_is_unique_changes_under_the_contacts(server, stub, workspace):
    contacts = [pb.Contact(email=f"a{n}@x.example", phone=f"+1617555{n:04}") for n in range(2000)]
    upsert(stub, contacts, workspace)
    set_ok(server, workspace, "--unique", "email,phone", "--event-retention", "30d")
    assert settings(server, workspace) == (3, 30 * 86_400)
    assert server.rows(workspace, "DISTINCT unique_by") == [(3,)]
    with Tables(server, workspace) as tables, pytest.raises(Exception) as error:
        tables.run("INSERT INTO contacts (workspace_id, id, unique_by, phone)"
                   " VALUES (%s, gen_random_uuid(), 3, '+16175550001')", tables.id)
    assert "contacts_phone_key" in str(error.value)
    set_ok(server, workspace, "--unique", "phone")
    assert server.rows(workspace, "DISTINCT unique_by") == [(4 - 2,)]
    # A server remembers a workspace for ten seconds.
    wait_until(lambda: is_taken(stub, workspace), 15, "match_by phone")


def is_taken(stub, workspace):
    try:
        results = upsert(stub, [pb.Contact(phone="+16175550001", name="new")], workspace,
                         match_by=pb.MATCH_BY_PHONE).results
    except Exception:  # noqa: BLE001
        return False
    assert [result.status for result in results] == [UPDATED]
    return True


def test_duplicates_keep_an_identifier_from_becoming_unique(server, stub, workspace):
    secret = "+16175551"
    contacts = [pb.Contact(email=f"a{n}@x.example", phone=f"{secret}{n % 7:03}",
                           external_id=str(n)) for n in range(20)]
    upsert(stub, contacts, workspace)
    done = workspace_command(
        server, "set", workspace, "--unique", "external_id,phone", "--event-retention", "1d")
    assert done.returncode != 0
    assert "phone is not unique: 7 of its values" in done.stderr
    assert "one of them to 3 contacts" in done.stderr
    assert "617555" not in done.stderr and "x.example" not in done.stderr
    assert settings(server, workspace) == (1, 604_800)
    assert server.rows(workspace, "DISTINCT unique_by") == [(1,)]
    set_ok(server, workspace, "--unique", "external_id,email")
    assert server.rows(workspace, "DISTINCT unique_by") == [(5,)]


def test_a_change_waits_for_a_writer_and_sees_what_it_wrote(server, workspace):
    """A writer holds the workspace's lock shared until it commits."""
    with Tables(server, workspace) as tables:
        with tables.connection.transaction():
            tables.run("SELECT pg_advisory_xact_lock_shared(%s, %s)", 0x636F6E74, tables.id)
            tables.run("INSERT INTO contacts (workspace_id, id, unique_by, email, phone) SELECT"
                       " %s, gen_random_uuid(), 1, n || '@x.example', '+16175551212'"
                       " FROM generate_series(1, 2) n", tables.id)
            ended = []
            thread = threading.Thread(target=lambda: ended.append(
                workspace_command(server, "set", workspace, "--unique", "phone")))
            thread.start()
            time.sleep(1)
            assert not ended
        thread.join(30)
    assert ended[0].returncode != 0
    assert "phone is not unique: 1 of its values" in ended[0].stderr
    assert settings(server, workspace)[0] == 1


def test_the_commands_explain_themselves(server):
    for arguments in (["--help"], ["create", "--help"], ["set", "--help"]):
        done = workspace_command(server, *arguments)
        assert done.returncode == 0
    assert "cannot be changed" not in workspace_command(server, "create", "--help").stdout
